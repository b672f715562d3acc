"""Soft-target contrastive loss with every true caption as a positive.

    L_i2t = -1/B sum_i 1/|P(i)| sum_{k in P(i)} log( exp(s u_i v_k) / sum_j exp(s u_i v_j) )       (UniCL, Yang et al. 2022, eq. 3)

and the same from text to image; L is their mean. In UniCL, P(i) are the texts of the same label. Here the levels of a curriculum
meet in one batch ("CT", "CT of the abdomen"), so truth has a direction: text k is a positive of image i if i has every label
value that k states. A caption that states no labels, the corpus's own, is a positive of its own image and of images with an
equal caption.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from open_clip.loss import gather_features
from torch import Tensor
from torch.nn import functional as nnf

from radisim_cl.losses._base import Batch, Features, Loss, Term
from radisim_cl.specs.losses import MultiPositiveLossSpec


def build(spec: MultiPositiveLossSpec, rank: int, world: int) -> Loss:
    """The loss of this rank's rows against the global batch."""

    def loss(f: Features, batch: Batch) -> Term:
        claims = batch.claims if spec.positives == "claims" else torch.zeros_like(batch.claims)
        images, texts, facts, claimed, captions = f.image, f.text, batch.facts, claims, batch.captions
        own = torch.arange(len(images), device=images.device) + rank * len(images)
        if world > 1:
            images, texts = gather_features(images, texts, gather_with_grad=True, rank=rank, world_size=world)
            facts, claimed, captions = (_gather(x, world) for x in (facts, claimed, captions))
        true = positives(facts, claimed, captions)
        image_to_text = _soft_cross_entropy(f.logit_scale * f.image @ texts.T, true[own])
        text_to_image = _soft_cross_entropy(f.logit_scale * f.text @ images.T, true.T[own])
        return Term((image_to_text + text_to_image) / 2, len(f.image))

    return loss


def positives(facts: Tensor, claims: Tensor, captions: Tensor) -> Tensor:
    """(B, B) bool: entry [i, k] says that text k is true of image i, as far as the labels tell.

    Args:
        facts: (B, C) codes of label values, 0 where unknown.
        claims: (B, C) bool, the columns that each text states.
        captions: (B,) codes of the texts.
    """
    agrees = (facts[:, None, :] == facts[None, :, :]) & (facts[None, :, :] != 0)
    stated = (agrees | ~claims[None, :, :]).all(-1) & claims.any(-1)[None, :]
    same = captions[:, None] == captions[None, :]
    return stated | same | torch.eye(len(facts), dtype=torch.bool, device=facts.device)


def _soft_cross_entropy(logits: Tensor, true: Tensor) -> Tensor:
    targets = true.to(logits.dtype)
    return nnf.cross_entropy(logits, targets / targets.sum(-1, keepdim=True))


def _gather(x: Tensor, world: int) -> Tensor:
    out = [torch.empty_like(x) for _ in range(world)]
    dist.all_gather(out, x.contiguous())
    return torch.cat(out)
