"""What a corpus shares with itself and with others: the same pixels, pictures that look the same, patients; and pictures that may hold text.

`checks.parquet` keeps of each picture, by id, what these are found by. Candidates for the same look are found by sorting the hashes from several
bits on (Manku, Jain and Das Sarma 2007, "Detecting near-duplicates for web crawling", section 3), so that time and memory grow with the number
of pictures and not with its square; then their details are compared (`radisim_cl.corpus.leakage`).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from radisim_cl.corpus.blobs import Blob
from radisim_cl.corpus.hashes import FRAMES, Progress, looks, reduced
from radisim_cl.corpus.leakage import CONFIRMED, SMALL, Candidates, compared
from radisim_cl.errors import InputError
from radisim_cl.files import sha256_bytes
from radisim_cl.ingest import _text
from radisim_cl.ingest._protocol import Picture

COLUMNS = ("id", "patient", "pixels", "look", "text")
"""Of `checks.parquet`: ids as in the manifest; SHA-256 of the pixels; perceptual hash, hexadecimal; `declared`, `possible` or nothing."""
BITS = 4
"""Of 100 that the hashes of two pictures differ in at the most to be candidates."""
_TURNS = (0, 3, 5, 8, 10)
"""Bytes of the hash that it is sorted from: two that differ in four bits are the same in one of the five stretches between these."""
_NEIGHBOURS = 8
"""In the sorted order that a hash is compared with."""
_COMPARED = 2000
"""Pairs of candidates whose details are compared, at the most."""
_BLOCK = 2**14
"""Pictures that are read or compared at a time."""
Pairs = npt.NDArray[np.int64]


def checks(picture: Picture) -> dict[str, str]:
    """The cells of `checks.parquet` that are known of a picture by itself."""
    return {
        "pixels": sha256_bytes(repr(picture.pixels.shape).encode() + picture.pixels.tobytes()),
        "look": looks(reduced(Image.fromarray(picture.pixels)), FRAMES[:1]).tobytes().hex(),
        "text": "declared" if picture.text else "possible" if _text.letters(picture.pixels) >= _text.LETTERS else "",
    }


@dataclass(frozen=True)
class Checks:
    """`checks.parquet` of a corpus, in numbers; n pictures, about 60 bytes each.

    Attributes:
        folder: of the corpus.
        ids: (n,) that pictures are named by.
        patients: (n,) the first 64 bits of their hashes.
        pixels: (n,) likewise.
        looks: (n, 2) perceptual hashes.
    """

    folder: Path
    ids: pa.ChunkedArray
    patients: npt.NDArray[np.uint64]
    pixels: npt.NDArray[np.uint64]
    looks: npt.NDArray[np.uint64]

    @classmethod
    def of(cls, folder: Path) -> Checks:
        """Reads them; errors as of `checks_in`."""
        file = pq.ParquetFile(checks_in(folder))
        patients, pixels, hashes = (np.empty((file.metadata.num_rows, words), dtype=np.uint64) for words in (1, 1, 2))
        done, ids = 0, list[pa.Array]()
        for batch in file.iter_batches(_BLOCK):
            for out, column in ((patients, "patient"), (pixels, "pixels"), (hashes, "look")):
                octets = bytes.fromhex("".join(cell[:16 * out.shape[1]] for cell in batch[column].to_pylist()))
                out[done:done + len(batch)] = np.frombuffer(octets, dtype=np.uint64).reshape(-1, out.shape[1])
            ids.append(batch["id"])
            done += len(batch)
        return cls(folder, pa.chunked_array(ids, pa.string()), patients[:, 0], pixels[:, 0], hashes)

    def picture(self, row: int) -> Blob:
        """Where a picture is."""
        return Blob(self.folder / "images" / f"{self.ids[row]}.png")


def checks_in(folder: Path) -> Path:
    """The `checks.parquet` of a corpus.

    Raises:
        InputError: no corpus of `ingest` lies there.
    """
    if not (folder / "checks.parquet").is_file():
        raise InputError(f"{folder}: no checks.parquet; name the folder of a corpus that `radisim-cl ingest` has finished")
    return folder / "checks.parquet"


def within(ours: Checks, progress: Progress) -> dict[str, int]:
    """Pictures of a corpus that are the same, as a card counts them."""
    order = np.lexsort((ours.patients, ours.pixels))
    again = ours.pixels[order][1:] == ours.pixels[order][:-1]
    other = again & (ours.patients[order][1:] != ours.patients[order][:-1])
    pairs = alike(ours.looks)
    pairs = pairs[(ours.patients[pairs[:, 0]] != ours.patients[pairs[:, 1]]) & (ours.pixels[pairs[:, 0]] != ours.pixels[pairs[:, 1]])]
    return {"pictures that an earlier one is the same as": int(again.sum()), "of them between patients": int(other.sum()),
            **_looked(pairs, ours, ours, "one of another patient", progress)}


def between(ours: Checks, theirs: Checks, progress: Progress) -> dict[str, int]:
    """What a corpus shares with another one, as a card counts it."""
    n = len(ours.looks)
    pairs = alike(np.concatenate([ours.looks, theirs.looks]))
    pairs = pairs[(pairs[:, 0] < n) & (pairs[:, 1] >= n)] - np.array([0, n])
    pairs = pairs[ours.pixels[pairs[:, 0]] != theirs.pixels[pairs[:, 1]]]
    return {"patients": len(np.intersect1d(ours.patients, theirs.patients)),
            "pictures that are the same": int(np.isin(ours.pixels, theirs.pixels).sum()),
            **_looked(pairs, ours, theirs, "one of its", progress)}


def _looked(pairs: Pairs, ours: Checks, theirs: Checks, whose: str, progress: Progress) -> dict[str, int]:
    some = pairs[:_COMPARED].tolist()
    each = np.arange(len(some))
    likeness, sides = compared(Candidates(each, each, 0 * each), [ours.picture(i) for i, _ in some], [theirs.picture(j) for _, j in some], progress)
    return {f"pictures that look like {whose}": len(np.unique(pairs[:, 0])), "pairs of such that were compared": len(some),
            "of them the same picture, saved anew": int(((likeness >= CONFIRMED) & (sides >= SMALL)).sum())}


def alike(hashes: npt.NDArray[np.uint64]) -> Pairs:
    """(m, 2) rows, the smaller first, of hashes that differ in at most BITS bits; hashes of nothing are like none.

    All are found where no more than _NEIGHBOURS others are the same from one of the _TURNS on.

    Args:
        hashes: (n, 2), as `radisim_cl.corpus.hashes.looks` makes them.
    """
    rows = np.flatnonzero(hashes.any(axis=1))
    octets = hashes[rows].view(np.uint8).reshape(-1, 16)[:, :13]
    found: list[Pairs] = [np.empty((0, 2), dtype=np.int64)]
    for turn in _TURNS:
        turned = np.pad(np.roll(octets, -turn, axis=1), ((0, 0), (0, 3))).view(">u8")
        order = rows[np.lexsort((turned[:, 1], turned[:, 0]))]
        for step, start in itertools.product(range(1, _NEIGHBOURS + 1), range(0, len(order), _BLOCK)):
            near = order[start + step:start + step + _BLOCK]
            pairs = np.stack([order[start:start + len(near)], near], axis=1)
            bits = np.bitwise_count(hashes[pairs[:, 0]] ^ hashes[pairs[:, 1]]).sum(axis=1)
            found.append(np.sort(pairs[bits <= BITS], axis=1))
    return np.unique(np.concatenate(found), axis=0)
