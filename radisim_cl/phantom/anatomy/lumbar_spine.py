"""The lumbar spine: vertebrae, discs, canal, and the trunk around them; herniated discs and wedge fractures. The origin is the middle of L3.

Sizes: Panjabi et al. 1992 (Spine 17:299, vertebrae), Gilad and Nissan 1986 (Spine 11:154, discs), Been and Kalichman 2014 (Spine J
14:87, lordosis), Saifuddin, Burnett and White 1998 (Spine 23:1452, level of the conus). Dry discs by age after Pfirrmann et al. 2001 (Spine
26:1873) and Brinjikji et al. 2015 (AJNR 36:811); wedge deformity after Genant et al. 1993 (J Bone Miner Res 8:1137).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from radisim_cl.phantom.body import Body, Lesion, Part
from radisim_cl.phantom.patients import Patient
from radisim_cl.phantom.shapes import Cut, Ellipsoid, Point, Shape, Tube, phase

FINDINGS = ("disc herniation", "vertebral fracture")
LEVELS = ("T11", "T12", "L1", "L2", "L3", "L4", "L5")
DISCS = ("T11/T12", "T12/L1", "L1/L2", "L2/L3", "L3/L4", "L4/L5", "L5/S1")
TILTS = (-18.0, -19.0, -17.0, -10.0, -2.0, 8.0, 22.0)
"""How the vertebrae of LEVELS lean to the front on average, degrees; the sacrum leans by 42."""
_L3 = LEVELS.index("L3")
REACH = (34.0, 66.0, 122.0)
"""Half the field of an average spine along x, y, z, mm: narrow across, for sagittal slices are taken of the spine alone."""


@dataclass(frozen=True)
class Vertebra:
    """A box along the spine: the body of a vertebra, or a disc.

    Attributes:
        centre: mm.
        tilt: leaning to the front, degrees.
        half: half its width, depth and height, mm.
        wedge: angle between its endplates, open to the back, degrees.
    """

    centre: Point
    tilt: float
    half: Point
    wedge: float = 0.0

    def at(self, x: float, back: float, up: float) -> Point:
        """The patient's coordinates of a place in mm along the vertebra's own axes."""
        a = np.radians(self.tilt)
        return (float(self.centre[0] + x), float(self.centre[1] + back * np.cos(a) - up * np.sin(a)),
                float(self.centre[2] + back * np.sin(a) + up * np.cos(a)))

    @property
    def top(self) -> float:
        """Height of the middle of the upper endplate over the centre, mm."""
        return float(self.half[2] - self.half[1] * np.tan(np.radians(self.wedge)))

    def body(self, d: float = 0.0) -> Shape:
        """What is left of it without a shell of d mm."""
        x, y, z = self.half
        box = Ellipsoid(self.centre, (x - d, y - d, z - d), turn=(self.tilt, 0.0, 0.0), power=4)
        if not self.wedge:
            return box
        a = np.radians(self.tilt + self.wedge)  # the upper endplate turns about its back edge
        return Cut(box, self.at(0, y, z - d), (0.0, -float(np.sin(a)), float(np.cos(a))))


@dataclass(frozen=True)
class Column:
    """The course of the spine.

    Attributes:
        vertebrae: those of LEVELS.
        sacrum: S1 to S3.
        gaps: height of the discs under them, mm.
        dry: which of these have lost their water.
    """

    vertebrae: tuple[Vertebra, ...]
    sacrum: tuple[Vertebra, ...]
    gaps: tuple[float, ...]
    dry: tuple[bool, ...]

    def disc(self, i: int) -> Vertebra:
        """The disc under vertebra i, reaching a little into the endplates' hollows."""
        upper, lower = self.vertebrae[i], (*self.vertebrae, self.sacrum[0])[i + 1]
        middle = (np.asarray(upper.at(0, 0, -upper.half[2])) + np.asarray(lower.at(0, 0, lower.top))) / 2
        return Vertebra(_point(middle), (upper.tilt + lower.tilt + lower.wedge) / 2,
                        (0.99 * lower.half[0], 0.98 * lower.half[1], self.gaps[i] / 2 + 2.2 + 0.1 * lower.wedge))


def build(patient: Patient, findings: Sequence[str] = ()) -> Body:
    """The lumbar spine of a patient with findings of FINDINGS.

    Raises:
        ValueError: a finding that a lumbar spine cannot have.
    """
    if unknown := [f for f in findings if f not in FINDINGS]:
        raise ValueError(f"no finding {unknown[0]!r} in a lumbar spine; known: {', '.join(FINDINGS)}")
    broken = _fracture_site(patient) if "vertebral fracture" in findings else None
    column = course(patient, broken)
    rng = patient.rng("lumbar spine")
    parts = [*_trunk(patient, column, rng), *_pelvis(patient), *_spine(column, broken, rng), *_canal(column, rng)]
    lesions = tuple(_herniation(patient, column) if f == "disc herniation" else _fracture(patient, column) for f in findings)
    x, y, z = (patient.size * r for r in REACH)
    return Body("lumbar spine", (*parts, *(p for lesion in lesions for p in lesion.parts)), ((-x, -y, -z), (x, y, z)), lesions,
                key=f"{patient.seed}/{patient.name}/lumbar spine")


def course(patient: Patient, broken: tuple[int, float] | None = None) -> Column:
    """Where the vertebrae of this patient are.

    Args:
        patient: whose.
        broken: index in LEVELS of a wedged vertebra, and the angle of the wedge in degrees.
    """
    rng = patient.rng("lumbar spine", "column")
    k = patient.size * float(1 + 0.02 * rng.standard_normal())
    curve, lean = float(np.clip(1 + 0.22 * rng.standard_normal(), 0.5, 1.5)), float(2 * rng.standard_normal())
    worn = np.clip((patient.age - 30) / 60 + np.array([-0.3, -0.3, -0.25, -0.18, -0.08, 0.08, 0.12]), 0.02, 0.85)
    dry = tuple(bool(rng.random() < w) for w in worn)
    gaps = tuple(float(g * k * (rng.uniform(0.55, 0.85) if d else rng.uniform(0.92, 1.08)))
                 for g, d in zip((6, 7, 8.5, 9.5, 10.5, 11.5, 11), dry, strict=True))
    halves = [((20 + 0.9 * i) * k, (16.3 + 0.25 * i) * k, (12.6 + 0.25 * min(i, 5)) * k) for i in range(7)]
    wedges = [broken[1] if broken and broken[0] == i else 0.0 for i in range(7)]
    # What is above a wedge follows its upper endplate, for the most part.
    tilts = [t * curve + lean + 0.55 * sum(wedges[i + 1 :]) for i, t in enumerate(TILTS)]
    drops = [h[1] * np.tan(np.radians(w)) for h, w in zip(halves, wedges, strict=True)]
    steps = [(halves[i][2] + halves[i + 1][2] - drops[i + 1] + gaps[i]) * _axis((tilts[i] + tilts[i + 1]) / 2) for i in range(6)]
    centres = [sum(steps[i:_L3], np.zeros(3)) if i <= _L3 else -sum(steps[_L3:i], np.zeros(3)) for i in range(7)]
    slope = [42 * curve + lean, 52 * curve + lean, 60 * curve + lean]
    sizes = [(24 * k, 15.5 * k, 12.5 * k), (18 * k, 12 * k, 11 * k), (14 * k, 9 * k, 10 * k)]
    at, below, tilt, sacrum = centres[-1], halves[-1][2] + gaps[-1], tilts[-1], []
    for lean_on, half in zip(slope, sizes, strict=True):
        at = at - _axis((tilt + lean_on) / 2) * (below + half[2])
        sacrum.append(Vertebra(_point(at), lean_on, half))
        below, tilt = half[2], lean_on
    return Column(tuple(Vertebra(_point(c), t, h, w) for c, t, h, w in zip(centres, tilts, halves, wedges, strict=True)), tuple(sacrum), gaps, dry)


def _axis(tilt: float) -> np.ndarray:
    """Where a vertebra that leans to the front by so many degrees has its head."""
    return np.array([0.0, -np.sin(np.radians(tilt)), np.cos(np.radians(tilt))])


def _point(p: np.ndarray) -> Point:
    return float(p[0]), float(p[1]), float(p[2])


def _trunk(patient: Patient, column: Column, rng: np.random.Generator) -> list[Part]:
    """From skin to great vessels: fat, muscles, bowel, kidneys."""
    k, fat = patient.size, 5 + 13 * patient.fat
    middle, r = (0.0, -24.0 * k, 0.0), np.array([132.0 * k, 92.0 * k, 900.0])

    def shell(tissue: str, d: float, structure: str = "") -> Part:
        return Part(structure, tissue, Ellipsoid(middle, (float(r[0] + d), float(r[1] + d), float(r[2]))), 0.04 if tissue == "muscle" else 0.0, 5)

    out = [shell("skin", fat + 2), shell("fat", fat), shell("muscle", 0, "muscle"), shell("fat", -11)]
    for x in (-58.0, 0.0, 58.0):
        for z in (-75.0, -5.0, 70.0):
            at = np.array([(x + rng.uniform(-10, 10)) * k, rng.uniform(-72, -60) * k, z + rng.uniform(-8, 8)])
            half = (rng.uniform(28, 40) * k, rng.uniform(17, 26) * k, rng.uniform(28, 40))
            out.append(Part("bowel", "bowel", Ellipsoid(_point(at), half, lobes=0.25, waves=5, phase=phase(rng)), 0.12, 7))
            if x and rng.random() < 0.5:
                gas = Ellipsoid(_point(at - np.array([0, 8, 0])), _point(rng.uniform(9, 18, 3)), lobes=0.35, waves=4, phase=phase(rng))
                out.append(Part("bowel", "air", gas, within=("bowel",)))
    for s, side in ((-1, "right"), (1, "left")):
        kidney = Ellipsoid((s * 62 * k, 12.0 * k, 66.0 + 5 * s), (25 * k, 24 * k, 50 * k), turn=(0.0, s * 12.0, -s * 25.0))
        sinus = Ellipsoid((s * 50 * k, 8.0 * k, 64.0 + 5 * s), (13 * k, 9 * k, 22 * k))
        psoas = [(s * 24 * k, 12 * k, 85.0), (s * 40 * k, -4 * k, -30.0), (s * 58 * k, -30 * k, -140.0)]
        out += [Part(f"{side} kidney", "kidney", kidney, 0.04, 6), Part(f"{side} kidney", "fat", sinus)]
        back = [(s * 33 * k, 50 * k, 200.0), (s * 34 * k, 49 * k, 0.0), (s * 30 * k, 62 * k, -140.0)]
        out += [Part("muscle", "muscle", Tube(back, [24 * k, 26 * k, 18 * k]), 0.06, 4),
                Part("muscle", "muscle", Tube(psoas, [8 * k, 19 * k, 20 * k]), 0.05, 4),
                Part("muscle", "muscle", Tube([(s * 58 * k, 36 * k, 90.0), (s * 72 * k, 32 * k, -70.0)], [12 * k, 16 * k]), 0.05, 4)]
    front = [np.asarray(v.at(0, -v.half[1] - 13, 0)) for v in column.vertebrae]
    for name, x, size in (("aorta", 9.0, 9.0), ("inferior vena cava", -17.0, 10.5)):
        fork = _point(front[5] + np.array([x * 0.8, 0, 8]))
        out.append(Part(name, "blood", Tube([*(_point(p + np.array([x, 0, 0])) for p in front[:-1:2]), fork], size * k)))
        out += [Part("iliac vessels", "blood", Tube([fork, (s * 46.0 * k, fork[1] + 6, -140.0)], 0.65 * size * k)) for s in (-1, 1)]
    if patient.age > 55:  # chalk in the wall
        for _ in range(int((patient.age - 50) / 10)):
            at = front[2] + np.array([9 + rng.choice([-7.0, 7.0]) * k, -4 * k, rng.uniform(-40, 10)])
            out.append(Part("aorta", "calcification", Ellipsoid(_point(at), (1.8, 4, 8))))
    return out


def _pelvis(patient: Patient) -> list[Part]:
    """Iliac wings and the lowest ribs."""
    k = patient.size
    out = []
    for s in (-1, 1):
        for tissue, d in (("cortical bone", 0.0), ("marrow", 1.8)):
            wing = Ellipsoid((s * 84 * k, 20 * k, -118 * k), (50 * k - d, 9 * k - d, 58 * k - d), turn=(0.0, s * 12.0, -s * 52.0))
            out.append(Part("pelvis", tissue, wing))
        out.append(Part("ribs", "cortical bone", Tube([(s * 28 * k, 30 * k, 98.0), (s * 72 * k, 40 * k, 84.0), (s * 106 * k, 12 * k, 62.0)], 4.2)))
    return out


def _spine(column: Column, broken: tuple[int, float] | None, rng: np.random.Generator) -> list[Part]:
    """Discs, bodies over them, and the arches; the body of a broken vertebra is left to its lesion."""
    spread, grain = rng.uniform(0.04, 0.12), rng.uniform(4, 8)
    out = []
    for i, dry in enumerate(column.dry):
        disc = column.disc(i)
        x, y, z = disc.half
        bulge = rng.uniform(0, 2.0) + (rng.uniform(0, 1.5) if dry else 0)
        out.append(Part("discs", "dry disc", replace(disc, half=(x + 0.5 * bulge, y + bulge, z)).body()))
        if not dry:
            out.append(Part("discs", "disc", Ellipsoid(disc.at(0, 0.1 * y, 0), (0.76 * x, 0.74 * y, 0.85 * z), turn=(disc.tilt, 0.0, 0.0)), 0.08, 5))
    for structure, bones in (("vertebrae", column.vertebrae), ("sacrum", column.sacrum)):
        for i, v in enumerate(bones):
            if structure == "sacrum" or not (broken and broken[0] == i):
                out += [Part(structure, "cortical bone", v.body()), Part(structure, "marrow", v.body(1.3), spread, grain)]
    if rng.random() < 0.3:  # a haemangioma: a round spot of fat
        v = column.vertebrae[int(rng.integers(2, 7))]
        r = rng.uniform(4, 8)
        spot = Ellipsoid(v.at(rng.uniform(-6, 6), rng.uniform(-5, 3), rng.uniform(-3, 3)), (r, r, r), lobes=0.1)
        out.append(Part("vertebrae", "fat", spot, within=("vertebrae",)))
    for v in column.vertebrae[1:]:
        out += _arch(v)
    top, low = column.sacrum[0], column.sacrum[1]
    for s in (-1, 1):
        for tissue, d in (("cortical bone", 0.0), ("marrow", 1.6)):
            wing = Ellipsoid(low.at(s * 1.5 * top.half[0], 1, 8), (20 - d, 13 - d, 29 - d), turn=(low.tilt, 0.0, 0.0))
            out.append(Part("sacrum", tissue, wing, spread if d else 0.0, grain, within=("", "muscle", "pelvis", "sacrum")))
    crest = [v.at(0, v.half[1] + 20, 0) for v in column.sacrum]
    out.append(Part("sacrum", "cortical bone", Tube(crest, [7, 6, 5])))
    return out


def _arch(v: Vertebra) -> list[Part]:
    """Pedicles, transverse processes and lamina, facets, spinous process."""
    back, k = v.half[1], v.half[2] / 13.8
    lamina = [v.at(x * k, back + y * k, z * k) for x, y, z in ((-40, 12, 4), (-17, 15, -2), (0, 24, -8), (17, 15, -2), (40, 12, 4))]
    spine = [v.at(0, back + 22 * k, -8 * k), v.at(0, back + 46 * k, -15 * k)]
    out = [Part("vertebrae", "cortical bone", Tube(lamina, [3.2 * k, 5.5 * k, 4.5 * k, 5.5 * k, 3.2 * k]))]
    for s in (-1, 1):
        pedicle = [v.at(s * 13 * k, back - 3, 5 * k), v.at(s * 16 * k, back + 14 * k, k)]
        out += [Part("vertebrae", "cortical bone", Tube(pedicle, [5.6 * k, 6.2 * k])), Part("vertebrae", "marrow", Tube(pedicle, [4.2 * k, 4.6 * k])),
                Part("vertebrae", "cortical bone", Ellipsoid(v.at(s * 18 * k, back + 17 * k, -15 * k), (7 * k, 6.5 * k, 11 * k)))]
    return [*out, Part("vertebrae", "cortical bone", Tube(spine, [10 * k, 11 * k], (0, 0.4))),
            Part("vertebrae", "marrow", Tube(spine, [8 * k, 9 * k], (0, 0.3)))]


def _canal(column: Column, rng: np.random.Generator) -> list[Part]:
    """Epidural fat, the dural sac, the cord down to its conus at L1 and the roots below it."""
    every = [*column.vertebrae, column.sacrum[0]]
    middle = [np.asarray(v.at(0, v.half[1] + 9.5, 0)) for v in every] + [np.asarray(column.sacrum[1].at(0, column.sacrum[1].half[1] + 6, 0))]
    middle.insert(0, 2 * middle[0] - middle[1])
    size = rng.uniform(7.2, 8.8)
    sac = [_point(p) for p in middle]
    conus = 3 + rng.uniform(-0.4, 0.6)  # index along `middle`; 3 is L1
    tip = middle[3] + (middle[4] - middle[3]) * (conus - 3) if conus >= 3 else middle[2] + (middle[3] - middle[2]) * (conus - 2)
    cord = [*sac[: int(np.ceil(conus))], _point(tip)]
    out = [Part("", "fat", Tube([_point(p + np.array([0, 3.5, 0])) for p in middle], [size + 1.2] * (len(sac) - 1) + [5.0])),
           Part("spinal canal", "csf", Tube(sac, [size] * (len(sac) - 2) + [size * 0.85, 2.5])),
           Part("cord", "cord", Tube(cord, [4.6] * (len(cord) - 2) + [4.4, 1.2]))]
    for x in (-2.6, 2.6):
        roots = [_point(tip + np.array([0.4 * x, 1, 0])), *(_point(p + np.array([x, 3.6, 0])) for p in middle[int(np.ceil(conus)) :])]
        out.append(Part("cauda equina", "cord", Tube(roots, [1.2] + [1.5] * (len(roots) - 2) + [0.8]), within=("spinal canal",)))
    return out


def _herniation(patient: Patient, column: Column) -> Lesion:
    """Disc tissue in the canal, in the middle or to one side; the disc that it comes from is dry."""
    rng = patient.rng("lumbar spine", "disc herniation")
    i = DISCS.index(str(rng.choice(["L3/L4", "L4/L5", "L5/S1"], p=[0.16, 0.44, 0.4])))
    disc = column.disc(i)
    _, y, z = disc.half
    aside, deep, slip = rng.uniform(-6, 6), rng.uniform(7, 10), rng.uniform(-3.5, 2)
    at = disc.at(aside, y + 0.25 * deep, slip)
    r = (float(rng.uniform(8, 12)), float(deep), float(z * 0.9 + rng.uniform(0, 2.5)))
    around = ("", "spinal canal", "cauda equina", "cord")
    parts = (Part("discs", "dry disc", disc.body(), within=("discs",)),
             Part("disc herniation", "dry disc", Ellipsoid(at, r, turn=(disc.tilt, 0.0, 0.0), lobes=0.12, phase=phase(rng)), 0.1, 4, within=around))
    return Lesion("disc herniation", DISCS[i], parts, disc.at(aside, y + 0.5 * deep, slip), r)


def _fracture_site(patient: Patient) -> tuple[int, float]:
    """Which vertebra of LEVELS breaks, and to what angle it is wedged, degrees."""
    rng = patient.rng("lumbar spine", "vertebral fracture", "site")
    return LEVELS.index(str(rng.choice(["L1", "L2", "L3", "L4"], p=[0.45, 0.25, 0.15, 0.15]))), float(rng.uniform(17, 27))


def _fracture(patient: Patient, column: Column) -> Lesion:
    """A wedged body; while fresh, with oedema under the broken endplate."""
    rng = patient.rng("lumbar spine", "vertebral fracture")
    i = next(i for i, v in enumerate(column.vertebrae) if v.wedge)
    v = column.vertebrae[i]
    parts = [Part("vertebral fracture", "cortical bone", v.body()), Part("vertebral fracture", "marrow", v.body(1.3), 0.1, 5)]
    if rng.random() < 0.6:
        turn = (v.tilt + v.wedge, 0.0, 0.0)
        swollen = Ellipsoid(v.at(0, -0.1 * v.half[1], v.top - 5), (v.half[0], v.half[1], 9.0), turn, lobes=0.25, phase=phase(rng))
        fresh = Cut(swollen, v.at(0, v.half[1], v.half[2] - 1.6), _point(_axis(turn[0])))
        parts.append(Part("vertebral fracture", "red marrow" if rng.random() < 0.5 else "oedema", fresh, 0.1, 4, within=("vertebral fracture",)))
    return Lesion("vertebral fracture", LEVELS[i], tuple(parts), v.centre, v.half)
