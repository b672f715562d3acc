"""From label maps to areas: how much of each patch every structure of a stage covers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from radisim_cl.corpus.blobs import Blob
from radisim_cl.corpus.corpora import Corpus
from radisim_cl.errors import InputError
from radisim_cl.specs.losses import BACKGROUND, BODY


def vocabulary(corpora: Iterable[Corpus]) -> tuple[str, ...]:
    """`background`, `body`, then the other structures of the corpora in alphabetical order."""
    named = {name for corpus in corpora for name in corpus.structures.values()}
    return BACKGROUND, BODY, *sorted(named - {BACKGROUND, BODY})


@dataclass(frozen=True)
class Regions:
    """What the areas of a stage are counted by.

    Attributes:
        vocabulary: from `vocabulary`.
        grid: rows and columns of the model's patches.
    """

    vocabulary: tuple[str, ...]
    grid: tuple[int, int]

    def none(self) -> Tensor:
        """(gh gw, V) zeros: an image without a mask."""
        return torch.zeros(self.grid[0] * self.grid[1], len(self.vocabulary))

    def areas(self, mask: Tensor, structures: Mapping[int, str]) -> Tensor:
        """(gh gw, V) float32, the share of each patch, row by row, that each word of the vocabulary covers.

        Value 0 is the background where the corpus names a structure `body`; elsewhere it is unknown, if the corpus does not name it, and
        counts for nothing, so that a patch's shares sum to less than 1.

        Args:
            mask: (S, S) uint8, resized as the image is.
            structures: the corpus's, by pixel value.
        """
        (rows, columns), (height, width), words = self.grid, mask.shape, len(self.vocabulary)
        word_of = torch.full((256,), words)  # the last place: unknown
        if BODY in structures.values():
            word_of[0] = self.vocabulary.index(BACKGROUND)
        for value, name in structures.items():
            word_of[value] = self.vocabulary.index(name)
        patch = (torch.arange(height) * rows // height)[:, None] * columns + torch.arange(width) * columns // width
        counts = torch.bincount((patch * (words + 1) + word_of[mask.long()]).flatten(), minlength=rows * columns * (words + 1))
        counts = counts.view(rows * columns, words + 1).float()
        return counts[:, :words] / counts.sum(1, keepdim=True)


def check_values(mask: Tensor, corpus: Corpus, file: Blob) -> None:
    """Every value of a mask but 0 is a structure of its corpus.

    Raises:
        InputError: one is not.
    """
    found = torch.bincount(mask.flatten(), minlength=256).nonzero().flatten().tolist()
    if strange := [v for v in found if v and v not in corpus.structures]:
        raise InputError(f"{file}: pixels of value {strange[0]}, which is no structure of corpus {corpus.name!r}; "
                         "name it under 'structures' in the catalog")
