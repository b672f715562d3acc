"""Maps of where something is, and the boxes that come out of them. Boxes are (top, left, bottom, right), the last two exclusive."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

F = npt.NDArray[np.float64]
B = npt.NDArray[np.bool_]
Box = tuple[int, int, int, int]


class Component(NamedTuple):
    """Pixels of a label map that touch.

    Attributes:
        peak: the highest probability in it.
        area: its pixels.
        box: around it.
    """

    peak: float
    area: int
    box: Box


def upsampled(maps: F, size: int) -> F:
    """(..., gh, gw) to (..., size, size), bilinear between the centres of patches."""
    rows, columns = _bilinear(maps.shape[-2], size), _bilinear(maps.shape[-1], size)
    out: F = rows @ maps @ columns.T
    return out


@functools.cache
def _bilinear(patches: int, size: int) -> F:
    """(size, patches) weights: each row sums to 1, and beyond the outermost centres the map is flat."""
    at = np.clip((np.arange(size) + 0.5) * patches / size - 0.5, 0, patches - 1)
    weights: F = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(patches)))
    return weights


def components(heat: F, threshold: float) -> list[Component]:
    """The components (4-connected) of the pixels of an (S, S) map that reach a threshold, the largest first."""
    inside = heat >= threshold
    if not inside.any():
        return []
    labels, n = ndimage.label(inside)
    of = labels[inside] - 1
    peaks, areas = np.zeros(n), np.bincount(of)
    np.maximum.at(peaks, of, heat[inside])  # ndimage.maximum sorts every pixel of the map
    boxes = [(r.start, c.start, r.stop, c.stop) for r, c in ndimage.find_objects(labels)]
    found = [Component(float(p), int(a), b) for p, a, b in zip(peaks, areas, boxes, strict=True)]
    return sorted(found, key=lambda c: -c.area)


def chosen(found: list[Component], threshold: float) -> Box | None:
    """The box of the largest component whose peak reaches a threshold."""
    return next((c.box for c in found if c.peak >= threshold), None)


def extent(mask: B) -> Box | None:
    """The box around an (S, S) mask; None if it is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1) if len(rows) else None


def iou(a: Box | None, b: Box | None) -> float:
    """Intersection over union; 0 where there is no box."""
    if a is None or b is None:
        return 0.0
    shared = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def dice(a: B, b: B) -> float:
    """Twice the intersection over the sum of areas; 0 where both are empty."""
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else 0.0
