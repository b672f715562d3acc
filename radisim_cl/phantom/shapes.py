"""Solids in millimetres, as functions of position: they can be cut at any plane and at any resolution.

Coordinates are the patient's (DICOM PS3.3 C.7.6.2.1.1, LPS): x grows to the patient's left, y to the back, z to the head. Positions are
given as three arrays that broadcast against each other, so that a regular grid costs no more memory than its axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

A = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Point = tuple[float, float, float]


class Shape(Protocol):
    """A solid."""

    @property
    def box(self) -> tuple[Point, Point]:
        """Lower and upper corner of an axis-aligned box around it."""
    def inside(self, x: A, y: A, z: A) -> Mask:
        """Which positions are in it; the arrays broadcast against each other, and so does the result."""


def rotation(about_x: float = 0.0, about_y: float = 0.0, about_z: float = 0.0) -> npt.NDArray[np.float64]:
    """(3, 3) rotation by angles in degrees, about x first, then y, then z."""
    a, b, c = np.radians([about_x, about_y, about_z])
    rx = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    ry = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    rz = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return np.asarray(rz @ ry @ rx)


@dataclass(frozen=True)
class Ellipsoid:
    """A superellipsoid |u|^n + |v|^n + |w|^n <= 1 (Barr 1981), turned and, if asked, lobulated.

    Attributes:
        centre: mm.
        radii: half-axes in mm, before turning.
        turn: degrees about x, y, z.
        power: n; 2 is an ellipsoid, 4 and more approach a box.
        lobes: amplitude of surface irregularity as a share of the radius, 0 to 0.5.
        waves: how many bulges fit around it, about.
        phase: 9 numbers in 0..1 that make one irregular surface different from another.
    """

    centre: Point
    radii: Point
    turn: Point = (0.0, 0.0, 0.0)
    power: float = 2.0
    lobes: float = 0.0
    waves: float = 3.0
    phase: tuple[float, ...] = (0.1, 0.5, 0.9, 0.3, 0.7, 0.2, 0.6, 0.4, 0.8)

    @property
    def box(self) -> tuple[Point, Point]:
        r = np.asarray(self.radii) * (1 + self.lobes)
        # Of a turned ellipsoid; a power above 2 fills more of its own box, up to its corners.
        turned = rotation(*self.turn)
        half = np.sqrt((turned**2) @ r**2) if self.power <= 2 else np.abs(turned) @ r
        return _corners(np.asarray(self.centre) - half, np.asarray(self.centre) + half)

    def inside(self, x: A, y: A, z: A) -> Mask:
        u, v, w = self._local(x, y, z)
        quadratic = self.power == 2
        d = u * u + v * v + w * w if quadratic else np.abs(u) ** self.power + np.abs(v) ** self.power + np.abs(w) ** self.power
        if not self.lobes:
            return np.asarray(d <= 1)
        p = 2 * np.pi * np.asarray(self.phase, dtype=np.float32)
        k = np.float32(self.waves)
        coarse = (np.sin(k * u + p[0]) * np.cos(k * v + p[1]) + np.sin(k * v + p[2]) * np.cos(k * w + p[3])
                  + np.sin(k * w + p[4]) * np.cos(k * u + p[5]))
        fine = np.sin(2 * k * u + p[6]) * np.cos(2 * k * w + p[7]) + np.sin(2 * k * v + p[8])
        bulge = (coarse + 0.5 * fine) / np.float32(2)
        return np.asarray(d <= (1 + np.float32(self.lobes) * np.clip(bulge, -1, 1)) ** np.float32(self.power))

    def _local(self, x: A, y: A, z: A) -> tuple[A, A, A]:
        dx, dy, dz = (a - np.float32(c) for a, c in zip((x, y, z), self.centre, strict=True))
        if self.turn == (0.0, 0.0, 0.0):
            return dx / np.float32(self.radii[0]), dy / np.float32(self.radii[1]), dz / np.float32(self.radii[2])
        m = (rotation(*self.turn).T / np.asarray(self.radii)[:, None]).astype(np.float32)
        u, v, w = (row[0] * dx + row[1] * dy + row[2] * dz for row in m)
        return u, v, w


@dataclass(frozen=True)
class Tube:
    """A chain of round cones: a vessel, a rib, a ligament, the shaft of a bone.

    Attributes:
        points: at least two, mm.
        radii: one for all points, or one a point, mm.
        flat: (axis, factor): squeezed, or stretched, along x, y or z (0, 1, 2) to this factor of its thickness.
    """

    points: Sequence[Point]
    radii: float | Sequence[float]
    flat: tuple[int, float] | None = None
    _r: tuple[float, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        r = [float(self.radii)] * len(self.points) if isinstance(self.radii, (int, float)) else list(self.radii)
        if len(r) != len(self.points) or len(r) < 2:
            raise ValueError(f"a tube has at least two points and one radius for each, not {len(self.points)} and {len(r)}")
        object.__setattr__(self, "_r", tuple(r))

    @property
    def box(self) -> tuple[Point, Point]:
        p, r = np.asarray(self.points), np.tile(np.asarray(self._r, dtype=float)[:, None], 3)
        if self.flat is not None:
            r[:, self.flat[0]] *= max(1.0, self.flat[1])
        return _corners((p - r).min(0), (p + r).max(0))

    def inside(self, x: A, y: A, z: A) -> Mask:
        out: Mask | None = None
        squeeze = np.ones(3, dtype=np.float32)
        if self.flat is not None:
            squeeze[self.flat[0]] = 1 / self.flat[1]
        for a, b, ra, rb in zip(self.points[:-1], self.points[1:], self._r[:-1], self._r[1:], strict=True):
            axis = (np.asarray(b) - np.asarray(a)).astype(np.float32)
            length = float(axis @ axis) or 1.0
            d = [p - np.float32(c) for p, c in zip((x, y, z), a, strict=True)]
            along = np.clip((d[0] * axis[0] + d[1] * axis[1] + d[2] * axis[2]) / np.float32(length), 0, 1)
            off = sum((((p - along * c) * s) ** 2 for p, c, s in zip(d, axis, squeeze, strict=True)), start=np.float32(0))
            part = np.asarray(off <= (np.float32(ra) + np.float32(rb - ra) * along) ** 2)
            out = part if out is None else out | part
        assert out is not None
        return out


@dataclass(frozen=True)
class Cut:
    """What of a shape lies on one side of a plane: normal . (p - point) <= 0.

    Attributes:
        shape: the whole.
        point: on the plane, mm.
        normal: towards what is cut off; any length.
    """

    shape: Shape
    point: Point
    normal: Point

    @property
    def box(self) -> tuple[Point, Point]:
        return self.shape.box

    def inside(self, x: A, y: A, z: A) -> Mask:
        side = sum(((p - np.float32(c)) * np.float32(n) for p, c, n in zip((x, y, z), self.point, self.normal, strict=True)), start=np.float32(0))
        return np.asarray(self.shape.inside(x, y, z) & (side <= 0))


@dataclass(frozen=True)
class Without:
    """A shape with another one taken out of it."""

    shape: Shape
    hole: Shape

    @property
    def box(self) -> tuple[Point, Point]:
        return self.shape.box

    def inside(self, x: A, y: A, z: A) -> Mask:
        return np.asarray(self.shape.inside(x, y, z) & ~self.hole.inside(x, y, z))


def phase(rng: np.random.Generator) -> tuple[float, ...]:
    """Nine numbers for `Ellipsoid.phase`."""
    return tuple(float(p) for p in rng.random(9))


def _corners(low: npt.NDArray[np.float64], high: npt.NDArray[np.float64]) -> tuple[Point, Point]:
    return (float(low[0]), float(low[1]), float(low[2])), (float(high[0]), float(high[1]), float(high[2]))
