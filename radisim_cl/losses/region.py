"""Regions of a mask, and patches, against the names of the structures.

For image i with a mask, a_ipk is the share of patch p that structure k covers, v_ip the patch embedding, t_k the embedding of the
name of k (V names: `background`, `body` and every structure of the stage's sources), s the logit scale:

    region_ik = CE(s <z_ik, t>, k),  z_ik = sum_p a_ipk v_ip, normalized        for each structure k that the image has
    patch_ip  = - sum_k a_ipk log softmax(s <v_ip, t>)_k
    L = (1 - w) mean_ik region_ik  +  w sum_ip patch_ip / sum_ipk a_ipk          w = patch_weight

Mask-pooled embeddings against class names as in OpenSeg (Ghiasi et al. 2022, section 3.2); the patch term is the cross-entropy of a
segmentation at the resolution of the patches, the mean over all pixels whose structure is known. `background` and `body` are
answers in both terms, and regions of their own in none. Means are over the global batch: regions and areas are counted over all ranks.
"""

from __future__ import annotations

import torch
from torch.nn import functional as nnf

from radisim_cl.losses._base import Batch, Features, Loss, Term, over_ranks
from radisim_cl.losses._prompts import classes
from radisim_cl.specs.losses import BACKGROUND, BODY, RegionLossSpec

_WHOLE = len((BACKGROUND, BODY))
"""Words of the vocabulary that are no region."""


def build(spec: RegionLossSpec, rank: int, world: int) -> Loss:
    """The loss of this rank's masks, as a share of all."""

    def loss(f: Features, batch: Batch) -> Term:
        names = classes(f, spec.prompts(batch.vocabulary))
        masked = batch.regions.sum((1, 2)) > 0
        areas, patches = batch.regions[masked].to(f.patches.dtype), f.patches[masked]
        by_patch = -(areas * (f.logit_scale * patches @ names.T).log_softmax(-1)).sum()
        parts = areas[..., _WHOLE:].transpose(1, 2)
        present = parts.sum(-1) > 0
        pooled = nnf.normalize((parts @ patches)[present], dim=-1)
        by_region = nnf.cross_entropy(f.logit_scale * pooled @ names.T, present.nonzero()[:, 1] + _WHOLE, reduction="sum")
        # Without a mask in the whole batch both sums are 0, and so is the loss.
        regions, area = over_ranks(torch.stack([present.sum(), areas.sum()]).double(), world).clamp(min=1e-9).to(areas.dtype)
        value = world * ((1 - spec.patch_weight) * by_region / regions + spec.patch_weight * by_patch / area)
        return Term(value.reshape(()), int(masked.sum()))

    return loss
