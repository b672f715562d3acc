"""Soft-target contrastive loss with every true caption as a positive.

    L_i2t = -1/B sum_i 1/|P(i)| sum_{k in P(i)} log( exp(s u_i v_k) / sum_j exp(s u_i v_j) )       (UniCL, Yang et al. 2022, eq. 3)

and the same from text to image; L is their mean. In UniCL, P(i) are the texts of the same label. Here truth has a direction
(`_positives.py`).
"""

from __future__ import annotations

import torch
from open_clip.loss import gather_features
from torch import Tensor
from torch.nn import functional as nnf

from radisim_cl.losses._base import Batch, Features, Loss, Term, gather
from radisim_cl.losses._positives import positives
from radisim_cl.specs.losses import MultiPositiveLossSpec


def build(spec: MultiPositiveLossSpec, rank: int, world: int) -> Loss:
    """The loss of this rank's rows against the global batch."""

    def loss(f: Features, batch: Batch) -> Term:
        claims = batch.claims if spec.positives == "claims" else torch.zeros_like(batch.claims)
        images, texts = f.image, f.text
        own = torch.arange(len(images), device=images.device) + rank * len(images)
        if world > 1:
            images, texts = gather_features(images, texts, gather_with_grad=True, rank=rank, world_size=world)
        true = positives(gather(batch.facts, world), gather(claims, world), gather(batch.captions, world))
        image_to_text = _soft_cross_entropy(f.logit_scale * f.image @ texts.T, true[own])
        text_to_image = _soft_cross_entropy(f.logit_scale * f.text @ images.T, true.T[own])
        return Term((image_to_text + text_to_image) / 2, len(f.image))

    return loss


def _soft_cross_entropy(logits: Tensor, true: Tensor) -> Tensor:
    targets = true.to(logits.dtype)
    return nnf.cross_entropy(logits, targets / targets.sum(-1, keepdim=True))
