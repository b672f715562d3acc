"""The learning rate against its closed form."""

from __future__ import annotations

import math

import pytest

from radisim_cl.specs.curriculum import TrainSpec
from radisim_cl.train.schedule import learning_rate

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
