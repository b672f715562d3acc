"""Grades in order: cross-entropy against targets that fall with the distance from the true grade.

    q_ik = softmax_k(-|k - g_i| / T),    L = - mean_i sum_k q_ik log softmax(s <u_i, t>)_k       (SORD, Diaz & Marathe 2019, eq. 1-2)

u_i is the image embedding, t_k the embedding of the prompts of grade k, s the logit scale, and the mean is over the pairs of the
global batch whose label is one of the grades.
"""

from __future__ import annotations

import torch
from torch.nn import functional as nnf

from radisim_cl.losses._base import Batch, Features, Loss, Term, over_ranks
from radisim_cl.losses._prompts import classes
from radisim_cl.specs.losses import OrdinalLossSpec


def build(spec: OrdinalLossSpec, rank: int, world: int) -> Loss:
    """The loss of this rank's graded pairs, as a share of all."""
    grade_of = {value: k for k, grade in enumerate(spec.grades) for value in grade.values}

    def loss(f: Features, batch: Batch) -> Term:
        names = classes(f, spec.prompts(()))
        grades = torch.tensor([grade_of.get(label, -1) for label in batch.labels], device=names.device)
        graded = grades >= 0
        steps = (torch.arange(len(names), device=names.device) - grades[graded, None]).abs()
        targets = (-steps.to(names.dtype) / spec.temperature).softmax(-1)
        by_pair = nnf.cross_entropy(f.logit_scale * f.image[graded] @ names.T, targets, reduction="sum")
        value = world * by_pair / over_ranks(graded.sum(), world).clamp(min=1)
        return Term(value.reshape(()), int(graded.sum()))

    return loss
