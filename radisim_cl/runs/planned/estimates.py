"""How much memory and time a run is likely to need on this machine (docs/design/estimates.md)."""

from __future__ import annotations

import time

import numpy as np

from radisim_cl.models import arch
from radisim_cl.specs.curriculum import CurriculumSpec
from radisim_cl.specs.plan import Estimates

_REACHED = 0.4
"""Training's multiply-adds a second, as a share of a matrix product's."""


def estimates(spec: CurriculumSpec, batches: int, scored: int) -> Estimates:
    """Backward passes cost two forward ones.

    A copy of the weights that a stage was entered with counts where a loss compares with it; its forward pass, a third of a step, does not.
    """
    scale = spec.scale
    size = arch.size(scale.model.arch)
    samples = batches * scale.global_batch
    macs = samples * 3 * (size.image + size.text) + scored * size.image
    activations = (scale.micro_batch or scale.global_batch) * size.activations
    held = 4 * any(loss.entry for stage in spec.stages for loss in stage.losses)
    return Estimates(parameters=size.parameters, memory_gib=round((size.parameters * (16 + held) + activations) / 2**30, 2),
                     hours=round(macs / _macs_per_second() / 3600, 3) if size.parameters else 0.0)


def _macs_per_second() -> float:
    """Multiply-adds a second that training reaches here: a share of the fastest of some matrix products (docs/design/estimates.md)."""
    a = np.ones((768, 768), dtype=np.float32)

    def seconds() -> float:
        started = time.perf_counter()
        a @ a
        return time.perf_counter() - started

    return _REACHED * 768**3 / min(seconds() for _ in range(20))
