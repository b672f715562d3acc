"""A factor of the loss that keeps fp16's gradients in its range (Micikevicius et al. 2018, arXiv:1710.03740, section 3.2).

fp16 has no gradients below 6e-8 and none above 65504. The loss is multiplied before the backward pass, and every parameter's gradient, which is
fp32, is divided as it arrives, so that nothing behind it knows: neither ZeRO's partitions nor clipping. The factor is a power of 2, which costs no
rounding.
"""

from __future__ import annotations

from typing import Any

from torch import nn

START, GROWS_AFTER = 2.0**16, 2000
"""The first factor; good steps after which it is doubled: torch.amp.GradScaler's."""


class LossScale:
    """The factor. Gradients arrive without it."""

    def __init__(self, module: nn.Module) -> None:
        self.factor, self._good = START, 0
        for p in module.parameters():
            if p.requires_grad:
                p.register_hook(lambda gradient: gradient / self.factor)  # type: ignore[no-untyped-call]

    def update(self, finite: bool) -> None:
        """Halves the factor after a step whose gradients were not finite on some rank; doubles it after a row of good ones."""
        self._good = self._good + 1 if finite else 0
        if not finite:
            self.factor /= 2
        elif self._good == GROWS_AFTER:
            self.factor, self._good = self.factor * 2, 0

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"factor": self.factor, "good": self._good}

    def restore(self, state: dict[str, Any]) -> None:
        """What `state` gave."""
        self.factor, self._good = state["factor"], state["good"]
