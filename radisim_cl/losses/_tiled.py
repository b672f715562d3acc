"""Cross-entropy of similarities whose logits are never held all at once.

    L = 1/b sum_i ( log sum_j exp(s q_i k_j)  -  s q_i k_{o+i} )

Logits are made in tiles, once forward and again backward. Forward, each row keeps the maximum and the sum of what it has seen (online
softmax: Milakov & Gimelshein 2018, algorithm 3); backward makes the probabilities from them (as FlashAttention does: Dao et al. 2022,
algorithm 4 and appendix B). Nothing is approximated.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def cross_entropy(queries: Tensor, keys: Tensor, scale: Tensor, first: int, tile: int) -> Tensor:
    """The equation above, a scalar.

    Args:
        queries: (b, D).
        keys: (B, D); the target of query i is key first + i.
        scale: () or (1,), the factor s.
        first: the offset o.
        tile: most rows and most columns of logits that are held.
    """
    value: Tensor = _CrossEntropy.apply(queries, keys, scale, first, tile)
    return value


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, queries: Tensor, keys: Tensor, scale: Tensor, first: int, tile: int) -> Tensor:
        normalizers = torch.cat([_normalizers(scale * queries[rows], keys, tile) for rows in _tiles(len(queries), tile)])
        ctx.save_for_backward(queries, keys, scale, normalizers)
        ctx.first, ctx.tile = first, tile
        return (normalizers - scale * (queries * keys[first : first + len(queries)]).sum(-1)).mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        queries, keys, scale, normalizers = ctx.saved_tensors
        own = slice(ctx.first, ctx.first + len(queries))
        # What the keys weigh in a query's gradient: its probabilities, less 1 at its target.
        weighed, by_keys = -keys[own], torch.zeros_like(keys)
        by_keys[own] -= queries
        for rows in _tiles(len(queries), ctx.tile):
            scaled = scale * queries[rows]
            for columns in _tiles(len(keys), ctx.tile):
                probabilities = (scaled @ keys[columns].T).sub_(normalizers[rows, None]).exp_()
                weighed[rows] += probabilities @ keys[columns]
                by_keys[columns] += probabilities.T @ queries[rows]
        share = gradient / len(queries)
        by_scale = (share * (queries * weighed).sum()).reshape(scale.shape)
        return share * scale * weighed, share * scale * by_keys, by_scale, None, None


def _normalizers(scaled: Tensor, keys: Tensor, tile: int) -> Tensor:
    """(t,) log sum_j exp(scaled_i k_j) of (t, D) queries."""
    most, total = scaled.new_full((len(scaled),), -torch.inf), scaled.new_zeros(len(scaled))
    for columns in _tiles(len(keys), tile):
        logits = scaled @ keys[columns].T
        higher = torch.maximum(most, logits.amax(-1))
        total = total * (most - higher).exp() + logits.sub_(higher[:, None]).exp_().sum(-1)
        most = higher
    return most + total.log()


def _tiles(size: int, tile: int) -> Iterator[slice]:
    return (slice(at, at + tile) for at in range(0, size, tile))
