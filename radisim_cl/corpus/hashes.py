"""What is kept of a corpus's image files, by row of the manifest: sizes, SHA-256 digests and perceptual hashes. Each is made once."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import imagehash
import numpy as np
import numpy.typing as npt
from filelock import FileLock
from PIL import Image, ImageStat

from radisim_cl.corpus.blobs import Blob
from radisim_cl.corpus.corpora import Corpus
from radisim_cl.errors import InputError
from radisim_cl.files import cache_folder, sha256_text

SIDE = 96
"""Pixels a side, at the most, of the pictures that are hashed and compared."""
FRAMES = ((0.0, 0.0, 1.0, 1.0), *((x, y, x + 0.95, y + 0.95) for x in (0.0, 0.025, 0.05) for y in (0.0, 0.025, 0.05)))
"""Parts of a picture that are hashed, as left, top, right and bottom from 0 to 1: all of it, and nine that lack 5 % of each side."""
_HASH = 10
"""Frequencies a side: 100 bits a part. This size was chosen by measurement (docs/design/leakage.md)."""
_WORDS = 2
_FLAT = 2.0
"""Standard deviation, in grey levels, below which there is nothing to see in a picture."""
_CHUNK = 64
"""Files that a thread reads at a time."""
Rows = npt.NDArray[np.int64]
Looks = npt.NDArray[np.uint64]
Progress = Callable[[str, int, int], None]
"""What is being made, how many are done, of how many."""


def quiet(what: str, done: int, of: int) -> None:
    """Tells nobody."""


class Hashes:
    """Of one corpus; kept in the cache (`$RADISIM_CACHE`).

    They are found again by where the images are, what they are called, and the manifest's digest: an image that is replaced while its
    manifest stays the same is not noticed. What cannot be read has zeros.
    """

    def __init__(self, corpus: Corpus, progress: Progress = quiet) -> None:
        self.corpus, self.progress = corpus, progress
        self.key = sha256_text("\0".join((str(corpus.folder.resolve()), corpus.digest, *corpus.frame["image"])))
        self._folder = cache_folder() / "hashes" / f"{corpus.name}-{self.key[:24]}"

    def sizes(self, rows: Rows) -> npt.NDArray[np.int64]:
        """(n,) bytes."""
        found: npt.NDArray[np.int64] = self._kept("sizes", rows, np.zeros((), dtype=np.int64), _size)
        return found

    def digests(self, rows: Rows) -> npt.NDArray[np.uint8]:
        """(n, 32) SHA-256 of the bytes."""
        found: npt.NDArray[np.uint8] = self._kept("sha256", rows, np.zeros(32, dtype=np.uint8), digest)
        return found

    def looks(self, rows: Rows) -> Looks:
        """(n, FRAMES, 2) perceptual hash of each part, 100 bits; zeros, too, where there is nothing to see."""
        found: Looks = self._kept(f"phash{_HASH}-{len(FRAMES)}-{SIDE}", rows, np.zeros((len(FRAMES), _WORDS), dtype=np.uint64), look)
        return found

    def _kept(self, kind: str, rows: Rows, nothing: npt.NDArray[Any], make: Callable[[Blob], Any]) -> npt.NDArray[Any]:
        path = self._folder / f"{kind}.npy"
        table = self._load(path, nothing)
        if not _lacking(table, rows).size:
            return table[rows]
        with writing(path):
            table = np.array(self._load(path, nothing))
            lacking = _lacking(table, rows)
            try:
                self._make(kind, table, lacking, make)
            finally:  # also what was made until Ctrl-C
                if len(_lacking(table, lacking)) < len(lacking):
                    save(path, table)
        return table[rows]

    def _load(self, path: Path, nothing: npt.NDArray[Any]) -> npt.NDArray[Any]:
        shape = (len(self.corpus.frame), *nothing.shape)
        try:
            return np.load(path, mmap_mode="r")  # type: ignore[no-any-return]
        except (OSError, ValueError):  # there is none, or none that can be read
            return np.zeros(shape, dtype=nothing.dtype)

    def _make(self, kind: str, table: npt.NDArray[Any], rows: Rows, make: Callable[[Blob], Any]) -> None:
        chunks = [rows[at:at + _CHUNK] for at in range(0, len(rows), _CHUNK)]
        pool, done = ThreadPoolExecutor(os.cpu_count()), 0
        try:
            for chunk, made in zip(chunks, pool.map(lambda chunk: [make(self.corpus.image(row)) for row in chunk.tolist()], chunks), strict=True):
                table[chunk] = made
                done += len(chunk)
                self.progress(f"{kind} of {self.corpus.name}", done, len(rows))
        finally:
            pool.shutdown(cancel_futures=True)


def _lacking(table: npt.NDArray[Any], rows: Rows) -> Rows:
    return rows[~table[rows].any(axis=tuple(range(1, table.ndim)))]


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Nobody else makes a file of the cache meanwhile.

    Raises:
        InputError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            yield
    except OSError as e:
        raise InputError(f"{path} cannot be kept: {e.strerror or e}. Make room there, or set RADISIM_CACHE to a folder that can be written") from None


def save(path: Path, table: npt.NDArray[Any]) -> None:
    """Writes an array whole or not at all."""
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as f:
        np.save(f, table)
    temporary.replace(path)


def _size(file: Blob) -> int:
    try:
        return file.size()
    except OSError:
        return 0


def digest(file: Blob) -> npt.NDArray[np.uint8]:
    """(32,) SHA-256 of the bytes; zeros where they cannot be read."""
    try:
        return np.frombuffer(bytes.fromhex(file.sha256()), dtype=np.uint8)
    except InputError:
        return np.zeros(32, dtype=np.uint8)


def picture(file: Blob) -> Image.Image:
    """Grey, reduced to at most SIDE pixels a side.

    Raises:
        OSError: truncated, or not an image.
        InputError: missing.
    """
    try:
        with Image.open(io.BytesIO(file.read_bytes())) as image:
            image.draft("L", (2 * SIDE, 2 * SIDE))  # of a large JPEG not every pixel is decoded
            grey = image.convert("L")
    except (ValueError, SyntaxError, Image.DecompressionBombError) as e:  # what pillow raises besides, for files that are broken
        raise OSError(str(e)) from None
    return reduced(grey)


def reduced(image: Image.Image) -> Image.Image:
    """At most SIDE pixels a side."""
    return image.resize((min(image.width, SIDE), min(image.height, SIDE)), Image.Resampling.LANCZOS)


def part(image: Image.Image, frame: tuple[float, float, float, float], side: int) -> Image.Image:
    """A part of a picture, as in FRAMES, at side x side pixels."""
    left, top, right, bottom = frame
    box = (left * image.width, top * image.height, right * image.width, bottom * image.height)
    return image.resize((side, side), Image.Resampling.LANCZOS, box)


def look(file: Blob) -> Looks:
    """(FRAMES, 2) perceptual hash of each part of a picture; zeros where it cannot be read or shows nothing."""
    try:
        image = picture(file)
    except (OSError, InputError):
        return np.zeros((len(FRAMES), _WORDS), dtype=np.uint64)
    return looks(image, FRAMES)


def looks(image: Image.Image, frames: Sequence[tuple[float, float, float, float]]) -> Looks:
    """(frames, 2) perceptual hash of each part of a grey picture (imagehash's `phash`); zeros where it shows nothing."""
    out = np.zeros((len(frames), _WORDS), dtype=np.uint64)
    if ImageStat.Stat(image).stddev[0] >= _FLAT:
        for i, frame in enumerate(frames):
            bits = np.packbits(imagehash.phash(part(image, frame, 4 * _HASH), _HASH).hash)
            out[i] = np.pad(bits, (0, 8 * _WORDS - len(bits))).view(np.uint64)
    return out
