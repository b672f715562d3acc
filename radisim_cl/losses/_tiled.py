"""InfoNCE of similarities whose logits are never held all at once.

    L = 1/2b sum_i ( log sum_j exp(S_ij) - S_ii )  +  1/2b sum_j ( log sum_i exp(S_ij) - S_jj ),    S = s I T^T

The two directions are the rows and the columns of one matrix. It is made in tiles, once forward and again backward: four products of features where
the dense loss, which makes S and its transpose, takes six. Forward, every tile adds to the logarithms of all sums (online softmax: Milakov &
Gimelshein 2018, algorithm 3); backward makes the probabilities from them (as FlashAttention does: Dao et al. 2022, algorithm 4 and appendix B).
Nothing is approximated.

Of several ranks, each has the rows of its own images: sums over columns are put together, and so are the gradients of texts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

from radisim_cl.losses._base import gather


def info_nce(images: Tensor, texts: Tensor, scale: Tensor, rank: int, world: int, tile: int) -> Tensor:
    """A scalar: the equation above over this rank's pairs, whose mean over ranks is that over all pairs. Called by all ranks.

    Its gradient by this rank's features is that of the sum over ranks, as it is with gathered features.

    Args:
        images: (b, D).
        texts: (b, D), in the same order.
        scale: () or (1,), the factor s.
        rank: of this process.
        world: number of ranks; each has b pairs.
        tile: most rows and most columns of logits that are held.
    """
    value: Tensor = _InfoNCE.apply(images, texts, scale, rank, world, tile)
    return value


class _InfoNCE(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, texts: Tensor, scale: Tensor, rank: int, world: int, tile: int) -> Tensor:
        everyones, own = gather(texts, world), slice(rank * len(images), (rank + 1) * len(images))
        by_row, by_column = (images.new_full((len(x),), -torch.inf) for x in (images, everyones))
        true, held = torch.empty_like(by_row), _held(images, everyones, tile)
        for rows in _tiles(len(images), tile):
            scaled = scale * images[rows]
            true[rows] = torch.linalg.vecdot(scaled, texts[rows])
            for columns in _tiles(len(everyones), tile):
                logits, spare = _logits(held, scaled, everyones[columns])
                for sums, dim in ((by_row[rows], 1), (by_column[columns], 0)):
                    most = logits.amax(dim, keepdim=True)
                    summed = torch.sub(logits, most, out=spare).exp_().sum(dim)
                    torch.logaddexp(sums, summed.log_().add_(most.squeeze(dim)), out=sums)
        by_column = gather(by_column[None], world).logsumexp(0)
        ctx.save_for_backward(images, everyones, scale, by_row, by_column)
        ctx.own, ctx.world, ctx.tile = own, world, tile
        return ((by_row + by_column[own]) / 2 - true).mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        images, texts, scale, by_row, by_column = ctx.saved_tensors
        by_images, by_texts, by_scale = torch.zeros_like(images), torch.zeros_like(texts), torch.zeros_like(scale)
        by_texts[ctx.own].sub_(images, alpha=2)
        held = _held(images, texts, ctx.tile)
        for rows in _tiles(len(images), ctx.tile):
            scaled, own = scale * images[rows], texts[ctx.own][rows]
            for columns in _tiles(len(texts), ctx.tile):
                logits, spare = _logits(held, scaled, texts[columns])
                probabilities = torch.sub(logits, by_row[rows, None], out=spare).exp_().add_(logits.sub_(by_column[columns]).exp_())
                by_images[rows].addmm_(probabilities, texts[columns])
                by_texts[columns].addmm_(probabilities.T, images[rows])
            by_images[rows].sub_(own, alpha=2)
            by_scale += (images[rows] * by_images[rows]).sum()
        if ctx.world > 1:
            dist.all_reduce(by_texts)
        share = gradient / (2 * len(images))
        return by_images.mul_(share * scale), by_texts[ctx.own].mul_(share * scale), by_scale.mul_(share), None, None, None


def _held(images: Tensor, texts: Tensor, tile: int) -> Tensor:
    """Room for two tiles, taken once: memory of this size goes back to the system each time that it is freed."""
    return images.new_empty(2, min(tile, len(images)), min(tile, len(texts)))


def _logits(held: Tensor, scaled: Tensor, texts: Tensor) -> tuple[Tensor, Tensor]:
    """A tile of logits, and room for another."""
    logits, spare = held[:, : len(scaled), : len(texts)].unbind()
    return torch.mm(scaled, texts.T, out=logits), spare


def _tiles(size: int, tile: int) -> Iterator[slice]:
    return (slice(at, min(at + tile, size)) for at in range(0, size, tile))
