"""A yes or no for every image and text of the global batch.

    L = -1/B sum_i sum_k log sigmoid(z_ik (s u_i v_k + b))        (SigLIP, Zhai et al. 2023, eq. 1; the sign of b as in algorithm 1)

s is the logit scale, b a bias that is learned with the model. In SigLIP, z_ik is 1 where k = i and -1 elsewhere, so that a second text
that is true of an image would be pushed away from it; here z_ik is 1 for every text k that is true of image i (`_positives.py`).
Every rank takes the rows of its own images against the gathered texts of all: b x B logits, in one direction only.
"""

from __future__ import annotations

import torch
import torch.distributed.nn
from torch import Tensor
from torch.nn import functional as nnf

from radisim_cl.errors import InputError
from radisim_cl.losses._base import Batch, Features, Loss, Term, gather
from radisim_cl.losses._positives import positives
from radisim_cl.specs.losses import SiglipLossSpec


def build(spec: SiglipLossSpec, rank: int, world: int) -> Loss:
    """The loss of this rank's images against the global batch's texts.

    Raises (the loss):
        InputError: the model has no bias.
    """

    def loss(f: Features, batch: Batch) -> Term:
        if not f.logit_bias.numel():
            raise InputError("loss 'siglip' needs a model with a logit_bias, and this one has none; set logit_bias beside its arch (SigLIP: -10)")
        size = len(f.image)
        claims = batch.claims if spec.positives == "claims" else torch.zeros_like(batch.claims)
        own = slice(rank * size, (rank + 1) * size)
        true = positives(gather(batch.facts, world), gather(claims, world), gather(batch.captions, world), own)
        logits = f.logit_scale * f.image @ _all(f.text, world).T + f.logit_bias
        return Term(-nnf.logsigmoid(torch.where(true, logits, -logits)).sum() / size, size)

    return loss


def _all(text: Tensor, world: int) -> Tensor:
    """(B, D) texts of all ranks, with their gradients."""
    return torch.cat(torch.distributed.nn.all_gather(text)) if world > 1 else text  # type: ignore[no-untyped-call]
