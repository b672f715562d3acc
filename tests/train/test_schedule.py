"""The learning rate and the warm-up of weights against their closed forms."""

from __future__ import annotations

import math

import pytest

from radisim_cl.specs.curriculum import TrainSpec
from radisim_cl.train.schedule import learning_rate, rising

SPEC = TrainSpec(share=1, lr=2e-4, final_lr=0.1, warmup=0.1)


@pytest.mark.parametrize(("batch", "expected"), [
    (0, 2e-5), (4, 1e-4), (9, 2e-4), (10, 2e-4), (55, 2e-4 * (0.1 + 0.9 * 0.5)), (100, 2e-5), (150, 2e-5),
    (32, 2e-4 * (0.1 + 0.9 * (1 + math.cos(math.pi * 22 / 90)) / 2)),
])
def test_warm_up_cosine_and_constant_in_an_extension(batch: int, expected: float) -> None:
    assert learning_rate(SPEC, batch, 100) == pytest.approx(expected)


def test_no_warm_up_starts_at_the_peak() -> None:
    assert learning_rate(SPEC.model_copy(update={"warmup": 0.0}), 0, 100) == SPEC.lr


def test_a_stage_of_one_step() -> None:
    assert 0 < learning_rate(SPEC, 0, 1) <= SPEC.lr


@pytest.mark.parametrize(("share", "batch", "expected"), [(0.0, 0, 1), (0.2, 0, 0.05), (0.2, 9, 0.5), (0.2, 19, 1), (0.2, 20, 1), (0.2, 150, 1),
                                                          (1.0, 49, 0.5), (1.0, 99, 1), (1.0, 120, 1)])
def test_a_weight_rises_over_its_share_and_stays(share: float, batch: int, expected: float) -> None:
    assert rising(share, batch, 100) == pytest.approx(expected)


def test_a_share_of_less_than_a_step_is_none() -> None:
    assert rising(0.1, 0, 4) == 1
