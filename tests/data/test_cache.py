"""What is kept is what would be decoded again, and no more of it than there is room for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from radisim_cl.corpus.blobs import Blob
from radisim_cl.data.cache import ImageCache
from radisim_cl.data.images import decode, decode_mask
from radisim_cl.errors import InputError

SIDE = 10


@pytest.fixture
def pictures(tmp_path: Path) -> list[Blob]:
    """Five grey images of 100 bytes of pixels."""
    rng, paths = np.random.default_rng(0), [tmp_path / f"{i}.png" for i in range(5)]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)).save(path)
    return [Blob(path) for path in paths]


def test_a_kept_image_is_not_read_again(pictures: list[Blob]) -> None:
    cache, first = ImageCache(10_000), decode(pictures[0])
    assert torch.equal(cache.image(pictures[0]), first)
    pictures[0].path.unlink()
    assert torch.equal(cache.image(pictures[0]), first)


@pytest.mark.parametrize(("limit", "kept"), [(0, 0), (99, 0), (100, 1), (399, 3), (500, 5), (10_000, 5)])
def test_the_first_are_kept_while_there_is_room(pictures: list[Blob], limit: int, kept: int) -> None:
    cache = ImageCache(limit)
    for _ in range(2):
        for file in pictures:
            assert torch.equal(cache.image(file), decode(file))
    assert cache.held == 100 * kept
    for file in pictures:
        file.path.unlink()
    for file in pictures[:kept]:
        cache.image(file)
    for file in pictures[kept:]:
        with pytest.raises(InputError, match=file.path.name):
            cache.image(file)


def test_masks_are_kept_too(pictures: list[Blob]) -> None:
    cache, image = ImageCache(10_000), decode(pictures[0])
    expected = decode_mask(pictures[1], image)
    assert torch.equal(cache.mask(pictures[1], image), expected)
    pictures[1].path.unlink()
    assert torch.equal(cache.mask(pictures[1], image), expected)
    assert cache.held == 100
