"""The learning rate as a function of the step."""

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
