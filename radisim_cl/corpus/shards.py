"""Tar shards that others have written: what lies where in them. A tar is never trusted, and nothing in it is unpacked or run."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from radisim_cl.corpus.blobs import Blob
from radisim_cl.errors import InputError

RUNS = (".pkl", ".pickle", ".pyd", ".pth", ".pt")
"""Endings of pickles, which run code when WebDataset's own decoders open them."""
_NAME = re.compile(r"((?:.*/)?[^./][^./]*)\.([^/]+)")
"""WebDataset's: the key is what comes before the first dot of the file's name."""


def shards(folder: Path) -> list[Path]:
    """The tars of a folder, in order.

    Raises:
        InputError: a command instead of a folder, no folder, or no tar in it.
    """
    if str(folder).startswith("pipe:"):
        raise InputError(f"{folder}: is a command, and nothing is run here; copy the shards to a folder and give that")
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder")
    found = sorted(folder.rglob("*.tar"))
    if not found:
        packed = sorted(p.name for p in folder.rglob("*") if p.name.endswith((".tgz", ".tar.gz", ".tar.zst", ".tar.bz2", ".tar.xz")))
        raise InputError(f"{folder}: no file that ends in .tar" + (f"; images are read in place, so uncompress {packed[0]}" if packed else ""))
    return found


def samples(shard: Path) -> Iterator[tuple[str, dict[str, Blob]]]:
    """Keys, and by ending in lower case (`jpg`, `txt`, `mask.png`) where the bytes are; in the tar's order.

    Raises:
        InputError: empty, cut short, not a tar, or a member that is refused: a link, a pickle, a path out of the folder, a name twice.
    """
    size = shard.stat().st_size
    if not size:
        raise InputError(f"{shard}: is empty (0 bytes); copy it anew")
    found: dict[str, dict[str, Blob]] = {}
    end = 0
    try:
        with tarfile.open(shard, "r:") as tar:
            for member in tar:
                end = member.offset_data + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
                _check(shard, member)
                if member.offset_data + member.size > size:
                    raise InputError(f"{shard}: ends at byte {size}, inside {member.name!r}, which lies from {member.offset_data} to "
                                     f"{member.offset_data + member.size}; the tar was cut short: copy it anew")
                named = _NAME.fullmatch(member.name)
                if not member.isfile() or not named:
                    continue
                parts = found.setdefault(named[1], {})
                if named[2].lower() in parts:
                    raise InputError(f"{shard}: {member.name!r} stands in it twice; keys must be unique")
                parts[named[2].lower()] = Blob(shard, member.offset_data, member.size)
    except tarfile.TarError as e:
        raise InputError(f"{shard}: cannot be read as an uncompressed tar, from byte {end} on: {e}") from None
    with shard.open("rb") as f:
        f.seek(end)
        if f.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise InputError(f"{shard}: has no end after byte {end} of {size}; the tar was cut short or is damaged there: copy it anew")
    yield from found.items()


def _check(shard: Path, member: tarfile.TarInfo) -> None:
    path = PurePosixPath(member.name)
    refused = ""
    if path.is_absolute() or ".." in path.parts:
        refused = "a name that leads out of the folder"
    elif not (member.isfile() or member.isdir()) or member.issparse():
        refused = "a link or device"
    elif path.suffix.lower() in RUNS:
        refused = "a pickle, which runs code when it is opened"
    if refused:
        raise InputError(f"{shard}: member {member.name!r} at byte {member.offset} is {refused}; such a tar is not read: make it without")
