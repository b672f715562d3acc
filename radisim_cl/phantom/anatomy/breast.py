"""Both breasts of a woman on the chest wall, as she lies prone; tumours. The origin is on the breastbone between the nipples.

Sizes: Huang et al. 2011 (Med Phys 38:2180, diameters, skin and glandular share of breasts in CT), Vandeweyer and Hertens 2002 (Ann Anat 184:181,
what a breast is made of), D'Orsi et al. 2013 (ACR BI-RADS atlas: categories of density a to d; shape and margin of masses).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from radisim_cl.phantom.body import Body, Lesion, Part
from radisim_cl.phantom.patients import Patient
from radisim_cl.phantom.shapes import Cut, Ellipsoid, Point, Shape, Tube, phase

FINDINGS = ("breast tumour",)
SIDES: tuple[tuple[Literal["right", "left"], int], ...] = (("right", -1), ("left", 1))


@dataclass(frozen=True)
class Breast:
    """One breast.

    Attributes:
        side: 1 for the left one, -1 for the right one.
        nipple: mm.
        radii: half-axes of the breast across, from the chest wall to the nipple, and from foot to head, mm.
        dense: share of gland, 0 to 1: BI-RADS a to d.
    """

    side: int
    nipple: Point
    radii: Point
    dense: float

    @property
    def name(self) -> str:
        """As masks and reports call it."""
        return "left breast" if self.side > 0 else "right breast"

    def at(self, outward: float, deep: float, up: float) -> Point:
        """A place as shares of the half-axes: away from the midline, from the chest wall to the nipple, up."""
        x, y, z = self.radii
        return float(self.nipple[0] + self.side * outward * x), float(-deep * y), float(self.nipple[2] + up * z)


def build(patient: Patient, findings: Sequence[str] = ()) -> Body:
    """Both breasts of a patient with findings of FINDINGS.

    Raises:
        ValueError: a finding that a breast cannot have.
    """
    _known(findings)
    both = breasts(patient)
    parts = [*_chest(patient, patient.rng("breast", "chest")), *(p for b in both for p in _breast(b, patient))]
    lesions = tuple(_tumour(patient, {b.side: b for b in both}) for _ in findings)
    wide, front = max(abs(b.nipple[0]) + b.radii[0] for b in both) + 10, max(b.radii[1] for b in both) + 12
    field = (-wide, -front, -85.0), (wide, 2 * wide - front - 45, 85.0)
    return Body("breast", (*parts, *(p for lesion in lesions for p in lesion.parts)), field, lesions,
                key=f"{patient.seed}/{patient.name}/breast")


def compressed(patient: Patient, side: Literal["left", "right"], findings: Sequence[str] = ()) -> Body:
    """One breast alone, flattened from side to side as for a lateral mammogram (`dr.integrals(..., "lateral", ...)`).

    A tumour of the other breast is absent from it.

    Raises:
        ValueError: a finding that a breast cannot have.
    """
    _known(findings)
    flat = {b.side: Breast(b.side, b.nipple, (0.4 * b.radii[0], 1.12 * b.radii[1], 1.12 * b.radii[2]), b.dense) for b in breasts(patient)}
    b = flat[1 if side == "left" else -1]
    x, y, z = b.nipple[0], b.radii[1], b.radii[2]
    wall = Ellipsoid((x, 30.0, 1.1 * z), (0.6 * b.radii[0], 34.0, 1.3 * z), turn=(-10.0, 0.0, 0.0))
    lesions = tuple(lesion for lesion in (_tumour(patient, flat) for _ in findings) if lesion.place.startswith(side))
    parts = [*_breast(b, patient, plates=True), Part("pectoral muscle", "muscle", wall, 0.05, 4, within=(b.name, "gland"))]
    thick, high = 1.1 * b.radii[0], 0.5 * (y + 18)
    return Body("breast", (*parts, *(p for lesion in lesions for p in lesion.parts)), ((x - thick, -y - 8, -high), (x + thick, 10.0, high)), lesions,
                side, f"{patient.seed}/{patient.name}/breast")


def breasts(patient: Patient) -> tuple[Breast, Breast]:
    """The patient's right and left breast."""
    rng = patient.rng("breast")
    volume = float(np.clip(0.62 + 0.3 * patient.fat + 0.12 * rng.standard_normal(), 0.6, 1.3))
    dense = float(np.clip(0.75 - 0.009 * (patient.age - 30) - 0.18 * (patient.fat - 1) + 0.18 * rng.standard_normal(), 0.05, 1))

    def one(side: int) -> Breast:
        own = volume * float(1 + 0.04 * rng.standard_normal())
        r = np.array([64.0, 84.0, 66.0]) * patient.size * own ** np.array([0.6, 1.0, 0.6])
        return Breast(side, (side * (78.0 * patient.size + 4 * float(rng.standard_normal())), float(-r[1]), float(rng.normal(-4, 5))),
                      (float(r[0]), float(r[1]), float(r[2])), float(np.clip(dense + 0.05 * rng.standard_normal(), 0.05, 1)))

    return one(-1), one(1)


def _known(findings: Sequence[str]) -> None:
    if unknown := [f for f in findings if f not in FINDINGS]:
        raise ValueError(f"no finding {unknown[0]!r} in a breast; known: {', '.join(FINDINGS)}")


def _chest(patient: Patient, rng: np.random.Generator) -> list[Part]:
    """Skin, fat, muscles, ribs, lungs, heart, spine."""
    k, fat = patient.size, 5 + 7 * patient.fat
    middle, r = (0.0, 108.0 * k, 0.0), np.array([148.0, 100.0, 420.0]) * k + rng.normal(0, 3)

    def shell(tissue: str, d: float, structure: str = "") -> Part:
        return Part(structure, tissue, Ellipsoid(middle, (float(r[0] + d), float(r[1] + d), float(r[2]))), 0.05 if tissue == "muscle" else 0.0, 5)

    out = [shell("skin", fat + 2), shell("fat", fat), shell("muscle", 0, "pectoral muscle"), shell("fat", -9), shell("muscle", -12, "chest wall")]
    for s in (-1, 1):
        for level in range(-3, 4):  # each rib goes down on its way to the front
            z = level * 27.0 * k
            course = [(s * 0.5 * r[0], middle[1] + 0.74 * r[1], z + 32), (s * 0.87 * r[0], middle[1] + 0.2 * r[1], z + 12),
                      (s * 0.75 * r[0], middle[1] - 0.48 * r[1], z - 14), (s * 0.12 * r[0], middle[1] - 0.84 * r[1], z - 10)]
            out.append(Part("ribs", "cortical bone", Tube(course, [5, 5, 5, 4.5])))
    half = float(0.42 * r[0]), float(0.72 * r[1]), 190.0 * k
    lungs = [Ellipsoid((s * 0.46 * r[0], middle[1] + 0.02 * r[1], 20.0), half, turn=(0, 0, -s * 8)) for s in (-1, 1)]
    heart = (28.0 * k, middle[1] - 0.28 * r[1], -22.0)
    out += [Part("", "fat", Ellipsoid((0.0, middle[1], 0.0), (float(0.3 * r[0]), float(0.72 * r[1]), 200.0))),
            *(Part(f"{side} lung", "lung", lung, 0.3, 5) for (side, _), lung in zip(SIDES, lungs, strict=True)),
            Part("heart", "myocardium", Ellipsoid(heart, (52 * k, 42 * k, 60 * k), turn=(0, 0, 30)), 0.04, 8),
            Part("heart", "blood", Ellipsoid((heart[0] + 14, heart[1] + 8, heart[2]), (24 * k, 20 * k, 42 * k), turn=(0, 0, 30))),
            Part("heart", "blood", Ellipsoid((heart[0] - 26, heart[1] - 4, heart[2] + 4), (20 * k, 24 * k, 40 * k), turn=(0, 0, 30))),
            Part("aorta", "blood", Tube([(22.0, middle[1] + 0.42 * r[1], -200.0), (24.0, middle[1] + 0.42 * r[1], 200.0)], 12 * k)),
            Part("spine", "cortical bone", Tube([(0.0, middle[1] + 0.58 * r[1], -200.0), (0.0, middle[1] + 0.58 * r[1], 200.0)], 19 * k)),
            Part("spine", "marrow", Tube([(0.0, middle[1] + 0.58 * r[1], -200.0), (0.0, middle[1] + 0.58 * r[1], 200.0)], 17.5 * k), 0.08, 5),
            Part("sternum", "cortical bone", Ellipsoid((0.0, middle[1] - 0.86 * r[1], 5.0), (19.0, 7.0, 95.0), power=3)),
            Part("sternum", "marrow", Ellipsoid((0.0, middle[1] - 0.86 * r[1], 5.0), (17.0, 5.0, 92.0), power=3))]
    out += [Part("", "blood", Tube([(s * 24.0, middle[1] - 0.8 * r[1], -150.0), (s * 24.0, middle[1] - 0.8 * r[1], 150.0)], 1.8)) for s in (-1, 1)]
    return out


def _breast(b: Breast, patient: Patient, plates: bool = False) -> list[Part]:
    """A sagging half-ellipsoid of fat in skin; the gland is a cone towards the nipple, broken up by fat where it is not dense."""
    rng = patient.rng("breast", b.name)
    x, y, z = b.radii
    base = b.at(0.0, 0.0, 0.05)

    def dome(d: float) -> list[Shape]:
        wide = 2.4 if plates else 1.0  # between plates, what they leave of something wider
        whole = [Ellipsoid(base, (wide * x + 3 - d, y * 0.72 - d, z + 3 - d)),
                 Ellipsoid((base[0], base[1], base[2] - 0.06 * z), (wide * x * 0.88 - d, y - d, z * 0.86 - d))]
        return [Cut(Cut(e, (base[0] - x + d, 0, 0), (-1, 0, 0)), (base[0] + x - d, 0, 0), (1, 0, 0)) for e in whole] if plates else [*whole]

    within, edge = (b.name,), phase(rng)
    out = [Part("", "skin", shape) for shape in dome(0.0)] + [Part(b.name, "fat", shape, 0.04, 10) for shape in dome(2.0)]
    out.append(Part("nipple", "skin", Ellipsoid((b.nipple[0], -y + 1, base[2] - 0.06 * z), (min(6.0, 0.4 * x), 5.5, 6.0))))
    size = 0.55 + 0.3 * b.dense
    lobes = [((0.0, 0.42, 0.0), (0.74, 0.5, 0.74)), ((0.2, 0.3, 0.22), (0.62, 0.28, 0.55))]
    for where, (across, deep, high) in lobes:
        half = across * size * x, deep * (0.65 + 0.35 * b.dense) * y, high * size * z
        out.append(Part("gland", "gland", Ellipsoid(b.at(*where), half, lobes=0.5, waves=5.5, phase=edge), 0.14, 6, within=within))
    for _ in range(round(3 + 9 * (1 - b.dense))):  # fat lobules in it
        spot = b.at(rng.uniform(-0.45, 0.5), rng.uniform(0.15, 0.75), rng.uniform(-0.45, 0.5))
        shape = Ellipsoid(spot, _point(rng.uniform(5, 13, 3) * np.array([x / 60, 1, 1])), lobes=0.3, phase=phase(rng))
        out.append(Part(b.name, "fat", shape, 0.04, 10, within=("gland",)))
    for _ in range(5):  # ducts
        start = b.at(rng.uniform(-0.4, 0.45), rng.uniform(0.3, 0.5), rng.uniform(-0.4, 0.45))
        out.append(Part("gland", "gland", Tube([start, (b.nipple[0], 6 - y, base[2] - 0.06 * z)], [2.6, 1.2]), 0.1, 4, within=within))
    for _ in range(2):  # veins
        points = [b.at(rng.uniform(-0.7, 0.7), d, rng.uniform(-0.7, 0.7)) for d in (0.05, 0.4, 0.75)]
        out.append(Part("", "blood", Tube(points, 1.1), within=within))
    for _ in range(int(rng.integers(0, 3)) if rng.random() < 0.5 else 0):  # cysts
        size = rng.uniform(2.5, 7)
        spot = b.at(rng.uniform(-0.4, 0.5), rng.uniform(0.25, 0.65), rng.uniform(-0.4, 0.4))
        out.append(Part("cyst", "water", Ellipsoid(spot, (min(size, 0.3 * x), size, size)), within=(b.name, "gland")))
    return out


def _tumour(patient: Patient, both: dict[int, Breast]) -> Lesion:
    """Round and smooth, irregular, or spiculated; the larger ones may be dead inside."""
    rng = patient.rng("breast", "breast tumour")
    b = both[1 if rng.random() < 0.5 else -1]
    outer, upper = rng.random() < 0.6, rng.random() < 0.6
    where = b.at((1 if outer else -1) * rng.uniform(0.24, 0.5), rng.uniform(0.25, 0.62), (1 if upper else -1) * rng.uniform(0.22, 0.46))
    r = rng.uniform(9, 17) * rng.uniform(0.85, 1.15, 3)
    r[0] *= min(1.0, b.radii[0] / 45)  # a compressed breast flattens it a little
    kind, within = rng.random(), (b.name, "gland", "cyst", "")
    edge = 0.06 if kind < 0.25 else 0.4 if kind < 0.6 else 0.25
    mass = Ellipsoid(where, _point(r), lobes=edge, waves=4, phase=phase(rng))
    parts = [Part("breast tumour", "breast tumour", mass, rng.uniform(0.08, 0.2), 4, within=within)]
    if kind >= 0.6:
        for _ in range(9):
            d = rng.standard_normal(3)
            tip = np.asarray(where) + d / np.linalg.norm(d) * r * rng.uniform(1.5, 2.3)
            parts.append(Part("breast tumour", "breast tumour", Tube([where, _point(tip)], [0.3 * float(r.min()), 0.7]), 0.1, 4, within=within))
    if r.max() > 11 and rng.random() < 0.6:
        parts.append(Part("breast tumour", "necrosis", Ellipsoid(where, _point(r * rng.uniform(0.35, 0.6)), lobes=0.3, phase=phase(rng)), 0.05, 4,
                          within=("breast tumour",)))
    place = f"{b.name}, {'upper' if upper else 'lower'} {'outer' if outer else 'inner'} quadrant"
    return Lesion("breast tumour", place, tuple(parts), where, _point(r))


def _point(p: np.ndarray) -> Point:
    return float(p[0]), float(p[1]), float(p[2])
