"""InfoNCE over the global batch.

    L = (CE(s I T^t, 1..B) + CE(s T I^t, 1..B)) / 2        (Radford et al. 2021, figure 3)

Every rank takes the rows of its own pairs against the gathered features of all; the mean over ranks is the loss of the
whole batch, and gradients flow through the gather. A batch larger than a tile is taken in tiles (`_tiled.py`).
"""

from __future__ import annotations

import open_clip

from radisim_cl.losses._base import Batch, Features, Loss, Term
from radisim_cl.losses._tiled import info_nce
from radisim_cl.specs.losses import ClipLossSpec


def build(spec: ClipLossSpec, rank: int, world: int) -> Loss:
    """open_clip's ClipLoss with global negatives and exact gradients; for large batches the same in tiles."""
    clip = open_clip.ClipLoss(local_loss=True, gather_with_grad=True, rank=rank, world_size=world)

    def loss(f: Features, batch: Batch) -> Term:
        size = len(f.image)
        if world * size <= spec.tile:
            return Term(clip(f.image, f.text, f.logit_scale), size)
        return Term(info_nce(f.image, f.text, f.logit_scale, rank, world, spec.tile), size)

    return loss
