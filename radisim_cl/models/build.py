"""Models by open_clip, with what we need of them beside the weights."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch import Tensor, nn

from radisim_cl.errors import InputError
from radisim_cl.models import patches, texts
from radisim_cl.models.arch import CONFIGS
from radisim_cl.specs.curriculum import ModelSpec
from radisim_cl.specs.preprocess import PreprocessSpec

MAX_LOGIT_SCALE = 4.605170185988092
"""ln 100 (Radford et al. 2021, section 2.5)."""


@dataclass(frozen=True)
class Built:
    """A model ready to train or to embed.

    Attributes:
        model: an open_clip CLIP or CustomTextCLIP.
        tokenizer: texts to (n, context) ids.
        preprocess: its input.
        config: open_clip's `model_cfg`, for export.
    """

    model: nn.Module
    tokenizer: Callable[[list[str]], Tensor]
    preprocess: PreprocessSpec
    config: dict[str, Any]


@dataclass(frozen=True)
class Wanted:
    """What is embedded beside a batch's images and captions, in the same pass.

    Attributes:
        tokens: by text, its (context,) ids.
        patches: whether patches are wanted.
        entry: the model that entered the stage, where what it says of the pairs is wanted.
    """

    tokens: Mapping[str, Tensor]
    patches: bool
    entry: Towers | None = None


NOTHING = Wanted({}, False)
"""Images and captions alone."""


@dataclass(frozen=True)
class Embedded:
    """What two towers say of pairs.

    Attributes:
        image: (b, D) float32, unit length.
        text: (b, D) float32, unit length.
        logit_scale: () or (1,), exp of the clamped parameter.
    """

    image: Tensor
    text: Tensor
    logit_scale: Tensor


@dataclass(frozen=True)
class Features(Embedded):
    """What the towers in training say of one rank's part of a batch.

    Attributes:
        logit_bias: () or (1,), the parameter; (0,) of models without one.
        patches: (b, gh gw, D) float32, unit length; (b, 0, D) where they are not wanted.
        prompted: by text wanted, (D,) float32 of unit length.
        entry: what the model that entered the stage says of the pairs, where it is wanted.
    """

    logit_bias: Tensor
    patches: Tensor
    prompted: Mapping[str, Tensor]
    entry: Embedded | None

    def prompts(self, texts: Sequence[str]) -> Tensor:
        """(n, D) embeddings of wanted texts."""
        return torch.stack([self.prompted[t] for t in texts])


def build(spec: ModelSpec, seed: int) -> Built:
    """Creates a model; random weights are a function of the seed alone."""
    open_clip.add_model_config(CONFIGS)
    torch.manual_seed(seed)
    own = (CONFIGS / f"{spec.arch}.json").is_file()
    bias = {} if spec.logit_bias is None else {"init_logit_bias": spec.logit_bias}
    # DeepSpeed cannot broadcast a 0-d parameter; open_clip reshapes logit_scale and logit_bias on load, so checkpoints stay interchangeable.
    with _quiet():
        model = open_clip.create_model(
            spec.arch, pretrained=spec.pretrained, nonscalar_logit_scale=True,
            force_preprocess_cfg={"resize_mode": "squash"} if own else None,
            require_pretrained=spec.arch.startswith("hf-hub:") or bool(spec.pretrained and ":" not in spec.arch), **bias,
        )
        if ":" in spec.arch and spec.pretrained:  # open_clip ignores it there
            if not Path(spec.pretrained).is_file():
                raise InputError(f"pretrained: {spec.pretrained!r} is no file, and a tag has no meaning for {spec.arch!r}; remove it or name a file")
            open_clip.load_checkpoint(model, spec.pretrained)
    if spec.logit_bias is not None:
        with torch.no_grad():
            model.logit_bias.fill_(spec.logit_bias)  # open_clip takes 0 where the weights loaded have none
    cfg = dict(model.visual.preprocess_cfg)
    size = cfg["size"] if isinstance(cfg["size"], int) else cfg["size"][0]
    preprocess = PreprocessSpec(size=size, mean=tuple(cfg["mean"]), std=tuple(cfg["std"]), resize=cfg["resize_mode"],
                                interpolation=cfg["interpolation"])
    return Built(model, open_clip.get_tokenizer(spec.arch), preprocess, copy.deepcopy(_model_cfg(spec.arch)) | bias)


@contextmanager
def _quiet() -> Iterator[None]:
    """open_clip warns on the root logger that a model without pretrained weights has none; here that is a choice."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _model_cfg(arch: str) -> dict[str, Any]:
    from open_clip.factory import _get_hf_config

    from radisim_cl.models.arch import config

    cfg = _get_hf_config(arch.removeprefix("hf-hub:"))["model_cfg"] if arch.startswith("hf-hub:") else config(arch)
    assert isinstance(cfg, dict)
    return cfg


def _clamped(logit_scale: Tensor) -> Tensor:
    """At most ln 100, with the gradient of the parameter itself, so that one that momentum carried past the bound comes back."""
    return logit_scale + (logit_scale.clamp(max=MAX_LOGIT_SCALE) - logit_scale).detach()


class Towers(nn.Module):
    """A CLIP as one module with one forward, so that every parallel engine can wrap it.

    The scale is clamped here and not after the step: ZeRO keeps detached fp32 copies that a later clamp would miss.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, clip: nn.Module, preprocess: PreprocessSpec, autocast: torch.dtype | None = None) -> None:
        super().__init__()
        self.clip, self.autocast, self.size = clip, autocast, preprocess.size
        self.register_buffer("mean", torch.tensor(preprocess.mean).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(preprocess.std).view(1, 3, 1, 1) * 255, persistent=False)

    def forward(self, images: Tensor, tokens: Tensor, patches: bool = False) -> tuple[Tensor, ...]:
        """(b, 3, S, S) uint8 and (n, context) ids to (b, D), (n, D) in float32 and the scale; after them (b, gh gw, D) patches if asked, and the
        bias of a model that has one.
        """
        image, *places = self.image_and_patches(images) if patches else (self.image(images),)
        # A copy: ZeRO 3 takes the parameter itself away after the pass.
        bias = () if self.clip.logit_bias is None else (self.clip.logit_bias.clone(),)  # type: ignore[operator]
        return image, self.text(tokens), _clamped(self.clip.logit_scale).exp(), *places, *bias  # type: ignore[arg-type]

    def image(self, images: Tensor) -> Tensor:
        """(b, D) unit image embeddings in float32."""
        pixels = self._pixels(images)
        with torch.autocast(images.device.type, self.autocast, enabled=self.autocast is not None):
            out = self.clip.encode_image(pixels, normalize=False)  # type: ignore[operator]
        return nn.functional.normalize(out.float(), dim=-1)

    def image_and_patches(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(b, D) unit image embeddings and (b, gh gw, D) unit patch embeddings, row by row, of one pass, in float32.

        Raises:
            InputError: the tower gives no patch embeddings.
        """
        image, places = self._seen(images, patches.image_and_patches)
        return image, places.flatten(1, 2)

    def finer(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(b, D) unit image embeddings and (b, gh, gw, D) unit patch embeddings on the grid of `patches.finer`, in float32.

        Raises:
            InputError: the tower gives no patch embeddings.
        """
        return self._seen(images, patches.finer)

    def _seen(self, images: Tensor, how: Callable[[nn.Module, Tensor], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        pixels = self._pixels(images)
        with torch.autocast(images.device.type, self.autocast, enabled=self.autocast is not None):
            image, places = how(self.clip.visual, pixels)  # type: ignore[arg-type]
        return nn.functional.normalize(image.float(), dim=-1), nn.functional.normalize(places.float(), dim=-1)

    def _pixels(self, images: Tensor) -> Tensor:
        """What the vision tower takes, channels last: oneDNN's and cuDNN's convolutions are faster on it."""
        return ((images.float() - self.mean) / self.std).contiguous(memory_format=torch.channels_last)

    def patches(self, images: Tensor) -> Tensor:
        """(b, gh gw, D) unit patch embeddings in float32, row by row, in the space of the image and text embeddings."""
        return self.image_and_patches(images)[1]

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches; costs a pass over one image."""
        return patches.grid(self.clip.visual, self.size)  # type: ignore[arg-type]

    def text(self, tokens: Tensor) -> Tensor:
        """(b, D) unit text embeddings in float32; of ids that `texts.shortened` cut, those of all of the context."""
        with torch.autocast(tokens.device.type, self.autocast, enabled=self.autocast is not None):
            out = texts.encode(self.clip, tokens)
        return nn.functional.normalize(out.float(), dim=-1)
