"""Maps and boxes against torch, torchvision, and what can be seen in a drawing."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torchvision.ops import box_iou

from radisim_cl.bench.boxes import Component, chosen, components, dice, extent, iou, upsampled
from radisim_cl.bench.mean_mask import LEVELS, mean_mask

F = npt.NDArray[np.float64]
MAP = """
........
.99..555
.9...555
.....555
..7.....
.7......
"""


def drawn(text: str) -> F:
    """A map in tenths; dots are 0."""
    return np.array([[0 if c == "." else int(c) / 10 for c in line] for line in text.split()])


@pytest.mark.parametrize(("grid", "size"), [((4, 4), 32), ((7, 7), 224), ((3, 5), 17), ((1, 1), 8), ((1, 4), 9)], ids=str)
def test_upsampling_is_torchs(grid: tuple[int, int], size: int) -> None:
    maps = np.random.default_rng(0).random((2, *grid))
    expected = torch.nn.functional.interpolate(torch.from_numpy(maps)[None], (size, size), mode="bilinear", align_corners=False)[0]
    np.testing.assert_allclose(upsampled(maps, size), expected, atol=1e-12)


def test_components_by_hand() -> None:
    """Corners do not touch; the largest comes first; a threshold is reached by what equals it."""
    found = components(drawn(MAP), 0.5)
    assert found == [Component(0.5, 9, (1, 5, 4, 8)), Component(0.9, 3, (1, 1, 3, 3)), Component(0.7, 1, (4, 2, 5, 3)),
                     Component(0.7, 1, (5, 1, 6, 2))]
    assert [c.area for c in components(drawn(MAP), 0.6)] == [3, 1, 1]
    assert components(drawn(MAP), 0.95) == []


@pytest.mark.parametrize(("threshold", "box"), [(0.1, (1, 5, 4, 8)), (0.5, (1, 5, 4, 8)), (0.6, (1, 1, 3, 3)), (0.9, (1, 1, 3, 3)), (0.95, None)])
def test_the_largest_component_that_is_sure_enough_is_the_box(threshold: float, box: tuple[int, int, int, int] | None) -> None:
    assert chosen(components(drawn(MAP), 0.3), threshold) == box


def test_extent() -> None:
    assert extent(drawn(MAP) > 0) == (1, 1, 6, 8)
    assert extent(drawn(MAP) > 0.8) == (1, 1, 3, 3)
    assert extent(drawn(MAP) > 1) is None


def test_overlap_is_torchvisions() -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        a, b = (np.sort(rng.integers(0, 12, (2, 2)), axis=0) + np.array([[0, 0], [1, 1]]) for _ in range(2))
        expected = box_iou(torch.tensor(a.ravel()[None].astype(float)), torch.tensor(b.ravel()[None].astype(float)))
        assert iou(tuple(a.ravel().tolist()), tuple(b.ravel().tolist())) == pytest.approx(expected.item())


def test_overlap_of_nothing_is_none() -> None:
    assert iou(None, (0, 0, 1, 1)) == iou((0, 0, 1, 1), None) == iou((0, 0, 2, 2), (2, 2, 3, 3)) == 0
    assert dice(np.zeros((3, 3), bool), np.zeros((3, 3), bool)) == 0


def test_dice_by_hand() -> None:
    a, b = drawn(MAP) > 0.6, drawn(MAP) > 0.8
    assert (a.sum(), b.sum()) == (5, 3)
    assert dice(a, b) == 2 * 3 / 8
    assert dice(a, a) == 1
    assert dice(a, ~a) == 0


def test_a_mean_mask_of_one_mask_is_that_mask() -> None:
    mask = drawn(MAP) > 0.4
    assert mean_mask(mask[None]).reaches(mask) == (1, 1, 1, 1)


def test_a_mean_mask_is_cut_where_it_is_best_on_what_it_was_made_of() -> None:
    """No cut of the same mean does better, and it does not do better on other masks by having seen them."""
    rng, masks = np.random.default_rng(0), np.zeros((30, 20, 20), bool)
    for m in masks:
        top, left = rng.integers(0, 8, 2)
        m[top : top + rng.integers(4, 12), left : left + rng.integers(4, 12)] = True
    found = np.mean([mean_mask(masks).reaches(m) for m in masks], axis=0)
    mean = masks.mean(axis=0)
    for level in LEVELS * mean.max():
        region = mean >= level
        overlaps = np.array([iou(extent(region), extent(m)) for m in masks])
        assert found[0] >= overlaps.mean() - 1e-12
        assert found[1] >= (overlaps >= 0.5).mean() - 1e-12
        assert found[2] >= np.mean([dice(region, m) for m in masks]) - 1e-12
    assert found[3] == pytest.approx(mean.max())


@pytest.mark.parametrize("seed", range(4))
def test_next_to_no_answer_without_looking_is_better_than_the_mean_mask(seed: int) -> None:
    """Brute force: every box, every pixel, and every mask that one more or one fewer pixel makes better. Boxes that overlap by half are the
    exception: another box may have up to a sixth more of them, so skill in `recall_50` is flattered."""
    rng, masks = np.random.default_rng(seed), np.zeros((30, 12, 12), bool)
    for m in masks:
        top, left = rng.integers(0, 5, 2)
        m[top : top + rng.integers(3, 7), left : left + rng.integers(3, 7)] = True
    found = np.mean([mean_mask(masks).reaches(m) for m in masks], axis=0)
    pairs = list(itertools.combinations(range(13), 2))
    overlaps = np.array([[iou((top, left, bottom, right), extent(m)) for m in masks] for top, bottom in pairs for left, right in pairs])
    assert overlaps.mean(axis=1).max() - 0.005 < found[0] <= overlaps.mean(axis=1).max() + 1e-12
    assert (overlaps >= 0.5).mean(axis=1).max() - 0.17 < found[1] <= (overlaps >= 0.5).mean(axis=1).max()
    assert found[3] == pytest.approx(masks.mean(axis=0).max())
    flat, best = masks.reshape(30, -1).astype(float), mean_mask(masks).dice.ravel()

    def reached(x: npt.NDArray[np.bool_]) -> float:
        return float(np.mean(2 * (flat @ x) / (flat.sum(axis=1) + x.sum())))

    while reached(better := max((best ^ (np.arange(144) == i) for i in range(144)), key=reached)) > reached(best) + 1e-12:
        best = better
    assert reached(best) - 0.005 < found[2] <= reached(best) + 1e-12
