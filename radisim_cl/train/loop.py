"""The training loop: read, embed, lose, step. Everything else that happens in a run is in `runs/runner.py`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from radisim_cl.data.loader import Loader
from radisim_cl.errors import RadisimError
from radisim_cl.losses._base import Loss
from radisim_cl.registry import plugin
from radisim_cl.specs.curriculum import TrainSpec
from radisim_cl.specs.losses import LossSpec
from radisim_cl.specs.plan import LossPlan
from radisim_cl.train.engine import Engine
from radisim_cl.train.schedule import learning_rate

MAX_SKIPPED = 10
"""Consecutive steps without a finite loss after which training stops."""


@dataclass(frozen=True)
class Step:
    """One step of a stage.

    Attributes:
        batch: steps done in the stage after it.
        losses: by kind, unweighted, mean over ranks; and `total`.
        lr: learning rate used.
        logit_scale: inverse temperature.
        updated: False when the loss was not finite and nothing was changed.
        drawn: pairs of this rank's part of the batch, by `source/modality`.
    """

    batch: int
    losses: dict[str, float]
    lr: float
    logit_scale: float
    updated: bool
    drawn: dict[str, int]


def build_losses(specs: Sequence[LossSpec], plans: Sequence[LossPlan], engine: Engine) -> list[tuple[str, float, Loss]]:
    """The losses that contribute, as (kind, weight, loss)."""
    return [
        (s.kind, s.weight, plugin("radisim_cl.losses", s.kind).build(s, engine.rank, engine.world))
        for s, p in zip(specs, plans, strict=True) if p.contributes
    ]


def train_stage(engine: Engine, loader: Loader, losses: Sequence[tuple[str, float, Loss]], spec: TrainSpec, planned: int,
                start: int, stop: int) -> Iterator[Step]:
    """Trains steps start..stop-1 of a stage, yielding after each.

    Args:
        engine: the model.
        loader: this rank's batches.
        losses: from `build_losses`.
        spec: learning rate and warm-up.
        planned: steps of the stage without extensions; the schedule's length.
        start: steps already done.
        stop: steps at the next look.

    Raises:
        RadisimError: too many steps in a row without a finite loss.
    """
    skipped = 0
    for n, batch in enumerate(loader.batches(start, stop), start):
        batch = batch.to(engine.device)
        features = engine.features(batch.images, batch.tokens)
        parts = {kind: (weight, loss(features, batch)) for kind, weight, loss in losses}
        total = torch.stack([(weight * value).reshape(()) for weight, value in parts.values()]).sum()
        lr = learning_rate(spec, n, planned)
        updated = engine.step(total, lr)
        skipped = 0 if updated else skipped + 1
        if skipped > MAX_SKIPPED:
            raise RadisimError(f"the loss was not finite in {skipped} steps in a row, up to step {n + 1}; lower the learning rate")
        yield Step(
            batch=n + 1,
            losses={k: engine.mean(v) for k, (_, v) in parts.items()} | {"total": engine.mean(total)},
            lr=lr,
            logit_scale=float(features.logit_scale.detach()),
            updated=updated,
            drawn=batch.drawn(),
        )
