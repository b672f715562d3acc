"""Patch embeddings: of one pass with the image's own embedding, in its space, and where they should be."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest import World
from open_clip.timm_model import TimmModel
from open_clip.transformer import PatchDropout

from radisim_cl.errors import InputError
from radisim_cl.models.build import Towers, build
from radisim_cl.models.patches import finer, image_and_patches
from radisim_cl.specs.curriculum import ModelSpec


def towers(arch: str) -> Towers:
    """A model with random weights, evaluated."""
    made = build(ModelSpec(arch=arch), 0)
    return Towers(made.model, made.preprocess).eval()


def pixels(size: int, n: int = 2) -> torch.Tensor:
    """Random images."""
    return torch.randint(0, 256, (n, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("arch", "grid"), [("radisim-tiny", (8, 8)), ("radisim-tiny-resnet", (4, 4)),
                                            ("ViT-B-32", (7, 7)), ("RN50", (7, 7)), ("convnext_base", (7, 7))])
@torch.no_grad()
def test_patches_are_unit_vectors_on_the_grid_beside_the_image_embedding(arch: str, grid: tuple[int, int]) -> None:
    model = towers(arch)
    images = pixels(model.size)
    image, patches = model.image_and_patches(images)
    assert model.grid == grid
    assert patches.shape == (2, grid[0] * grid[1], image.shape[1])
    assert patches.dtype == torch.float32
    torch.testing.assert_close(patches.norm(dim=-1), torch.ones(patches.shape[:2]))
    torch.testing.assert_close(image, model.image(images), rtol=1e-5, atol=1e-5)
    assert torch.equal(model.patches(images), patches)


@pytest.mark.parametrize(("name", "pool", "grid"), [
    ("convnext_atto", "", (3, 3)), ("resnet18", "avg", (3, 3)), ("vit_tiny_patch16_224", "token", (6, 6)), ("vit_tiny_patch16_224", "avg", (6, 6)),
    ("vit_base_patch16_siglip_224", "map", (6, 6)), ("swin_tiny_patch4_window7_224", "avg", (3, 3)), ("fastvit_t8", "avg", (3, 3)),
    ("test_resnet", "avgmax", (3, 3)), ("xcit_nano_12_p8_224", "token", (12, 12)),
])
@torch.no_grad()
def test_towers_of_timm(name: str, pool: str, grid: tuple[int, int]) -> None:
    """The head's output, for tokens and for feature maps of either layout; an average over equal places is the place's own."""
    torch.manual_seed(0)
    options = {"img_size": 96} if "vit_" in name[:4] or "swin" in name else {}
    visual = TimmModel(name, 16, image_size=96, pool=pool, proj="linear")
    if options:
        visual.trunk.set_input_size(**options)
    visual.eval()
    images = torch.randn(2, 3, 96, 96)
    image, found = image_and_patches(visual, images)
    assert found.shape == (2, *grid, 16)
    torch.testing.assert_close(image, visual(images))
    torch.testing.assert_close(found[:1], image_and_patches(visual, images[:1])[1], rtol=1e-4, atol=1e-4)
    if name == "resnet18":  # its head is linear, so the mean over places is the image
        torch.testing.assert_close(found.mean((1, 2)), image)


@torch.no_grad()
def test_a_transformers_patches_are_normed_and_projected_as_its_class_token_is() -> None:
    model = towers("radisim-tiny")
    visual: Any = model.clip.visual
    images, kept = pixels(64), list[torch.Tensor]()
    visual.transformer.register_forward_hook(lambda *a: kept.append(a[2]))
    image = model.image(images)
    every = torch.nn.functional.normalize(visual.ln_post(kept[0]) @ visual.proj, dim=-1)
    torch.testing.assert_close(every[:, 0], image)
    torch.testing.assert_close(model.patches(images), every[:, 1:])


@torch.no_grad()
def test_a_resnets_patches_are_what_its_pool_adds_up() -> None:
    """With a query of zero the pool attends to all 50 tokens alike, so its output is the mean over the patches and the mean token."""
    model = towers("RN50")
    visual: Any = model.clip.visual
    pool = visual.attnpool
    for weight in (pool.q_proj.weight, pool.q_proj.bias):
        weight.zero_()
    features = list[torch.Tensor]()
    visual.layer4.register_forward_hook(lambda *a: features.append(a[2]))
    image, found = image_and_patches(visual, torch.randn(2, 3, 224, 224))
    first = pool.c_proj(pool.v_proj(features[0].mean((2, 3)) + pool.positional_embedding[0]))
    torch.testing.assert_close((found.sum((1, 2)) + first) / 50, image, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("arch", ["radisim-tiny", "RN50"])
@torch.no_grad()
def test_patches_lie_where_the_image_changes(arch: str) -> None:
    """Rows before columns: the patch that changes most is the one whose pixels change, of a tower without mixing of places."""
    model = towers(arch)
    rows, columns = model.grid
    plain = torch.full((1, 3, model.size, model.size), 100, dtype=torch.uint8)
    changed, (y, x) = plain.clone(), (rows - 2, 1)
    step = model.size // rows
    changed[:, :, y * step : (y + 1) * step, x * step : (x + 1) * step] = pixels(model.size)[:1, :, :step, :step]
    moved = (model.patches(changed) - model.patches(plain)).norm(dim=-1).view(rows, columns)
    assert divmod(int(moved.argmax()), columns) == (y, x)


def test_everything_learns_from_patches_of_the_same_pass() -> None:
    model = towers("radisim-tiny").train()
    image, patches = model.image_and_patches(pixels(64))
    weights = list(model.clip.visual.parameters())  # type: ignore[union-attr]
    assert all(g is not None for g in torch.autograd.grad(image[0, 0] + patches[:, :, 0].exp().sum(), weights, allow_unused=True))


def test_measuring_the_grid_leaves_the_mode_alone(shared_world: World) -> None:
    model = towers(f"local-dir:{shared_world.root / 'model'}")
    assert model.train().grid == (4, 4)
    assert model.training
    assert model.clip.visual.training  # type: ignore[union-attr]


def test_a_tower_without_patches_says_so() -> None:
    with pytest.raises(InputError, match=r"VisionTransformer.*no patch embeddings"):
        towers("coca_ViT-B-32").patches(pixels(224, 1))


def test_dropped_patches_are_refused_in_training() -> None:
    model = towers("radisim-tiny")
    visual: Any = model.clip.visual
    visual.patch_dropout = PatchDropout(0.5)
    assert model.eval().grid == (8, 8)
    with pytest.raises(InputError, match="patch_dropout"):
        model.train().patches(pixels(64))


@pytest.mark.parametrize(("arch", "size", "cell", "times"), [("radisim-tiny-resnet", 128, 8, 4), ("RN50", 224, 16, 2)])
@torch.no_grad()
def test_shifted_images_are_stitched_into_a_finer_grid(arch: str, size: int, cell: int, times: int) -> None:
    """Each phase of the fine grid is the coarse grid of the image moved to it by hand.

    Nothing surrounds what is moved, and without biases nothing comes of nothing, so borders of zeros are no borders.
    """
    visual: Any = towers(arch).clip.visual
    images = torch.zeros(2, 3, size, size)
    images[:, :, 40:88, 40:88] = torch.randn(2, 3, 48, 48)
    image, fine = finer(visual, images)
    coarse, patches = image_and_patches(visual, images)
    assert fine.shape == (2, patches.shape[1] * times, patches.shape[2] * times, patches.shape[3])
    torch.testing.assert_close(image, coarse)
    for k, n in ((0, 0), (1, 0), (times - 1, times - 2), (times - 1, times - 1)):
        moved = torch.roll(images, tuple((times - 1) * cell // 2 - cell * at for at in (k, n)), (2, 3))
        torch.testing.assert_close(fine[:, k::times, n::times], image_and_patches(visual, moved)[1], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_a_finer_grid_costs_less_than_a_pass_for_each_shift() -> None:
    """Only the layers after the one with its cells see windows of them."""
    visual: Any = towers("radisim-tiny-resnet").clip.visual
    seen = list[tuple[int, ...]]()
    for layer in (visual.trunk.conv1, visual.trunk.layer3):
        layer.register_forward_pre_hook(lambda _layer, given: seen.append(tuple(given[0].shape)))
    finer(visual, torch.zeros(2, 3, 128, 128))
    assert seen == [(2, 3, 128, 128), (2, 48, 16, 16), (2, 3, 152, 152), (32, 48, 16, 16)]


@torch.no_grad()
def test_a_finer_grid_places_a_change_more_exactly() -> None:
    visual: Any = towers("radisim-tiny-resnet").clip.visual
    plain = torch.zeros(1, 3, 128, 128)
    changed = plain.clone()
    changed[:, :, 72:80, 24:32] = torch.randn(1, 3, 8, 8) * 3  # row 9, column 3 of 16
    moved = (finer(visual, changed)[1] - finer(visual, plain)[1]).norm(dim=-1)[0]
    weights = moved.square() / moved.square().sum()
    row, column = (float((weights.sum(1 - axis) * torch.arange(16)).sum()) for axis in (0, 1))
    assert abs(row - 9) < 1
    assert abs(column - 3) < 1


@pytest.mark.parametrize("arch", ["radisim-tiny", "ViT-B-32"])
@torch.no_grad()
def test_transformers_keep_their_grid(arch: str) -> None:
    model = towers(arch)
    image, fine = model.finer(pixels(model.size))
    whole, patches = model.image_and_patches(pixels(model.size))
    assert torch.equal(image, whole)
    assert torch.equal(fine.flatten(1, 2), patches)
