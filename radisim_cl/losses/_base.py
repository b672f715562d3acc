"""What a loss is. `losses` knows neither how features are made nor how batches are read: only what they offer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor


class Features(Protocol):
    """One rank's part of a batch, embedded."""

    @property
    def image(self) -> Tensor:
        """(b, D) unit vectors."""
    @property
    def text(self) -> Tensor:
        """(b, D) unit vectors."""
    @property
    def logit_scale(self) -> Tensor:
        """The temperature's inverse."""


class Batch(Protocol):
    """One rank's part of a batch, as read."""

    @property
    def facts(self) -> Tensor:
        """(b, C) int64 codes of the label columns; 0 where there is none."""
    @property
    def claims(self) -> Tensor:
        """(b, C) bool, the columns that the caption states."""
    @property
    def captions(self) -> Tensor:
        """(b,) int64 codes of the texts."""


Loss = Callable[[Features, Batch], Tensor]
"""Features and batch of one rank to a scalar whose mean over ranks is the loss of the global batch."""
