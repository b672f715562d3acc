"""What a loss is. `losses` knows neither how features are made nor how batches are read: only what they offer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import torch
import torch.distributed as dist
from torch import Tensor


class Embedded(Protocol):
    """The pairs of one rank's part of a batch, embedded by a model."""

    @property
    def image(self) -> Tensor:
        """(b, D) unit vectors."""
    @property
    def text(self) -> Tensor:
        """(b, D) unit vectors."""
    @property
    def logit_scale(self) -> Tensor:
        """The temperature's inverse."""


class Features(Embedded, Protocol):
    """One rank's part of a batch, embedded by the model in training."""

    @property
    def logit_bias(self) -> Tensor:
        """(1,) what is added to every logit of `siglip`; (0,) of models without one."""
    @property
    def patches(self) -> Tensor:
        """(b, gh gw, D) unit vectors; of stages in which a loss asks for them."""
    @property
    def entry(self) -> Embedded | None:
        """What the model that entered the stage says of the same pairs, without a gradient; of stages in which a loss asks for it."""

    def prompts(self, texts: Sequence[str]) -> Tensor:
        """(n, D) unit vectors of texts that a loss of the stage has asked for."""


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
    @property
    def labels(self) -> Sequence[str]:
        """(b,) values of the `label` column; "" where there is none."""
    @property
    def regions(self) -> Tensor:
        """(b, gh gw, V) the share of each patch that each word of the vocabulary covers; zeros where there is no mask."""
    @property
    def vocabulary(self) -> Sequence[str]:
        """The V words; `background` and `body` first."""


class Term(NamedTuple):
    """What a loss says of one rank's part of a batch."""

    value: Tensor
    """A scalar whose mean over ranks is the loss of the global batch."""
    pairs: int
    """Pairs of this rank that took part."""


Loss = Callable[[Features, Batch], Term]
"""Features and batch of one rank to its term."""


def over_ranks(x: Tensor, world: int) -> Tensor:
    """The sum over all ranks, without a gradient; called by all of them."""
    out = x.detach().clone()
    if world > 1:
        dist.all_reduce(out)
    return out


def gather(x: Tensor, world: int) -> Tensor:
    """(B, ...) of every rank's (b, ...), without a gradient; called by all of them."""
    if world == 1:
        return x.detach()
    out = [torch.empty_like(x) for _ in range(world)]
    dist.all_gather(out, x.detach().contiguous())
    return torch.cat(out)
