"""Which texts of a batch are true of which images.

The levels of a curriculum meet in one batch ("CT", "CT of the abdomen"), so truth has a direction: text k is a positive of image i if i
has every label value that k states. A caption that states no labels, the corpus's own, is a positive of its own image and of images with
an equal caption.
"""

from __future__ import annotations

import torch
from torch import Tensor


def positives(facts: Tensor, claims: Tensor, captions: Tensor, rows: slice = slice(None)) -> Tensor:
    """(b, B) bool: entry [i, k] says that text k is true of the i-th image of `rows`, as far as the labels tell.

    Args:
        facts: (B, C) codes of label values, 0 where unknown.
        claims: (B, C) bool, the columns that each text states.
        captions: (B,) codes of the texts.
        rows: the images that are asked about; all of them by default.
    """
    stated = claims.any(-1)[None, :].repeat(len(facts[rows]), 1)
    for fact, claimed in zip(facts.T, claims.T, strict=True):
        stated &= ((fact[rows, None] == fact[None, :]) & (fact != 0)) | ~claimed
    same = captions[rows, None] == captions[None, :]
    return stated | same | torch.eye(len(facts), dtype=torch.bool, device=facts.device)[rows]
