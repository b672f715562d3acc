"""Pictures that are pictures already: PNG, JPEG and what else Pillow reads, from a file or from a part of a tar."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from radisim_cl.corpus.blobs import Blob
from radisim_cl.errors import InputError
from radisim_cl.ingest import _grey
from radisim_cl.ingest._protocol import Outline, Picture, Record, Settings, UnusableError

ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")
AS_IT_WAS = "8 bits, as they were"


def pictures(record: Record, settings: Settings) -> Iterator[Picture]:
    """The image of a record, and its mask if it has one.

    Raises:
        UnusableError: it cannot be decoded, declares too much, or the mask is not of its size.
    """
    name = record.files[0]
    values = decoded(Blob(name, *record.at) if record.at else Blob(name), settings)
    mask = label_map(record.masks[0], values.shape[:2]) if record.masks else None
    yield picture(values, settings, mask=mask)


def picture(values: npt.NDArray[np.uint8 | np.uint16], settings: Settings, plane: str = "", mask: npt.NDArray[np.uint8] | None = None,
            at: int = 0) -> Picture:
    """What is seen of (h, w) grey or (h, w, 3) colour values; made smaller where it is larger than asked for, never larger.

    8 bits stay as they are; 16 bits are windowed by percentiles, and say so.

    Raises:
        UnusableError: nothing but one value in 16 bits.
    """
    size = min(settings.size, max(values.shape[:2]))
    mask = None if mask is None else _grey.label_map(mask, size, (1, 1))
    if values.dtype == np.uint8:
        image = Image.fromarray(values).convert("L")
        pixels = image if size == max(image.size) else image.resize(_grey.sides(values.shape, size, (1, 1)), Image.Resampling.LANCZOS)
        return Picture(np.asarray(pixels), mask, plane, {}, AS_IT_WAS, at)
    measured = values.astype(np.float64)
    centre, width, how = _grey.window(measured, "", "", settings.window, None)
    return Picture(_grey.eight_bits(measured, centre, width, size, (1, 1)), mask, plane, {}, how, at)


def decoded(file: Blob, settings: Settings) -> npt.NDArray[np.uint8 | np.uint16]:
    """(h, w) or (h, w, 3) values of an image file: upright, 8 bits or 16.

    Raises:
        UnusableError: no such file, no image, cut short, or more pixels than are read.
    """
    try:
        data = file.read_bytes()
    except InputError as e:
        raise UnusableError("an image that is not there, or cannot be read") from e
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data)) as image:
            if image.width * image.height * 8.0 > settings.gigabytes * 2**30:
                raise UnusableError(f"declares more than {settings.gigabytes:g} GiB")
            deep = image.mode in ("I", "F") or image.mode.startswith("I;16")
            upright = ImageOps.exif_transpose(image)
            if deep:
                return np.clip(np.asarray(upright, dtype=np.float64), 0, 2**16 - 1).astype(np.uint16)
            return np.asarray(upright.convert("L" if image.mode in ("1", "L", "LA") else "RGB"))
    except UnusableError:
        raise
    except Image.DecompressionBombError as e:
        raise UnusableError(f"declares more than {settings.gigabytes:g} GiB") from e
    except Exception as e:  # decoders raise what they like at bytes that they did not expect
        raise UnusableError("no image that can be decoded") from e


def drawn(outlines: Sequence[Outline], shape: Sequence[int]) -> npt.NDArray[np.uint8] | None:
    """(h, w) label map of boxes and circles, the later over the earlier; None where there is none.

    Raises:
        UnusableError: one that covers no pixel of the image.
    """
    out = np.zeros(shape, dtype=np.uint8)
    rows, columns = np.ogrid[:out.shape[0], :out.shape[1]]
    for value, x, y, *size in outlines:
        if len(size) == 2:
            width, height = size
            inside = (rows >= round(y)) & (rows < round(y + height)) & (columns >= round(x)) & (columns < round(x + width))
        else:
            inside = (columns - x) ** 2 + (rows - y) ** 2 <= size[0] ** 2
        if not inside.any():
            raise UnusableError("an outline that does not lie on its image")
        out[inside] = value
    return out if outlines else None


def label_map(file: Path, shape: tuple[int, ...], colours: bool = False) -> npt.NDArray[np.uint8]:
    """(h, w) values of a mask that is an image, palette indices as they are stored.

    Args:
        file: the mask.
        shape: (h, w) of its image.
        colours: whether the first channel has the values where there are several; otherwise such a mask is none.

    Raises:
        UnusableError: it cannot be decoded, is not of its image's size, or has colours.
    """
    try:
        with Image.open(file) as image:
            if image.size == (shape[1], shape[0]) and image.mode in ("1", "L", "P", *(("RGB", "RGBA") if colours else ())):
                return np.asarray((image if image.mode != "1" else image.convert("L")).getchannel(0))
    except Exception as e:  # as above
        raise UnusableError("a mask that cannot be decoded") from e
    raise UnusableError("a mask that is not of its image's size, or has colours")
