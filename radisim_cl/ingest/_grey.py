"""Grey values: what was measured becomes 8 bits once, by a window that is written down."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from radisim_cl.ingest._protocol import F, UnusableError

SOFT_TISSUE = (40.0, 400.0)
BRAIN = (40.0, 80.0)
"""Centre and width in Hounsfield units (Hofer, CT Teaching Manual)."""
PERCENTILES = (0.5, 99.5)


def window(values: F, modality: str, anatomy: str, asked: str, header: tuple[float, float] | None) -> tuple[float, float, str]:
    """Centre, width, and how they were chosen: what was asked for; the file's own; by region (CT); or by percentiles of the values.

    Raises:
        UnusableError: the values are all the same, or not finite.
    """
    if not np.isfinite(values).all():
        raise UnusableError("values that are not finite")
    if asked != "auto":
        centre, width = map(float, asked.split("/"))
        return centre, width, f"as asked: centre {centre:g}, width {width:g}"
    if header is not None and header[1] >= 1:
        return *header, f"the file's own: centre {header[0]:g}, width {header[1]:g}"
    if modality == "CT":
        name, (centre, width) = ("brain", BRAIN) if anatomy in ("head", "brain") else ("soft tissue", SOFT_TISSUE)
        return centre, width, f"{name}: centre {centre:g}, width {width:g} HU"
    low, high = np.percentile(values, PERCENTILES)
    if low == high:
        raise UnusableError("nothing but one value")
    return (low + high) / 2, high - low, f"percentiles {PERCENTILES[0]} to {PERCENTILES[1]}: {low:g} to {high:g}"


def eight_bits(values: F, centre: float, width: float, size: int, spacing: Sequence[float]) -> npt.NDArray[np.uint8]:
    """(h, w) grey values, the longest side `size` pixels, square ones: first windowed, then resized, then rounded.

    The window is DICOM's LINEAR_EXACT (PS3.3 C.11.2.1.3.2).

    Args:
        values: of one slice.
        centre, width: of the window.
        size: of the longest side.
        spacing: rows', columns' distance; any unit.
    """
    shown = np.clip((values - centre) / width + 0.5, 0, 1) * 255
    resized = Image.fromarray(shown.astype(np.float32)).resize(sides(values.shape, size, spacing), Image.Resampling.BILINEAR)
    grey: npt.NDArray[np.uint8] = np.clip(np.rint(np.asarray(resized)), 0, 255).astype(np.uint8)
    return grey


def label_map(labels: npt.NDArray[np.uint8], size: int, spacing: Sequence[float]) -> npt.NDArray[np.uint8]:
    """A mask, resized as its image is, by the nearest pixel."""
    return np.asarray(Image.fromarray(labels).resize(sides(labels.shape, size, spacing), Image.Resampling.NEAREST))


def sides(shape: Sequence[int], size: int, spacing: Sequence[float]) -> tuple[int, int]:
    """Width and height in square pixels, the longer of them `size`."""
    height, width = shape[0] * spacing[0], shape[1] * spacing[1]
    longest = max(height, width)
    return max(1, round(width / longest * size)), max(1, round(height / longest * size))
