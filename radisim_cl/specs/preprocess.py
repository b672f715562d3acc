"""How an image becomes a model's input."""

from __future__ import annotations

from typing import Literal

from radisim_cl.specs.base import Spec


class PreprocessSpec(Spec):
    """open_clip's preprocessing, as data: an exported model states the same."""

    size: int
    """Pixels of the square input."""
    mean: tuple[float, float, float]
    """Subtracted by channel, of values in 0..1."""
    std: tuple[float, float, float]
    """Divided by, by channel."""
    resize: Literal["shortest", "longest", "squash"]
    """Shorter side to `size` and centre crop; longer side to `size` and black padding; both sides to `size`."""
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    """With antialiasing."""
