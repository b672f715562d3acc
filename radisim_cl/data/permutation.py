"""A random order of n things that can be entered anywhere at once."""

from __future__ import annotations

import functools
import hashlib

import numpy as np
import numpy.typing as npt

U = npt.NDArray[np.uint64]
_ROUNDS = 6
WINDOW = 64
"""Blocks whose things `near` mixes."""


def key(*parts: str | int) -> int:
    """A 64-bit key from names and integers."""
    text = "\0".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def permute(positions: npt.ArrayLike, n: npt.ArrayLike, seed: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Where each position of 0..n-1 goes under a pseudo-random permutation of 0..n-1.

    A Feistel network over the next even number of bits, walked until it lands inside (Black and Rogaway 2002, "Ciphers with
    arbitrary finite domains", method 3): no table, so the cost does not depend on n or on the position.

    Args:
        positions: (k,) each in 0..n-1.
        n: of all, or (k,) of each.
        seed: 64 bits, of all, or (k,) of each.
    """
    out = np.asarray(positions, dtype=np.uint64).copy()
    n = np.broadcast_to(np.asarray(n, dtype=np.uint64), out.shape)
    seeds, which = np.unique(np.broadcast_to(np.asarray(seed, dtype=np.uint64), out.shape), return_inverse=True)
    if not out.size:
        return out.astype(np.int64)
    keys = np.array([_round_keys(s) for s in seeds.tolist()], dtype=np.uint64)[which]
    bits = np.frexp((n - np.uint64(1)).astype(np.float64))[1]  # exact below 2**53
    half = np.maximum(1, (bits + 1) // 2).astype(np.uint64)
    walking = np.arange(out.size)
    while walking.size:
        out[walking] = _feistel(out[walking], half[walking], keys[walking])
        walking = walking[out[walking] >= n[walking]]
    return out.astype(np.int64)


@functools.lru_cache(2**14)
def _round_keys(seed: int) -> tuple[int, ...]:
    return tuple(key(seed, r) for r in range(_ROUNDS))


def near(positions: npt.ArrayLike, n: npt.ArrayLike, seed: npt.ArrayLike, block: int) -> npt.NDArray[np.int64]:
    """`permute`, but what lies together stays together: neighbours in a block, whose order is random, and the pairs of WINDOW blocks mixed.

    So the things that any stretch of positions leads to lie in few places. The last block, where n is no multiple of its length, is
    shorter, and has a place of its own among the others; that a place's beginning is then known without a table keeps every position as
    cheap as the first.

    Args:
        positions: (k,) each in 0..n-1.
        n: of all, or (k,) of each.
        seed: 64 bits, of all, or (k,) of each.
        block: things that stay together, at least 1.
    """
    at = np.asarray(positions, dtype=np.int64)
    n = np.broadcast_to(np.asarray(n, dtype=np.int64), at.shape)
    seeds = np.broadcast_to(np.asarray(seed, dtype=np.uint64), at.shape)
    whole, rest = np.divmod(n, block)
    short = np.where(rest > 0, (_mix(seeds) % (whole + 1).astype(np.uint64)).astype(np.int64), whole)  # where the short block stands

    def begin(place: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return place * block - np.where((place > short) & (rest > 0), block - rest, 0)

    blocks = whole + (rest > 0)
    window = at // (block * WINDOW)
    later = (window + 1) * WINDOW < blocks
    window += later & (at >= begin((window + 1) * WINDOW))
    first, last = begin(window * WINDOW), begin(np.minimum((window + 1) * WINDOW, blocks))
    at = first + permute(at - first, last - first, _mix(seeds ^ _mix(window.astype(np.uint64) + np.uint64(1))))
    place = at // block
    place += at >= begin(place + 1)
    is_short = (place == short) & (rest > 0)
    order = permute(np.where(is_short, 0, place - ((place > short) & (rest > 0))), np.maximum(whole, 1), _mix(~seeds))
    return np.where(is_short, whole, order) * block + at - begin(place)


def _feistel(x: U, half: U, keys: U) -> U:
    mask = (np.uint64(1) << half) - np.uint64(1)
    left, right = x >> half, x & mask
    for k in keys.T:
        left, right = right, left ^ (_mix(right ^ k) & mask)
    return (left << half) | right


def _mix(z: U) -> U:
    """splitmix64's finalizer (Steele, Lea and Flood 2014)."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
