"""The loop: which weight a loss has at which step, wherever training starts."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from radisim_cl.data.loader import Loader
from radisim_cl.losses._base import Term
from radisim_cl.models.build import NOTHING
from radisim_cl.specs.curriculum import HealthSpec, TrainSpec
from radisim_cl.specs.losses import ClipLossSpec, LossSpec, MultiPositiveLossSpec
from radisim_cl.train.engine import Engine
from radisim_cl.train.loop import Weighted, train_stage


class Counting:
    """An engine and a loader of nothing, on one rank."""

    device = torch.device("cpu")

    def batches(self, start: int, stop: int) -> Iterator[Any]:
        """As many as asked for."""
        batch = SimpleNamespace(images=None, tokens=None, drawn=dict, lost=())
        batch.to = lambda device: batch
        yield from [batch] * (stop - start)

    def features(self, *_: object) -> SimpleNamespace:
        """A scale."""
        return SimpleNamespace(logit_scale=torch.tensor(1.0))

    def step(self, loss: torch.Tensor, lr: float) -> None:
        """Done."""

    def mean(self, value: torch.Tensor) -> float:
        """Of one rank."""
        return float(value)


def totals(specs: list[LossSpec], start: int, stop: int) -> list[float]:
    """The stage's sum at each step, of losses that are 1."""
    here, losses = Counting(), [Weighted(s.kind, s, lambda f, b: Term(torch.tensor(1.0), 1)) for s in specs]
    steps = train_stage(cast(Engine, here), cast(Loader, here), losses, NOTHING, TrainSpec(share=1, lr=1e-3), 10, start, stop, HealthSpec(), [])
    return [s.losses["total"] for s in steps]


def test_a_weight_rises_from_nothing_over_its_share_of_the_planned_steps() -> None:
    specs: list[LossSpec] = [ClipLossSpec(weight=2), MultiPositiveLossSpec(weight=10, warmup=0.5)]
    assert totals(specs, 0, 13) == pytest.approx([2 + w for w in (2, 4, 6, 8, *[10] * 9)])


def test_a_resumed_stage_has_the_weights_of_a_whole_one() -> None:
    specs: list[LossSpec] = [ClipLossSpec(weight=0.3, warmup=1), MultiPositiveLossSpec(warmup=0.7)]
    assert totals(specs, 0, 12) == totals(specs, 0, 3) + totals(specs, 3, 12)
