"""Patch embeddings: what a vision tower says of each place, in the joint space of images and texts.

A tower's own last steps, its final norm and its projection, are applied to every patch as they are to the pooled token:

    ViT              proj(ln_post(x_j))
    CLIP's ResNet    the attention pool's output if all of its attention fell on patch j, c_proj(v_proj(x_j + p_j))
                     (Zhou et al. 2022, "Extract free dense labels from CLIP", section 3.2; here with the position p_j)
    timm             the head's output for an image that looks like patch j everywhere

The image embedding comes from the same pass and is the tower's own. Where patches are only read, `finer` gives convolutional towers a
finer grid by shift-and-stitch.
"""

from __future__ import annotations

import math

import torch
from open_clip.modified_resnet import ModifiedResNet
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from radisim_cl.errors import InputError


def image_and_patches(visual: nn.Module, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """The image embedding (b, D) and the patch embeddings (b, gh, gw, D) of one pass; neither is normalized.

    Args:
        visual: an open_clip vision tower.
        pixels: (b, 3, S, S), as the tower takes them.

    Raises:
        InputError: a tower whose patches have no place in the joint space.
    """
    if isinstance(visual, VisionTransformer) and visual.attn_pool is None:
        return _transformer(visual, pixels)
    if isinstance(visual, ModifiedResNet):
        return _resnet(visual, pixels)
    if isinstance(visual, TimmModel) and not hasattr(visual.head, "pool"):
        return _timm(visual, pixels)
    raise InputError(f"the vision tower ({type(visual).__name__}) gives no patch embeddings: it pools by attention into a space of its own; "
                     "take a model with a ViT without attentional pooling, CLIP's ResNet or a timm tower")


FINE = 14
"""Rows of patches from which on a grid is fine enough to place organs: a ViT-B/16's at 224 pixels."""


def finer(visual: nn.Module, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """As `image_and_patches`, and a convolutional tower of fewer than FINE rows sees the image at t x t shifts, t a power of 2.

    Shift-and-stitch (Long et al. 2015, section 3.2; Sermanet et al. 2014): patch (i t + k, j t + l) is patch (i, j) of the image moved so that
    its middle comes to lie in the middle of that cell of the finer grid. Beyond the border the image goes on as it ends. Layers up to the one
    whose cells are a t-th of a patch see one larger image, as a shift by a cell is one of their own; only those after it see t^2 windows.

    Returns:
        (b, D), and (b, gh t, gw t, D); t is 1 for transformers, whose patches know where they are, for fine grids, and where no layer has such
        cells.
    """
    image, coarse = image_and_patches(visual, pixels)
    (rows, columns), (height, width) = coarse.shape[1:3], pixels.shape[-2:]
    times = 2 ** max(0, math.ceil(math.log2(FINE / rows)))
    layer = _layer(visual, height / rows / times)
    if times == 1 or layer is None or height * columns != width * rows:
        return image, coarse
    side = rows * times, columns * times
    border = (height // rows - height // side[0]) // 2
    with layer.register_forward_hook(lambda _layer, _given, out: _windows(out, side)):
        _, seen = image_and_patches(visual, nn.functional.pad(pixels, (border,) * 4, mode="replicate"))
    fine = seen.view(len(pixels), times, times, *seen.shape[1:]).permute(0, 3, 1, 4, 2, 5)
    return image, fine.flatten(3, 4).flatten(1, 2)


def _layer(visual: nn.Module, cell: float) -> nn.Module | None:
    """The last layer of a convolutional tower whose feature map has a cell every so many pixels."""
    names: dict[float, str] = {}
    if isinstance(visual, ModifiedResNet):
        names = {4: "layer1", 8: "layer2", 16: "layer3"}
    if isinstance(visual, TimmModel) and getattr(visual.trunk, "patch_embed", None) is None:
        names = {info["reduction"]: f"trunk.{info['module']}" for info in visual.trunk.feature_info}
    return visual.get_submodule(names[cell]) if cell in names else None


def _windows(features: Tensor, side: tuple[int, int]) -> Tensor:
    """(b, C, h + t - 1, w + t - 1) to its windows of (h, w), (b t t, C, h, w), channels last as `Towers` gives its images."""
    windows = features.unfold(2, side[0], 1).unfold(3, side[1], 1).permute(0, 2, 3, 1, 4, 5).flatten(0, 2)
    return windows.contiguous(memory_format=torch.channels_last)


def _transformer(visual: VisionTransformer, pixels: Tensor) -> tuple[Tensor, Tensor]:
    if visual.training and getattr(visual.patch_dropout, "prob", 0.0):
        raise InputError("the vision tower drops patches while it trains (patch_dropout), so that places are lost; set patch_dropout to 0")
    out = visual.forward_intermediates(pixels, indices=1, normalize_intermediates=True)
    patches: Tensor = out["image_intermediates"][0].permute(0, 2, 3, 1) @ visual.proj
    return out["image_features"], patches


def _resnet(visual: ModifiedResNet, pixels: Tensor) -> tuple[Tensor, Tensor]:
    out, pool = visual.forward_intermediates(pixels, indices=1), visual.attnpool
    places = out["image_intermediates"][0].permute(0, 2, 3, 1)
    positions = pool.positional_embedding[1:].view(*places.shape[1:]).to(places.dtype)
    patches: Tensor = pool.c_proj(pool.v_proj(places + positions))
    return out["image_features"], patches


def _timm(visual: TimmModel, pixels: Tensor) -> tuple[Tensor, Tensor]:
    trunk = visual.trunk
    features = trunk.forward_features(pixels)
    image: Tensor = visual.head(trunk.forward_head(features))
    if features.ndim == 3:  # tokens: class and register tokens first
        prefix, (height, width) = trunk.num_prefix_tokens, _rows_and_columns(trunk.patch_embed, pixels)
        if features.shape[1] != prefix + height * width:
            raise InputError(f"the vision tower ({type(trunk).__name__}) leaves out patches, so that places are lost")
        alone = features[:, prefix:].flatten(0, 1)[:, None].expand(-1, prefix + 1, -1)
    elif getattr(trunk, "output_fmt", "NCHW") == "NHWC":
        height, width = features.shape[1:3]
        alone = features.flatten(0, 2)[:, None, None]
    else:
        height, width = features.shape[2:]
        alone = features.permute(0, 2, 3, 1).flatten(0, 2)[:, :, None, None]
    patches: Tensor = visual.head(trunk.forward_head(alone))
    return image, patches.view(len(features), height, width, -1)


def _rows_and_columns(embed: nn.Module, pixels: Tensor) -> tuple[int, int]:
    """Of a timm patch embedding; XCiT's knows the side of a patch and not how many there are."""
    if getattr(embed, "grid_size", None) is not None:
        rows, columns = embed.grid_size  # type: ignore[misc]
        return int(rows), int(columns)
    side = int(embed.patch_size if isinstance(embed.patch_size, int) else embed.patch_size[0])  # type: ignore[index]
    return pixels.shape[-2] // side, pixels.shape[-1] // side


@torch.no_grad()
def grid(visual: nn.Module, size: int) -> tuple[int, int]:
    """Rows and columns of patches of a (size, size) image, found by a pass over a black one.

    Raises:
        InputError: as above.
    """
    training, like = visual.training, next(visual.parameters())
    visual.eval()
    try:
        _, patches = image_and_patches(visual, torch.zeros(1, 3, size, size, device=like.device, dtype=like.dtype))
    finally:
        visual.train(training)
    return patches.shape[1], patches.shape[2]
