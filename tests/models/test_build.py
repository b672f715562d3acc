"""Models: a function of the seed, a bounded scale, and embeddings that are open_clip's own."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import World

from radisim_cl.models.build import Built, Towers, build
from radisim_cl.models.embedder import Embedder
from radisim_cl.models.export import export
from radisim_cl.specs.curriculum import ModelSpec


def micro(world: World, seed: int = 0) -> Built:
    """The micro model."""
    return build(ModelSpec(arch=f"local-dir:{world.root / 'model'}"), seed)


@pytest.fixture(scope="module")
def built(shared_world: World) -> Built:
    """A micro model that no test may change."""
    return micro(shared_world)


def pixels(n: int, size: int = 32) -> torch.Tensor:
    """Random images."""
    return torch.randint(0, 256, (n, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_weights_are_a_function_of_the_seed(shared_world: World, built: Built) -> None:
    torch.manual_seed(99)
    same, other = micro(shared_world).model.state_dict(), micro(shared_world, seed=1).model.state_dict()
    first = built.model.state_dict()
    assert all(torch.equal(first[k], same[k]) for k in first)
    assert sum(not torch.equal(first[k], other[k]) for k in first) > len(first) / 3


def test_preprocessing_is_what_the_model_states(built: Built) -> None:
    p = built.preprocess
    assert (p.size, p.resize, p.interpolation) == (32, "squash", "bicubic")
    assert p.mean == pytest.approx((0.48145466, 0.4578275, 0.40821073))
    assert p.std == pytest.approx((0.26862954, 0.26130258, 0.27577711))


def test_our_own_model_squashes() -> None:
    """A radiograph's border is part of it."""
    own = build(ModelSpec(arch="radisim-tiny"), 0)
    assert (own.preprocess.size, own.preprocess.resize) == (64, "squash")
    assert own.tokenizer(["CT of the head"]).shape == (1, 32)


@pytest.mark.parametrize(("parameter", "scale"), [(0.0, 1.0), (1.0, math.e), (math.log(100), 100.0), (10.0, 100.0), (1000.0, 100.0)])
def test_the_scale_is_clamped_in_the_forward_pass(shared_world: World, parameter: float, scale: float) -> None:
    mine = micro(shared_world)
    with torch.no_grad():
        mine.model.logit_scale.fill_(parameter)  # type: ignore[operator]
    *_, found = Towers(mine.model, mine.preprocess)(pixels(2), mine.tokenizer(["a", "b"]))
    assert float(found.detach()) == pytest.approx(scale, rel=1e-5)
    assert float(found.detach()) <= 100 * (1 + 1e-6)


def test_a_bias_is_made_where_asked_and_changes_nothing_else(shared_world: World, built: Built, tmp_path: Path) -> None:
    """Also over weights that have none, for which open_clip would take 0, and over weights that have one."""
    arch = f"local-dir:{shared_world.root / 'model'}"
    assert built.model.logit_bias is None
    torch.save(built.model.state_dict(), tmp_path / "without.pt")
    for pretrained in (None, str(tmp_path / "without.pt")):
        mine = build(ModelSpec(arch=arch, pretrained=pretrained, logit_bias=-10), 0)
        assert mine.model.logit_bias.tolist() == [-10]
        assert mine.config == built.config | {"init_logit_bias": -10}
        assert all(torch.equal(mine.model.state_dict()[k], v) for k, v in built.model.state_dict().items())
    export(mine.model.state_dict(), mine, tmp_path / "with")
    assert [build(ModelSpec(arch=f"local-dir:{tmp_path / 'with'}", logit_bias=b), 1).model.logit_bias.item() for b in (None, -3.5)] == [-10, -3.5]


def test_towers_are_open_clips_encoders_after_its_normalization(built: Built) -> None:
    images, texts = pixels(5), built.tokenizer(["CT of the head", "knee", "", "mass", "MRI"])
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (built.preprocess.mean, built.preprocess.std))
    image, text, scale = Towers(built.model.eval(), built.preprocess)(images, texts)
    expected = built.model.encode_image((images / 255 - mean) / std, normalize=True)  # type: ignore[operator]
    torch.testing.assert_close(image, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(text, built.model.encode_text(texts, normalize=True), rtol=1e-6, atol=1e-6)  # type: ignore[operator]
    assert float(scale.detach()) == pytest.approx(1 / 0.07, rel=1e-5)


@pytest.mark.parametrize("autocast", [None, torch.bfloat16], ids=str)
def test_embeddings_are_unit_vectors_in_float32(built: Built, autocast: torch.dtype | None) -> None:
    image, text, _ = Towers(built.model, built.preprocess, autocast)(pixels(3), built.tokenizer(["a", "b", "c"]))
    for vectors in (image, text):
        assert vectors.dtype == torch.float32
        torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(3))


def test_everything_learns(built: Built) -> None:
    """No parameter of a tower is left out of the gradient of both embeddings and the scale."""
    towers = Towers(built.model, built.preprocess)
    image, text, scale = towers(pixels(3), built.tokenizer(["a", "b", "c"]))
    gradients = torch.autograd.grad((image @ text.T).exp().mean() * scale.sum(), list(towers.parameters()), allow_unused=True)
    assert [n for (n, _), g in zip(towers.named_parameters(), gradients, strict=True) if g is None] == []


def test_the_embedder_keeps_order_and_does_not_depend_on_batches(built: Built) -> None:
    embedder, images = Embedder(built), pixels(9)
    texts = [f"picture {i}" for i in range(9)]
    whole, parts = embedder.images([images]), embedder.images(iter([images[:4], images[4:5], images[5:]]))
    assert whole.shape == (9, 16)
    assert whole.dtype == np.float32
    np.testing.assert_allclose(parts, whole, atol=1e-6)
    np.testing.assert_allclose(embedder.texts(texts, batch=2), embedder.texts(texts), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1, atol=1e-6)
    assert np.ptp(whole, axis=0).max() > 1e-3


def test_a_model_folder_without_weights_is_random_and_with_them_is_not(shared_world: World, tmp_path: Path, built: Built) -> None:
    export(built.model.state_dict(), built, tmp_path / "made")
    first, second = (build(ModelSpec(arch=f"local-dir:{tmp_path / 'made'}"), seed).model.state_dict() for seed in (1, 2))
    for k, v in built.model.state_dict().items():
        assert torch.equal(first[k], v)
        assert torch.equal(second[k], v)
