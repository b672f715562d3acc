"""InfoNCE over the global batch.

    L = (CE(s I T^t, 1..B) + CE(s T I^t, 1..B)) / 2        (Radford et al. 2021, figure 3)

Every rank takes the rows of its own pairs against the gathered features of all; the mean over ranks is the loss of the
whole batch, and gradients flow through the gather. A batch larger than a tile is taken in tiles (`_tiled.py`).
"""

from __future__ import annotations

import open_clip
from open_clip.loss import gather_features

from radisim_cl.losses._base import Batch, Features, Loss, Term
from radisim_cl.losses._tiled import cross_entropy
from radisim_cl.specs.losses import ClipLossSpec


def build(spec: ClipLossSpec, rank: int, world: int) -> Loss:
    """open_clip's ClipLoss with global negatives and exact gradients; for large batches the same in tiles."""
    clip = open_clip.ClipLoss(local_loss=True, gather_with_grad=True, rank=rank, world_size=world)

    def loss(f: Features, batch: Batch) -> Term:
        size = len(f.image)
        if world * size <= spec.tile:
            return Term(clip(f.image, f.text, f.logit_scale), size)
        images, texts, first = f.image, f.text, rank * size
        if world > 1:
            images, texts = gather_features(images, texts, gather_with_grad=True, rank=rank, world_size=world)
        image_to_text = cross_entropy(f.image, texts, f.logit_scale, first, spec.tile)
        text_to_image = cross_entropy(f.text, images, f.logit_scale, first, spec.tile)
        return Term((image_to_text + text_to_image) / 2, size)

    return loss
