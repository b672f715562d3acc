"""What a stage can ask of a loss. `radisim_cl/losses/<kind>.py` builds it; this file never imports torch."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from radisim_cl.specs.base import Spec


class _Loss(Spec):
    needs: ClassVar[frozenset[str]] = frozenset()
    """Manifest columns that a pair must have for this loss to use it."""

    weight: float = Field(1.0, gt=0)
    """Factor of this loss in the stage's sum."""
    required: bool = True
    """Refuse the plan when no source offers what the loss needs; false: it contributes nothing, and the plan says so."""


class ClipLossSpec(_Loss):
    """InfoNCE in both directions over the global batch (Radford et al. 2021, figure 3)."""

    kind: Literal["clip"] = "clip"
    """Which loss: the name of a file in `losses/`."""


class MultiPositiveLossSpec(_Loss):
    """Soft-target contrastive loss: every caption that is true of an image is a positive (UniCL, Yang et al. 2022, eq. 2-4)."""

    kind: Literal["multi_positive"] = "multi_positive"
    """Which loss: the name of a file in `losses/`."""
    positives: Literal["claims", "captions"] = "claims"
    """`claims`: an image is a positive of every caption whose label columns it shares; `captions`: of equal captions only."""


LossSpec = Annotated[ClipLossSpec | MultiPositiveLossSpec, Field(discriminator="kind")]
