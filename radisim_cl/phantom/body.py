"""A body is a painting in three dimensions: parts in order, each over those before it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from radisim_cl.phantom.patients import generator
from radisim_cl.phantom.shapes import A, Point, Shape
from radisim_cl.phantom.tissues import TISSUES

AIR = -1
"""The index of no part."""
Index = npt.NDArray[np.int16]


@dataclass(frozen=True)
class Part:
    """One solid of one tissue.

    Attributes:
        structure: what an anatomist or a mask calls it (`left kidney`, `glioma`); "" for filling that nobody labels.
        tissue: a name of `tissues.TISSUES`.
        shape: where it is.
        texture: spread of the signal inside it, relative to the tissue's own signal, 0 to 1.
        grain: size of the texture's blobs in mm.
        within: structures that it may replace; empty: anything. Ground glass stays within the lungs.
    """

    structure: str
    tissue: str
    shape: Shape
    texture: float = 0.0
    grain: float = 8.0
    within: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.tissue not in TISSUES:
            raise ValueError(f"unknown tissue {self.tissue!r}; known: {', '.join(TISSUES)}")


@dataclass(frozen=True)
class Lesion:
    """A finding as it was put into a body.

    Attributes:
        finding: its name: `glioma`, `pleural effusion`.
        place: where, in the words of a report, the patient's side first: `left frontal lobe`; "" where it has no place.
        parts: painted over the anatomy, in order.
        centre: mm; slices that must show the finding go through it.
        extent: half-size in mm along x, y, z.
    """

    finding: str
    place: str
    parts: tuple[Part, ...]
    centre: Point
    extent: Point


@dataclass(frozen=True)
class Body:
    """One region of one patient.

    Attributes:
        region: head, chest, abdomen, pelvis, knee, breast or lumbar spine.
        parts: in painting order, lesions last.
        field: lower and upper corner of what an examination of the region covers, mm.
        lesions: what is wrong with it.
        side: `left` or `right` for a knee or a breast, else "".
        key: names the random texture of its parts, so that every slice of a body cuts the same one.
    """

    region: str
    parts: tuple[Part, ...]
    field: tuple[Point, Point]
    lesions: tuple[Lesion, ...] = ()
    side: str = ""
    key: str = ""

    def sample(self, x: A, y: A, z: A) -> Index:
        """Index of the topmost part at each position, AIR where there is none.

        Args:
            x, y, z: mm, float32, with as many dimensions each, broadcastable against each other.
        """
        shape = np.broadcast_shapes(x.shape, y.shape, z.shape)
        out = np.full(shape, AIR, dtype=np.int16)
        for i, window in _windows(self._boxes, (x, y, z), shape):
            part = self.parts[i]
            inside = part.shape.inside(*(a[tuple(slice(None) if a.shape[d] == 1 else s for d, s in enumerate(window))] for a in (x, y, z)))
            target = out[window]
            if part.within:
                inside = inside & self._replaceable[i][target]
            target[np.broadcast_to(inside, target.shape)] = i
        return out

    @cached_property
    def _boxes(self) -> npt.NDArray[np.float64]:
        """(parts, 2, 3) lower and upper corners, mm."""
        return np.array([p.shape.box for p in self.parts]).reshape(-1, 2, 3)

    @cached_property
    def _replaceable(self) -> list[npt.NDArray[np.bool_]]:
        """By part, whether it may replace part i; the last entry is air (index -1)."""
        return [np.array([q.structure in p.within for q in self.parts] + [False]) for p in self.parts]

    @cached_property
    def reach(self) -> tuple[Point, Point]:
        """Lower and upper corner of a box around all of it, mm. Parts that stay within others do not widen it."""
        free = [i for i, p in enumerate(self.parts) if not p.within]
        low, high = self._boxes[free, 0].min(0), self._boxes[free, 1].max(0)
        return (float(low[0]), float(low[1]), float(low[2])), (float(high[0]), float(high[1]), float(high[2]))

    @cached_property
    def structures(self) -> tuple[str, ...]:
        """Names of the labelled structures, sorted."""
        return tuple(sorted({p.structure for p in self.parts} - {""}))

    def centre(self, structure: str) -> Point:
        """Middle of the box around all parts of a structure, mm.

        Raises:
            KeyError: the body has none.
        """
        boxes = [p.shape.box for p in self.parts if p.structure == structure]
        if not boxes:
            raise KeyError(f"no {structure!r} in this {self.region}; it has {', '.join(self.structures)}")
        low, high = np.min([b[0] for b in boxes], axis=0), np.max([b[1] for b in boxes], axis=0)
        middle = (low + high) / 2
        return float(middle[0]), float(middle[1]), float(middle[2])


_STRIDE = 8
"""Of a plane's positions, how many steps apart those are by which windows are found."""


def _windows(boxes: npt.NDArray[np.float64], axes: tuple[A, A, A], shape: tuple[int, ...]) -> Iterator[tuple[int, tuple[slice, ...]]]:
    """By part that may be met, its number and a block of the positions that holds all those in its box."""
    start, stop = np.zeros((len(boxes), len(shape)), dtype=int), np.tile(shape, (len(boxes), 1))
    for low, high, a in zip(boxes[:, 0].T, boxes[:, 1].T, axes, strict=True):
        many = [d for d in range(a.ndim) if a.shape[d] > 1]
        stride = _STRIDE if len(many) > 1 else 1
        # Between two positions that are looked at there may be one that is nearer, by no more than the way between them.
        slack = sum(float(np.abs(np.diff(a, axis=d)).max()) * stride for d in many) if stride > 1 else 0.0
        seen = a[tuple(slice(None, None, stride if d in many else 1) for d in range(a.ndim))]
        wide = (slice(None), *(None,) * a.ndim)
        near = (seen[None] >= (low - slack)[wide]) & (seen[None] <= (high + slack)[wide])
        for d in many:
            hit = near.any(axis=tuple(k + 1 for k in range(a.ndim) if k != d))
            first, last = hit.argmax(axis=1), hit.shape[1] - hit[:, ::-1].argmax(axis=1)
            start[:, d] = np.maximum(start[:, d], (first - (stride > 1)) * stride)
            stop[:, d] = np.where(hit.any(axis=1), np.minimum(stop[:, d], last * stride), 0)
        if not many:
            stop[~near.reshape(len(boxes), -1).any(axis=1)] = 0
    for i in np.flatnonzero((start < stop).all(axis=1)):
        yield int(i), tuple(slice(int(u), int(v)) for u, v in zip(start[i], stop[i], strict=True))


def textures(body: Body, index: Index, x: A, y: A, z: A) -> A:
    """Relative deviation of the signal at each position: 0 where a part is homogeneous.

    Args:
        body: whose parts.
        index: from `body.sample` at the same positions.
        x, y, z: mm, broadcastable to the shape of `index`.
    """
    out = np.zeros(index.shape, dtype=np.float32)
    x, y, z = (np.broadcast_to(a, index.shape) for a in (x, y, z))
    for i, part in enumerate(body.parts):
        if part.texture and (here := index == i).any():
            field = waves(x[here], y[here], z[here], part.grain, generator(0, body.key, "texture", i))
            out[here] = np.float32(part.texture) * np.clip(field, -2.5, 2.5)
    return out


def waves(x: A, y: A, z: A, grain: float, rng: np.random.Generator, n: int = 6) -> A:
    """A smooth random field with mean 0 and deviation about 1: a sum of plane waves of random direction.

    Args:
        x, y, z: mm, broadcastable.
        grain: about half a wavelength, mm.
        rng: the direction, length and phase of the waves.
        n: how many.
    """
    total = np.zeros(np.broadcast_shapes(x.shape, y.shape, z.shape), dtype=np.float32)
    for _ in range(n):
        direction = rng.standard_normal(3)
        k = np.pi / grain * rng.uniform(0.6, 1.4) * direction / np.linalg.norm(direction)
        total += np.cos(np.float32(k[0]) * x + np.float32(k[1]) * y + np.float32(k[2]) * z + np.float32(2 * np.pi * rng.random()))
    return total * np.float32(np.sqrt(2 / n))
