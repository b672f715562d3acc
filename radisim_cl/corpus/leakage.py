"""Training pictures that are a benchmark's too: candidates by perceptual hash, then a comparison of their details."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import gaussian_filter

from radisim_cl.corpus import hashes
from radisim_cl.corpus.blobs import Blob
from radisim_cl.corpus.hashes import FRAMES, Looks, Progress, Rows, part, picture, quiet
from radisim_cl.files import sha256, sha256_text

DISTANCE = 12
"""Bits of 100 in which the hashes of two candidates differ at the most."""
SUSPECTED, CONFIRMED = 0.8, 0.93
"""Likenesses from which on two pictures are suspected, and known, to be one."""
SMALL, SUSPECTED_SMALL = 48, 0.9
"""Pixels a side below which a picture has too few details for more than a suspicion, and that only from this likeness on."""
_COARSE, _FINE = 32, 64
"""Pixels a side at which two pictures are laid on one another."""
_HOPELESS = 0.9
"""Correlation at the coarse size below which no one looks closer."""
_DETAIL, _AROUND, _FLOOR = 1.5 / 64, 3 / 64, 0.3
"""Standard deviations, in parts of a picture's side, of the Gaussian that is taken off it and of the one that its contrast is taken in; least
contrast that what is left is divided by, relative to that of the whole picture."""
_BYTES = 2**26
"""Of a block of Hamming distances."""
F = npt.NDArray[np.float64]
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Candidates:
    """Pairs whose hashes are near, n in number.

    Attributes:
        train: (n,) index into the first hashes.
        held: (n,) index into the second.
        frame: (n,) of FRAMES, of which part of the second the first is; from len(FRAMES) on, less len(FRAMES) - 1, of which part of the
            first the second is.
    """

    train: Rows
    held: Rows
    frame: Rows


def code() -> str:
    """Digest of what makes and compares hashes: another version of it finds other pairs."""
    return sha256_text("".join(sha256(Path(file)) for file in (hashes.__file__, __file__)))


def near(train: Looks, held: Looks, progress: Callable[[int], None] = lambda done: None) -> Candidates:
    """Pairs at most DISTANCE bits apart, where either may be cut at its edges.

    Every pair is looked at, 19 times (all of one with each part of the other), by bit operations on blocks: about 60 MB beside the hashes,
    whatever their number.

    Args:
        train: (n, FRAMES, 2).
        held: (m, FRAMES, 2).
        progress: called with how many of `train` are done.
    """
    see, seen = np.any(train, axis=(1, 2)), np.any(held, axis=(1, 2))
    theirs, block = _by_word(held), max(1, _BYTES // (12 * max(1, len(held))))
    found = [np.empty((0, 3), dtype=np.int64)]
    for start in range(0, len(train), block):
        some = slice(start, start + block)
        ours, closest = _by_word(train[some]), np.full((len(train[some]), len(held)), 255, dtype=np.uint8)
        pairs = [_framed(ours, theirs, frame) for frame in range(2 * len(FRAMES) - 1)]
        for a, b in pairs:
            np.minimum(closest, _distance(a[:, :, None], b[:, None]), out=closest)
        i, j = np.nonzero((closest <= DISTANCE) & see[some, None] & seen)
        frame = np.argmin([_distance(a[:, i], b[:, j]) for a, b in pairs], axis=0)
        found.append(np.stack([start + i, j, frame], axis=1))
        progress(min(start + block, len(train)))
    return Candidates(*np.concatenate(found).T)


def _by_word(looks: Looks) -> Looks:
    """(FRAMES, WORDS, n): each word of each part by itself, in memory too."""
    return np.ascontiguousarray(looks.transpose(1, 2, 0))


def _framed(train: Looks, held: Looks, frame: int) -> tuple[Looks, Looks]:
    """(WORDS, n) and (WORDS, m): the hashes that are compared."""
    n = len(FRAMES)
    return (train[0], held[frame]) if frame < n else (train[frame - n + 1], held[0])


def _distance(a: Looks, b: Looks) -> npt.NDArray[np.uint8]:
    out: npt.NDArray[np.uint8] = np.bitwise_count(a[0] ^ b[0])
    for x, y in zip(a[1:], b[1:], strict=True):
        out += np.bitwise_count(x ^ y)
    return out


def compared(found: Candidates, train: Sequence[Blob], held: Sequence[Blob], progress: Progress = quiet) -> tuple[F, npt.NDArray[np.int64]]:
    """Looks closer at candidates; images of the benchmark are kept in memory meanwhile, 9 kB each.

    Args:
        found: from `near`.
        train: by the first index.
        held: by the second.
        progress: of candidates.

    Returns:
        (n,) likeness, and (n,) pixels a side of the smaller picture.
    """
    ours = functools.lru_cache(maxsize=64)(lambda i: picture(train[i]))
    theirs = functools.cache(lambda j: picture(held[j]))
    out, sides = np.zeros(len(found.train)), np.zeros(len(found.train), dtype=np.int64)
    for n, (i, j, frame) in enumerate(zip(found.train.tolist(), found.held.tolist(), found.frame.tolist(), strict=True)):
        a, b = ours(i), theirs(j)
        out[n], sides[n] = likeness(a, b, frame), min(*a.size, *b.size)
        progress("candidates compared", n + 1, len(out))
    return out, sides


def likeness(a: Image.Image, b: Image.Image, frame: int = 0) -> float:
    """How well the details of two pictures agree, one laid on a part of the other; -1 to 1, and 0 where they are not alike at all.

    The part is moved, and stretched along the axes, until the two agree best: Gauss-Newton on its four edges (Baker and Matthews 2004,
    section 2, with the gradient of the part), first at 32 and then at up to 64 pixels a side. Then what a Gaussian takes off is divided by
    the contrast around it, so that a skull's bright ring does not decide alone, and correlated.

    Args:
        a: from `picture`.
        b: likewise.
        frame: where the part begins, as in `Candidates`; where it is all of the picture, either may be a part of the other.
    """
    ways = [(a, b, FRAMES[frame])] if frame < len(FRAMES) else []
    ways += [(b, a, FRAMES[max(0, frame - len(FRAMES) + 1)])] if frame == 0 or not ways else []
    close, box, a, b = max(((*_laid(x, y, start, _COARSE, 6), x, y) for x, y, start in ways), key=lambda laid: laid[0])
    if close < _HOPELESS:
        return 0.0
    side = min(_FINE, *a.size, *b.size)
    _, box = _laid(a, b, box, side, 5)
    return float((_details(_pixels(a, FRAMES[0], side)) * _details(_pixels(b, box, side))).mean())


def _details(x: F) -> F:
    fine = x - gaussian_filter(x, _DETAIL * len(x))
    around = np.sqrt(gaussian_filter(fine**2, _AROUND * len(x)))
    return _standard(fine / (around + _FLOOR * max(float(fine.std()), 1e-9)))


def _laid(a: Image.Image, b: Image.Image, frame: Box, side: int, steps: int) -> tuple[float, Box]:
    """The best correlation of the whole of one picture with a part of the other that is found, and that part."""
    target = _standard(_pixels(a, FRAMES[0], side))
    across, down = np.meshgrid((np.arange(side) + 0.5) / side, (np.arange(side) + 0.5) / side)
    edges, best = np.array(frame), (-1.0, frame)
    for _ in range(steps):
        now = _standard(_pixels(b, (*edges,), side))
        close = float((target * now).mean())
        if close > best[0]:
            best = (close, (*edges,))
        dy, dx = np.gradient(now)
        dx, dy = dx * side / (edges[2] - edges[0]), dy * side / (edges[3] - edges[1])
        jacobian = np.stack([dx * (1 - across), dy * (1 - down), dx * across, dy * down], axis=-1).reshape(-1, 4)
        jacobian -= jacobian.mean(axis=0)
        normal = jacobian.T @ jacobian
        step = np.linalg.solve(normal + (1e-3 * np.trace(normal) / 4 + 1e-9) * np.eye(4), jacobian.T @ (target - now).ravel())
        moved = np.clip(edges + np.clip(step, -0.04, 0.04), (0, 0, 0.85, 0.85), (0.15, 0.15, 1, 1))
        if np.abs(moved - edges).max() < 5e-4:
            break
        edges = moved
    return best


def _pixels(image: Image.Image, frame: Box, side: int) -> F:
    return np.asarray(part(image, frame, side), dtype=np.float64)


def _standard(x: F) -> F:
    out: F = (x - x.mean()) / max(float(x.std()), 1e-9)
    return out
