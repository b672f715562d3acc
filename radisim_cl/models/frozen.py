"""Which parameters a stage leaves as they are."""

from __future__ import annotations

from torch import nn

from radisim_cl.errors import InputError
from radisim_cl.specs.curriculum import TrainSpec

SCALE = frozenset({"logit_scale", "logit_bias"})
"""Parameters of neither tower."""


def frozen(clip: nn.Module, spec: TrainSpec) -> frozenset[str]:
    """Names of an open_clip model's parameters that are not trained; the model stays as it is.

    Raises:
        InputError: a tower that open_clip cannot freeze in part.
    """
    out = set[str]()
    for part in spec.freeze:
        names = {n for n, _ in clip.named_parameters() if _part(n) == part}
        out |= names - _unlocked(clip, part, spec.unlocked[part]) if part in spec.unlocked else names
    return frozenset(out)


def _part(name: str) -> str:
    return "logit_scale" if name in SCALE else "image" if name.startswith("visual.") else "text"


def _unlocked(clip: nn.Module, tower: str, groups: int) -> set[str]:
    """What open_clip leaves trainable when it locks a tower but for its last groups."""
    before = {n: p.requires_grad for n, p in clip.named_parameters()}
    try:
        getattr(clip, f"lock_{tower}_tower")(groups)
        return {n for n, p in clip.named_parameters() if p.requires_grad}
    except (AssertionError, RuntimeError, ImportError) as e:
        what = type(clip.visual if tower == "image" else getattr(clip, "text", clip)).__name__
        raise InputError(f"open_clip cannot freeze this {tower} tower ({what}) in part: {e}; take {tower!r} out of `unlocked`") from None
    finally:
        for n, p in clip.named_parameters():
            p.requires_grad_(before[n])
