"""Areas on the patch grid are those of the label map, at every size and for every convention of what 0 means."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from radisim_cl.corpus.blobs import Blob
from radisim_cl.corpus.corpora import Corpus
from radisim_cl.data.regions import Regions, check_values, vocabulary
from radisim_cl.errors import InputError

WORDS = ("background", "body", "heart", "liver")


def corpus(**structures: int) -> Corpus:
    """A corpus whose masks have these structures."""
    return Corpus("c", pd.DataFrame(), Path(), "", {v: k for k, v in structures.items()})


def test_the_vocabulary_is_of_all_corpora_once_in_order() -> None:
    assert vocabulary([corpus(liver=1, body=2), corpus(heart=7, liver=9), corpus()]) == WORDS
    assert vocabulary([]) == ("background", "body")
    assert vocabulary([corpus(background=4, aorta=5)]) == ("background", "body", "aorta")


@pytest.mark.parametrize(("size", "grid"), [(32, (4, 4)), (64, (8, 8)), (224, (7, 7)), (33, (4, 4)), (30, (5, 3))], ids=str)
@pytest.mark.parametrize("structures", [{3: "liver", 9: "heart"}, {3: "liver", 9: "heart", 1: "body"}, {0: "background", 3: "liver", 9: "heart"}],
                         ids=["no body", "body", "background"])
def test_areas_are_counted_pixel_by_pixel(size: int, grid: tuple[int, int], structures: dict[int, str]) -> None:
    mask = np.random.default_rng(size).choice([*{0, *structures}], (size, size)).astype(np.uint8)
    found = Regions(WORDS, grid).areas(torch.from_numpy(mask), structures)
    expected = np.zeros((grid[0] * grid[1], 4))
    for y in range(size):
        for x in range(size):
            name = structures.get(int(mask[y, x]), "background" if "body" in structures.values() else "")
            if name:
                expected[y * grid[0] // size * grid[1] + x * grid[1] // size, WORDS.index(name)] += 1
    pixels = np.zeros(grid[0] * grid[1])
    np.add.at(pixels, (np.arange(size)[:, None] * grid[0] // size * grid[1] + np.arange(size) * grid[1] // size).ravel(), 1)
    np.testing.assert_allclose(found.numpy(), expected / pixels[:, None], atol=1e-6)
    assert found.dtype == torch.float32


def test_nothing_is_outside_where_the_corpus_does_not_say_body() -> None:
    regions, empty = Regions(WORDS, (2, 2)), torch.zeros(8, 8, dtype=torch.uint8)
    assert not regions.areas(empty, {1: "liver"}).any()
    assert (regions.areas(empty, {1: "liver", 2: "body"})[:, 0] == 1).all()
    assert torch.equal(regions.none(), torch.zeros(4, 4))


def test_a_value_that_is_no_structure_is_refused() -> None:
    mask = torch.tensor([[0, 1], [1, 7]], dtype=torch.uint8)
    check_values(mask, corpus(liver=1, heart=7), Blob(Path("m.png")))
    with pytest.raises(InputError, match=r"m\.png: pixels of value 7, which is no structure of corpus 'c'"):
        check_values(mask, corpus(liver=1), Blob(Path("m.png")))
