"""The learning rate, and the weights of losses, as functions of the step."""

from __future__ import annotations

import math

from radisim_cl.specs.curriculum import TrainSpec


def learning_rate(spec: TrainSpec, batch: int, planned: int) -> float:
    """Linear warm-up from 0, cosine to `final_lr * lr` at the planned end, then constant: that is what extensions get.

    Args:
        spec: peak, warm-up share, final share.
        batch: steps done in the stage, from 0.
        planned: steps of the stage without extensions.
    """
    warmup = round(spec.warmup * planned)
    if batch < warmup:
        return spec.lr * (batch + 1) / warmup
    done = min(1.0, (batch - warmup) / max(1, planned - warmup))
    return spec.lr * (spec.final_lr + (1 - spec.final_lr) * (1 + math.cos(math.pi * done)) / 2)


def rising(share: float, batch: int, planned: int) -> float:
    """Linear warm-up of a weight from 0, as a factor: 1 in the last step of a share of the stage, and from then on.

    Args:
        share: of the planned steps; 0 gives 1.
        batch: steps done in the stage, from 0; the first factor is not 0, which would waste a step.
        planned: steps of the stage without extensions.
    """
    warmup = round(share * planned)
    return (batch + 1) / warmup if batch < warmup else 1.0
