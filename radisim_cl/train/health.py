"""What is wrong with a step, and what a spike of the loss is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

Ailment = Literal["loss not finite", "gradient not finite", "loss spike"]
HISTORY = 50
"""Losses that a spike is told by; before there are as many, none is seen."""


def spikes(loss: float, before: Sequence[float], deviations: float) -> bool:
    """Whether a loss stands out of those before it.

    Args:
        loss: of this step.
        before: of the steps before it, in order.
        deviations: how many robust standard deviations (1.4826 median absolute deviations) above the median it has to lie; 0: nothing is a spike.
    """
    if not deviations or len(before) < HISTORY:
        return False
    last = np.asarray(before[-HISTORY:])
    centre = float(np.median(last))
    return loss > centre + deviations * 1.4826 * float(np.median(np.abs(last - centre)))
