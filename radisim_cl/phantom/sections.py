"""Planes through a body, as an examination chooses them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from radisim_cl.phantom.body import Body, Index, Lesion
from radisim_cl.phantom.shapes import A, Point, rotation
from radisim_cl.phantom.tissues import NAMES

Plane = Literal["axial", "sagittal", "coronal"]
PLANES: tuple[Plane, ...] = ("axial", "sagittal", "coronal")
OVERSAMPLING = 2
"""Positions a pixel and axis; their mean is the pixel, so that edges have partial volume."""

_COLUMN: dict[Plane, Point] = {"axial": (1, 0, 0), "sagittal": (0, 1, 0), "coronal": (1, 0, 0)}
_ROW: dict[Plane, Point] = {"axial": (0, 1, 0), "sagittal": (0, 0, -1), "coronal": (0, 0, -1)}
NORMAL: dict[Plane, int] = {"axial": 2, "sagittal": 0, "coronal": 1}
"""Which axis a plane is perpendicular to."""


@dataclass(frozen=True)
class Section:
    """A square picture of one plane. The patient's right is on the left of axial and coronal ones; sagittal ones look to the right.

    Attributes:
        plane: which.
        centre: mm; the middle of the picture.
        width: side of the picture, mm.
        turn: how the patient lies in the scanner, degrees about x, y, z.
        size: pixels a side.
    """

    plane: Plane
    centre: Point
    width: float
    turn: Point = (0.0, 0.0, 0.0)
    size: int = 96

    def positions(self) -> tuple[A, A, A]:
        """x, y and z of (size * OVERSAMPLING)^2 positions, mm."""
        n = self.size * OVERSAMPLING
        t = ((np.arange(n) + 0.5) / n - 0.5) * self.width
        turn = rotation(*self.turn)
        column, row = turn @ np.asarray(_COLUMN[self.plane]), turn @ np.asarray(_ROW[self.plane])
        x, y, z = (np.asarray(c + t[None, :] * u + t[:, None] * v, dtype=np.float32)
                   for c, u, v in zip(self.centre, column, row, strict=True))
        return x, y, z

    def cut(self, body: Body) -> Sampled:
        """The body's parts in this plane."""
        x, y, z = self.positions()
        return Sampled(body, body.sample(x, y, z), x, y, z)


@dataclass(frozen=True)
class Sampled:
    """What lies at the positions of a section.

    Attributes:
        body: of which.
        index: (n, n) index of the part, AIR where there is none.
        x, y, z: (n, n) mm.
    """

    body: Body
    index: Index
    x: A
    y: A
    z: A

    def lookup(self, values: npt.NDArray[np.float32], air: float) -> A:
        """(n, n) a constant of each position's tissue.

        Args:
            values: (tissues,) in the order of `tissues.NAMES`.
            air: outside the body.
        """
        number = {n: i for i, n in enumerate(NAMES)}
        by_part = np.array([values[number[p.tissue]] for p in self.body.parts] + [air], dtype=np.float32)
        out: A = by_part[self.index]
        return out

    def labels(self, codes: dict[str, int]) -> npt.NDArray[np.uint8]:
        """(size, size) codes of the structures, from the position next to each pixel's middle; `body` for what has no code, 0 outside."""
        inside = codes.get("body", 0)
        by_part = np.array([codes.get(p.structure, inside) for p in self.body.parts] + [0], dtype=np.uint8)
        middle = self.index[OVERSAMPLING // 2 :: OVERSAMPLING, OVERSAMPLING // 2 :: OVERSAMPLING]
        out: npt.NDArray[np.uint8] = by_part[middle]
        return out

    def shares(self) -> dict[str, float]:
        """Part of the picture that each labelled structure fills, 0 to 1; those that are not in it are absent."""
        out: dict[str, float] = {}
        for part, share in zip(self.body.parts, self._by_part, strict=True):
            if part.structure and share:
                out[part.structure] = out.get(part.structure, 0.0) + float(share)
        return out

    def share(self, lesion: Lesion) -> float:
        """Part of the picture that a finding fills, 0 to 1."""
        own = {id(p) for p in lesion.parts}
        return float(sum(share for p, share in zip(self.body.parts, self._by_part, strict=True) if id(p) in own))

    @cached_property
    def _by_part(self) -> npt.NDArray[np.float64]:
        counts = np.bincount(self.index.ravel() + 1, minlength=len(self.body.parts) + 1)[1:]
        return np.asarray(counts / self.index.size)


def pooled(values: A) -> A:
    """(n, n) positions to (n / OVERSAMPLING)^2 pixels."""
    n = values.shape[0] // OVERSAMPLING
    out: A = values.reshape(n, OVERSAMPLING, n, OVERSAMPLING).mean(axis=(1, 3))
    return out
