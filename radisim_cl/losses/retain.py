"""The distance to the model that entered the stage, in what a CLIP is used for: which text goes with an image, and which image with a text.

    L = 1/2B sum_i KL(p°_i || p_i)  +  1/2B sum_k KL(q°_k || q_k),    p_ik = softmax_k(s° u_i v_k),    q_ki = softmax_i(s° u_i v_k)

u and v are the embeddings of the global batch, and ° marks the model that entered the stage: its p° and q° are the targets, its scale s°
is that of both. Soft targets over a batch's similarities as in Mod-X (Ni et al. 2023, "Spatial Alignment"), without its selection of
pairs, and as in ZSCL (Zheng et al. 2023, distillation in feature space), with the stage's own pairs in place of a reference set.
"""

from __future__ import annotations

from open_clip.loss import gather_features
from torch import Tensor
from torch.nn import functional as nnf

from radisim_cl.losses._base import Batch, Features, Loss, Term, gather
from radisim_cl.specs.losses import RetainLossSpec


def build(spec: RetainLossSpec, rank: int, world: int) -> Loss:
    """The divergences of this rank's rows over the global batch."""

    def loss(f: Features, batch: Batch) -> Term:
        assert f.entry is not None, "the stage holds a copy of the model that entered it where a loss has `entry`"
        before, images, texts = f.entry, f.image, f.text
        if world > 1:
            images, texts = gather_features(images, texts, gather_with_grad=True, rank=rank, world_size=world)
        forgotten = _divergence(before.logit_scale * before.image @ gather(before.text, world).T, before.logit_scale * f.image @ texts.T) \
            + _divergence(before.logit_scale * before.text @ gather(before.image, world).T, before.logit_scale * f.text @ images.T)
        return Term(forgotten / 2, len(f.image))

    return loss


def _divergence(before: Tensor, now: Tensor) -> Tensor:
    """The mean over rows of KL(softmax(before) || softmax(now)) of (b, B) logits."""
    return nnf.kl_div(now.log_softmax(-1), before.log_softmax(-1), reduction="batchmean", log_target=True)
