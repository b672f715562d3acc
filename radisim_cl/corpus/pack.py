"""A corpus as tar shards in WebDataset's layout, beside a manifest that says where in them each image lies."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import yaml
from pydantic import ByteSize, TypeAdapter, ValidationError

from radisim_cl.corpus.card import origin
from radisim_cl.corpus.corpora import Corpus, manifest, open_corpus, read_manifest
from radisim_cl.errors import InputError
from radisim_cl.files import fsync, sha256, sha256_bytes, write_atomic
from radisim_cl.specs.catalog import CatalogSpec

_END = bytes(2 * tarfile.BLOCKSIZE)
"""What a tar ends with."""
_READERS = 4
Sizes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Layout:
    """Where everything will lie, known from sizes alone, so that a shard can be written without the ones before it.

    Attributes:
        sizes: (n, 3) bytes of each row's image, caption and mask; -1 where there is none.
        offsets: (n, 3) where each begins in its shard.
        first: (shards + 1,) the first row of each shard, and n.
        ends: (shards,) bytes of each shard.
    """

    sizes: Sizes
    offsets: Sizes
    first: Sizes
    ends: Sizes

    @classmethod
    def of(cls, sizes: Sizes, shard_size: int) -> Layout:
        """Shards of at most `shard_size` bytes, but for a pair that alone is larger."""
        members = np.where(sizes < 0, 0, tarfile.BLOCKSIZE + -(-sizes // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE)
        after = np.concatenate([[0], np.cumsum(members.sum(axis=1))])  # of the rows, if there were one shard
        first = [0]
        while first[-1] < len(sizes):
            room = after[first[-1]] + shard_size - len(_END)
            first.append(max(first[-1] + 1, int(np.searchsorted(after, room, side="right")) - 1))
        base = np.repeat(after[first[:-1]], np.diff(first))
        offsets = (after[:-1] - base)[:, None] + np.cumsum(members, axis=1) - members + tarfile.BLOCKSIZE
        return cls(sizes, offsets, np.array(first), np.diff(after[first]) + len(_END))

    def cells(self, part: int) -> list[str]:
        """(n,) what a manifest says of each row's image (0) or mask (2); empty where there is none."""
        shard = np.repeat(np.arange(len(self.ends)), np.diff(self.first)).tolist()
        rows = zip(shard, self.offsets[:, part].tolist(), self.sizes[:, part].tolist(), strict=True)
        return [f"{_name(s)}:{offset}:{size}" if size >= 0 else "" for s, offset, size in rows]


def pack(catalog: CatalogSpec, name: str, out: Path, shard_size: int,
         progress: Callable[[str, int, int], None] = lambda what, done, of: None) -> dict[str, object]:
    """Writes `shards/000000.tar`, ..., `manifest.parquet` and `card.yaml`. Killed and called again it goes on, and writes the same bytes.

    A pair is `<row>.png` or `.jpg`, `<row>.txt` with its caption where it has one, and `<row>.mask.png` where it has a mask. The manifest is the
    corpus's own but for its image and mask cells, so that a catalog needs no other change than the manifest's name.

    Args:
        catalog: where the corpus is.
        name: of the corpus.
        out: folder of the shards.
        shard_size: bytes that a shard may have.
        progress: called with what is being done, how many are done, and of how many.

    Returns:
        The card.

    Raises:
        InputError: the corpus cannot be used, an image is missing, or `out` holds something else.
    """
    corpus, path, columns = open_corpus(catalog, name, ""), manifest(catalog, name), catalog.corpora[name].columns
    layout = Layout.of(_sizes(corpus), shard_size)
    begun = {"corpus": name, "manifest": corpus.digest, "shard_size": shard_size, "sizes": sha256_bytes(layout.sizes.tobytes())}
    if (out / "pack.json").is_file() and json.loads((out / "pack.json").read_text()) != begun:
        raise InputError(f"{out} was begun from other files or with another --shard-size; give another --out, or delete it")
    if not (out / "pack.json").is_file() and out.is_dir() and any(out.iterdir()):
        raise InputError(f"{out} is not empty and not of this command; give another --out")
    if (out / "card.yaml").is_file():
        return dict(yaml.safe_load((out / "card.yaml").read_text()))
    write_atomic(out / "pack.json", json.dumps(begun, indent=1))
    (out / "shards").mkdir(exist_ok=True)
    with ThreadPoolExecutor(_READERS) as pool:
        for shard, size in enumerate(layout.ends.tolist()):
            file = out / _name(shard)
            if not file.is_file() or file.stat().st_size != size:
                _write(file, _members(corpus, layout, range(*layout.first[shard:shard + 2].tolist()), pool))
            progress(f"shards of {name}", shard + 1, len(layout.ends))
    frame = read_manifest(path)
    for part, column in ((0, "image"), (2, "mask")):
        if (column := columns.get(column, column)) in frame:
            frame[column] = layout.cells(part)
    frame.to_parquet(out / ".manifest.tmp", index=False)
    (out / ".manifest.tmp").replace(out / "manifest.parquet")
    card: dict[str, object] = {
        "name": name, **origin(path.parent), "licences": corpus.licences, "pairs": len(frame), "packed_from": corpus.digest,
        "captions": int((layout.sizes[:, 1] >= 0).sum()), "masks": int((layout.sizes[:, 2] >= 0).sum()),
        "shards": {_name(s): {"bytes": size, "sha256": sha256(out / _name(s))} for s, size in enumerate(layout.ends.tolist())},
    }
    write_atomic(out / "card.yaml", yaml.safe_dump(card, sort_keys=False, allow_unicode=True, width=120))
    return card


def bytes_of(shard_size: str) -> int:
    """Bytes of a size in words: `256MB`, `1GiB`.

    Raises:
        InputError: it is none.
    """
    try:
        size = int(TypeAdapter(ByteSize).validate_python(shard_size))
    except ValidationError:
        raise InputError(f"--shard-size {shard_size}: is no size; write it as 256MB or 1GiB") from None
    if size < 1:
        raise InputError(f"--shard-size {shard_size}: must be more than nothing")
    return size


def _name(shard: int) -> str:
    return f"shards/{shard:06d}.tar"


def _captions(corpus: Corpus) -> Iterator[bytes]:
    return (caption.strip().encode() for caption in corpus.frame["caption"])


def _sizes(corpus: Corpus) -> Sizes:
    sizes = np.full((len(corpus.frame), 3), -1, dtype=np.int64)
    try:
        for row, caption in enumerate(_captions(corpus)):
            mask = corpus.mask(row)
            sizes[row] = corpus.image(row).size(), len(caption) or -1, -1 if mask is None else mask.size()
    except OSError as e:
        raise InputError(f"{e.filename}: {e.strerror}; row {row + 1} of {corpus.name!r} names it") from None
    return sizes


def _members(corpus: Corpus, layout: Layout, rows: Sequence[int], pool: ThreadPoolExecutor) -> Iterator[bytes]:
    """The tar's bytes, a member at a time."""
    def parts(row: int) -> list[bytes | None]:
        caption, mask = corpus.record(row)["caption"].strip().encode(), corpus.mask(row)
        return [corpus.image(row).read_bytes(), caption or None, None if mask is None else mask.read_bytes()]

    for row, found in zip(rows, pool.map(parts, rows), strict=True):
        for data, size, ending in zip(found, layout.sizes[row].tolist(), (_ending(found[0] or b""), "txt", "mask.png"), strict=True):
            if (-1 if data is None else len(data)) != size:
                raise InputError(f"row {row + 1} of {corpus.name!r} changed while it was packed; start again with another --out")
            if data is not None:
                header = tarfile.TarInfo(f"{row:09d}.{ending}")
                header.size = size
                yield header.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-size % tarfile.BLOCKSIZE)
    yield _END


def _ending(data: bytes) -> str:
    return "png" if data.startswith(b"\x89PNG") else "webp" if data[8:12] == b"WEBP" else "jpg"


def _write(file: Path, chunks: Iterator[bytes]) -> None:
    """Whole or not at all."""
    temporary = file.with_name(f".{file.name}.tmp")
    with temporary.open("wb") as f:
        f.writelines(chunks)
    fsync(temporary)
    temporary.replace(file)
    fsync(file.parent)
