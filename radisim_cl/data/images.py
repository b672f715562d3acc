"""Images: decoded, resized and changed on uint8 by torchvision."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from radisim_cl.corpus.blobs import Blob
from radisim_cl.errors import InputError
from radisim_cl.specs.curriculum import AugmentSpec
from radisim_cl.specs.preprocess import PreprocessSpec

_PNG, _DEPTH = b"\x89PNG\r\n\x1a\n", 24
"""A PNG's signature; where its header says how many bits a value has (PNG specification, 11.2.2)."""
_MOST = 2**26
"""Pixels of an image that are decoded; a radiograph has some 2**24, and a file of a kilobyte can say that it has 2**32."""

_NO_MASK = "not a PNG of 8-bit grey values or of indices; a mask is one, with a structure's number in each pixel"


class UnreadableError(InputError):
    """The bytes are there and are no image that can be used."""


def decode(file: Blob) -> Tensor:
    """(1 or 3, H, W) uint8.

    Raises:
        UnreadableError: truncated, damaged, not an image, too large, or not of 8 bits.
        InputError: missing, or a part of a shard that is.
    """
    data = file.read_bytes()
    with _opened(file, data) as picture:
        if picture.format == "PNG":  # torchvision's decoder takes the process down where a bit of one has flipped
            if data[_DEPTH] > 8:
                raise UnreadableError(f"{file}: {data[_DEPTH]}-bit pixels; a corpus holds 8-bit images, with the window stated where they are made")
            return _tensor(picture.convert("L" if picture.mode in ("1", "L", "LA") else "RGB"))
        image: Tensor = decode_image(torch.frombuffer(bytearray(data), dtype=torch.uint8), ImageReadMode.UNCHANGED)
    if image.ndim != 3:
        raise UnreadableError(f"{file}: an animation of {len(image)} pictures; a corpus holds one picture a file")
    if image.shape[0] == 4:
        raise UnreadableError(f"{file}: four channels that are not a PNG's; save it as grey or RGB")
    return image


def decode_mask(file: Blob, image: Tensor | None = None) -> Tensor:
    """(H, W) uint8 label map; 0 is what no structure covers.

    Args:
        file: a PNG of 8-bit grey values, or of indices into a palette.
        image: (C, H, W) what the mask is of; its size is checked.

    Raises:
        UnreadableError: truncated, damaged, or too large.
        InputError: missing, another kind of file, or not of the image's size.
    """
    data = file.read_bytes()
    if data[:8] != _PNG or len(data) <= _DEPTH:
        raise InputError(f"{file}: {_NO_MASK}")
    with _opened(file, data) as picture:
        if picture.mode != "P" and (picture.mode, data[_DEPTH]) != ("L", 8):
            raise InputError(f"{file}: {_NO_MASK}")
        if image is not None and picture.size != (image.shape[-1], image.shape[-2]):
            raise InputError(f"{file}: {picture.width} x {picture.height} pixels, and its image has {image.shape[-1]} x {image.shape[-2]}; "
                             "a mask has its image's size")
        return _tensor(picture)[0]


@contextmanager
def _opened(file: Blob, data: bytes) -> Iterator[Image.Image]:
    """An image whose header has been read; what goes wrong while it is open is said of the file."""
    try:
        with Image.open(io.BytesIO(data)) as picture:
            if picture.width * picture.height > _MOST:
                raise UnreadableError(f"{file}: declares {picture.width} x {picture.height} pixels, and at most {_MOST:,} are decoded")
            yield picture
    except InputError:
        raise
    except UnidentifiedImageError:
        raise UnreadableError(f"{file}: cannot be decoded: it is no image") from None
    except Exception as e:  # decoders raise what they like at bytes that they did not expect
        raise UnreadableError(f"{file}: cannot be decoded: {(str(e).splitlines() or [type(e).__name__])[0]}") from None


def _tensor(picture: Image.Image) -> Tensor:
    """(1 or 3, H, W) uint8."""
    pixels = torch.from_numpy(np.array(picture))
    return pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1)


def _jittered(image: Tensor, brightness: float, contrast: float) -> Tensor:
    """torchvision's `adjust_brightness`, then `adjust_contrast`, to a grey level, in half the time; contrast is about the mean of all channels."""
    bright = image.float().mul_(brightness).clamp_(0, 255)
    return bright.lerp_(bright.mean(), 1 - contrast).clamp_(0, 255).to(torch.uint8)


def resize(image: Tensor, spec: PreprocessSpec) -> Tensor:
    """(3, size, size) uint8, by the model's own rule (open_clip's `image_transform_v2`)."""
    return _fitted(image, spec, InterpolationMode(spec.interpolation)).expand(3, -1, -1)


def resize_mask(mask: Tensor, spec: PreprocessSpec) -> Tensor:
    """(size, size) uint8 from (H, W): each pixel has the label nearest to it, where `resize` puts it; padding is 0."""
    return _fitted(mask[None], spec, InterpolationMode.NEAREST_EXACT)[0]


def _fitted(image: Tensor, spec: PreprocessSpec, how: InterpolationMode) -> Tensor:
    height, width = image.shape[-2:]
    if spec.resize == "squash":
        out: Tensor = tv.resize(image, [spec.size, spec.size], how, antialias=True)
    else:
        scale = spec.size / max(height, width)
        longest = [max(1, round(height * scale)), max(1, round(width * scale))]
        out = tv.resize(image, [spec.size] if spec.resize == "shortest" else longest, how, antialias=True)
        out = tv.center_crop(out, [spec.size, spec.size])
    return out


def augment(image: Tensor, spec: AugmentSpec, preprocess: PreprocessSpec, rng: np.random.Generator, may_flip: bool,
            mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
    """A random crop, resized; then brightness, contrast and (if `may_flip`) mirroring on the small image.

    A mask goes through the same crop, resizing and mirroring.

    Args:
        image: (C, H, W) uint8 of any size.
        spec: how much.
        preprocess: the model's input.
        rng: the sample's own; always advanced by the same number of draws.
        may_flip: false where the caption, a label or a structure of the mask names a side.
        mask: (H, W) uint8 label map of the image.

    Returns:
        (3, size, size) uint8, and the mask as (size, size) uint8.
    """
    area, ratio, top, left, brightness, contrast, flip = rng.random(7)
    height, width = image.shape[-2:]
    if spec.crop < 1:
        kept = spec.crop + (1 - spec.crop) * area
        stretch = math.exp((2 * ratio - 1) * 0.1)
        h = max(1, min(height, round(height * math.sqrt(kept) * stretch)))
        w = max(1, min(width, round(width * math.sqrt(kept) / stretch)))
        box = round(top * (height - h)), round(left * (width - w)), h, w
        image, mask = tv.crop(image, *box), None if mask is None else tv.crop(mask, *box)
    image = _fitted(image, preprocess, InterpolationMode(preprocess.interpolation))  # grey is made three channels of only at the end
    mask = None if mask is None else resize_mask(mask, preprocess)
    if spec.jitter:
        image = _jittered(image, 1 + spec.jitter * (2 * brightness - 1), 1 + spec.jitter * (2 * contrast - 1))
    if may_flip and flip < spec.flip:
        image, mask = tv.horizontal_flip(image), None if mask is None else tv.horizontal_flip(mask)
    return image.expand(3, -1, -1), mask
