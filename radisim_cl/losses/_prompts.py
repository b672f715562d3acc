"""Classes by their prompts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as nnf

from radisim_cl.losses._base import Features


def classes(f: Features, prompts: Sequence[Sequence[str]]) -> Tensor:
    """(K, D) unit vectors: the direction of the mean of each class's prompt embeddings (Radford et al. 2021, section 3.1.4)."""
    embedded = f.prompts([text for texts in prompts for text in texts])
    owner = torch.tensor([k for k, texts in enumerate(prompts) for _ in texts], device=embedded.device)
    return nnf.normalize(nnf.one_hot(owner, len(prompts)).T.to(embedded.dtype) @ embedded, dim=-1)
