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
    """Backward passes cost two forward ones; activations are taken as 40 bytes a token, layer and channel.

    A copy of the weights that a stage was entered with counts where a loss compares with it; its forward pass, a third of a step, does not.
    """
    scale = spec.scale
    parameters, image, text = arch.size(scale.model.arch)
    samples = batches * scale.global_batch
    macs = samples * 3 * (image + text) + scored * image
    config = arch.config(scale.model.arch) if parameters else None
    activations = 0.0
    if config:
        v, t = config["vision_cfg"], config["text_cfg"]
        tokens = (v["image_size"] // v["patch_size"]) ** 2 + 1 if isinstance(v["image_size"], int) else 0
        at_once = scale.micro_batch or scale.global_batch
        activations = at_once * 40.0 * (tokens * v["layers"] * v["width"] + t["context_length"] * t["layers"] * t["width"])
    held = 4 * any(loss.entry for stage in spec.stages for loss in stage.losses)
    return Estimates(parameters=parameters, memory_gib=round((parameters * (16 + held) + activations) / 2**30, 2),
                     hours=round(macs / _macs_per_second() / 3600, 3) if parameters else 0.0)


def _macs_per_second() -> float:
    """Multiply-adds a second that training reaches here: a share of the fastest of some matrix products (docs/design/estimates.md)."""
    a = np.ones((768, 768), dtype=np.float32)

    def seconds() -> float:
        started = time.perf_counter()
        a @ a
        return time.perf_counter() - started

    return _REACHED * 768**3 / min(seconds() for _ in range(20))
