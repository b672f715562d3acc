"""Files that are whole or absent, digests, and the YAML library that ships with the package."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from radisim_cl.errors import InputError
from radisim_cl.registry import hint

_PACKAGE = Path(__file__).resolve().parent


def fsync(path: Path) -> None:
    """Makes the bytes of a file durable; of a folder, the creations and renames in it."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_atomic(path: Path, data: bytes | str) -> None:
    """Writes `path` whole or not at all: temporary file, fsync, rename, fsync of the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(data.encode() if isinstance(data, str) else data)
    fsync(temporary)
    temporary.replace(path)
    fsync(path.parent)


def cache_folder() -> Path:
    """Where what can be made again is kept: `$RADISIM_CACHE`, or `~/.cache/radisim-cl`."""
    return Path(os.environ.get("RADISIM_CACHE") or Path.home() / ".cache" / "radisim-cl")


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def sha256_bytes(data: bytes) -> str:
    """Hex SHA-256 of bytes."""
    return hashlib.sha256(data).hexdigest()


def sha256_text(text: str) -> str:
    """Hex SHA-256 of a string."""
    return sha256_bytes(text.encode())


def library_roots(near: Path | None = None) -> Iterator[Path]:
    """Where `curricula/`, `stages/`, ... are looked for: beside the file that asks, then what the package ships.

    An installed wheel carries them in `radisim_cl/_library/`; a checkout has them at its root.
    """
    if near is not None:
        yield from (near, *near.absolute().parents[:3])
    packaged = _PACKAGE / "_library"
    yield packaged if packaged.is_dir() else _PACKAGE.parent


def library_names(folder: str, near: Path | None = None) -> list[str]:
    """Names of the YAML files of a library folder, without their ending, subfolders as `a/b`."""
    found = set()
    for root in library_roots(near):
        home = root / folder
        found |= {p.relative_to(home).with_suffix("").as_posix() for p in home.rglob("*.yaml")}
    return sorted(found)


def library_file(folder: str, name: str, near: Path | None = None) -> Path:
    """The YAML file that a name stands for; a path that exists is taken as it is.

    Raises:
        InputError: nothing of that name; the message lists what there is.
    """
    if name.endswith((".yaml", ".yml")):
        for base in (near, Path()):
            if base is not None and (base / name).is_file():
                return base / name
        raise InputError(f"no file {name}")
    for root in library_roots(near):
        path = root / folder / f"{name}.yaml"
        if path.is_file():
            return path
    one = "curriculum" if folder == "curricula" else folder.removesuffix("s")
    raise InputError(f"no {one} {name!r} in {folder}/. {hint(name, library_names(folder, near))}")
