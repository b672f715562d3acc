"""The random order that can be entered anywhere."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radisim_cl.data.permutation import WINDOW, key, near, permute

POWERS = [1, 2, 3, 4, 5, 15, 16, 17, 63, 64, 65, 255, 256, 257, 1023, 1024, 1025, 4096, 65_536, 65_537, 100_003]


@pytest.mark.parametrize("n", POWERS)
def test_every_thing_comes_once(n: int) -> None:
    np.testing.assert_array_equal(np.sort(permute(np.arange(n), n, seed=7)), np.arange(n))


@settings(max_examples=80)
@given(n=st.integers(1, 3000), seed=st.integers(0, 2**64 - 1))
def test_every_thing_comes_once_for_any_number_and_seed(n: int, seed: int) -> None:
    np.testing.assert_array_equal(np.sort(permute(np.arange(n), n, seed)), np.arange(n))


@settings(max_examples=30)
@given(n=st.integers(2, 2000), seed=st.integers(0, 2**32), data=st.data())
def test_a_position_is_entered_directly(n: int, seed: int, data: st.DataObject) -> None:
    at = data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=20))
    np.testing.assert_array_equal(permute(at, n, seed), permute(np.arange(n), n, seed)[at])


def test_twelve_million_things_entered_in_the_middle() -> None:
    n, at = 12_000_000, np.r_[0:1000, 6_000_000:6_001_000, 11_999_000:12_000_000]
    out = permute(at, n, seed=1)
    assert len(np.unique(out)) == len(at)
    assert out.min() >= 0
    assert out.max() < n
    np.testing.assert_array_equal(permute(at[1234:1236], n, seed=1), out[1234:1236])
    # A thousand neighbours land all over the range.
    assert np.histogram(out[1000:2000], bins=10, range=(0, n))[0].min() > 60


def test_seeds_give_different_orders() -> None:
    orders = {tuple(permute(np.arange(50), 50, seed)) for seed in range(200)}
    assert len(orders) == 200
    assert tuple(range(50)) not in orders


def test_all_orders_of_few_things_occur() -> None:
    found = {tuple(int(i) for i in permute(np.arange(3), 3, seed)) for seed in range(200)}
    assert found == set(itertools.permutations(range(3)))


def test_nothing_is_nowhere() -> None:
    assert len(permute([], 0, seed=1)) == 0


def test_keys_differ_by_every_part_and_its_place() -> None:
    parts: list[tuple[str | int, ...]] = [(1, 11), (11, 1), (111,), (1, 1, 1), ("a", 1), ("b", 1), (0,), ("",)]
    assert len({key(*p) for p in parts}) == len(parts)
    assert all(0 <= key(*p) < 2**64 for p in parts)
    assert key("a", 1) == key("a", 1)


def test_each_thing_may_have_a_number_and_a_seed_of_its_own() -> None:
    rng = np.random.default_rng(0)
    n, seeds = rng.integers(1, 5000, 200), rng.integers(0, 2**63, 200)
    at = rng.integers(0, n)
    np.testing.assert_array_equal(permute(at, n, seeds), [permute([a], m, s)[0] for a, m, s in zip(at, n, seeds, strict=True)])
    np.testing.assert_array_equal(near(at, n, seeds, 7), [near([a], m, s, 7)[0] for a, m, s in zip(at, n, seeds, strict=True)])


@settings(max_examples=80)
@given(n=st.integers(1, 9000), block=st.integers(1, 80), seed=st.integers(0, 2**64 - 1), data=st.data())
def test_in_blocks_every_thing_comes_once_and_a_position_is_entered_directly(n: int, block: int, seed: int, data: st.DataObject) -> None:
    whole = near(np.arange(n), n, seed, block)
    np.testing.assert_array_equal(np.sort(whole), np.arange(n))
    at = data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=20))
    np.testing.assert_array_equal(near(at, n, seed, block), whole[at])


@settings(max_examples=20)
@given(n=st.integers(1, 60_000), block=st.integers(1, 80), seed=st.integers(0, 2**64 - 1))
def test_what_is_drawn_around_the_same_time_lies_in_few_blocks(n: int, block: int, seed: int) -> None:
    """Any stretch as long as the things that are mixed meets the blocks of two windows at the most, and one for the short block."""
    places = near(np.arange(n), n, seed, block) // block
    stretch = block * WINDOW
    for start in range(0, n, max(1, stretch // 3)):
        assert len(np.unique(places[start:start + stretch])) <= 2 * WINDOW + 1


def test_blocks_and_what_is_in_them_are_shuffled_anew_by_each_seed() -> None:
    n, block = 40_003, 16
    first, second = (near(np.arange(n), n, seed, block) for seed in (1, 2))
    windows = [set((x[: block * WINDOW] // block).tolist()) for x in (first, second)]
    assert len(windows[0] & windows[1]) < 10, "other blocks come first"
    assert max(windows[0]) - min(windows[0]) > n // block * 0.9, "and they are of all the manifest"
    assert (np.diff(first // block) == 0).mean() < 0.05, "and neighbours do not follow one another"
    assert len({int(np.flatnonzero(near(np.arange(35), 35, seed, 16) == 34)[0]) for seed in range(300)}) > 20, "the short block is not always last"
