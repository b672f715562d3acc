"""What a protocol is shown of a subtask's images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

F = npt.NDArray[np.float32]
Embed = Callable[[list[str]], F]
"""Texts to (n, D) unit vectors."""


@dataclass(frozen=True)
class Needs:
    """What a protocol must be shown.

    Attributes:
        places: masks, and what the patches are like.
        tune: the tune split beside the one that is scored, to choose thresholds on.
    """

    places: bool = False
    tune: bool = False


@dataclass(frozen=True)
class Seen:
    """A subtask's images as a model sees them.

    Attributes:
        frame: rows of `items`, n in number.
        scored: which split's items are to be answered; rows of any other split are those that `Needs.tune` asks for.
        images: (n, D) unit vectors.
        queries: (K, D) unit vectors of what they are compared with.
        patches: (n, gh, gw, K) cosine of each patch with each query; empty unless places are needed.
        masks: (n, S, S) 1 + index of the structure, 0 elsewhere, at the model's input size; empty unless places are needed.
    """

    frame: pd.DataFrame
    scored: str
    images: F
    queries: F
    patches: F
    masks: npt.NDArray[np.uint8]

    @cached_property
    def cosines(self) -> F:
        """(n, K) cosine of each image with each query."""
        cosines: F = self.images @ self.queries.T
        return cosines
