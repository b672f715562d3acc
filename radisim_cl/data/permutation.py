"""A random order of n things that can be entered anywhere at once."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

U = npt.NDArray[np.uint64]
_ROUNDS = 6


def key(*parts: str | int) -> int:
    """A 64-bit key from names and integers."""
    text = "\0".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def permute(positions: npt.ArrayLike, n: int, seed: int) -> npt.NDArray[np.int64]:
    """Where each position of 0..n-1 goes under a pseudo-random permutation of 0..n-1.

    A Feistel network over the next even number of bits, walked until it lands inside (Black and Rogaway 2002, "Ciphers with
    arbitrary finite domains", method 3): no table, so the cost does not depend on n or on the position.
    """
    half = np.uint64(max(1, ((n - 1).bit_length() + 1) // 2))
    mask = np.uint64((1 << int(half)) - 1)
    keys = np.array([key(seed, r) for r in range(_ROUNDS)], dtype=np.uint64)
    out = np.asarray(positions, dtype=np.uint64).copy()
    inside = np.zeros(out.shape, dtype=bool)
    while not inside.all():
        out[~inside] = _feistel(out[~inside], half, mask, keys)
        inside = out < n
    return out.astype(np.int64)


def _feistel(x: U, half: np.uint64, mask: np.uint64, keys: U) -> U:
    left, right = x >> half, x & mask
    for k in keys:
        left, right = right, left ^ (_mix(right ^ k) & mask)
    return (left << half) | right


def _mix(z: U) -> U:
    """splitmix64's finalizer (Steele, Lea and Flood 2014)."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
