"""The knee: bones, cartilage, menisci, cruciate ligaments; tears. The origin is the middle of the joint on the tibial cartilage.

Sizes of the average knee: Mahfouz et al. 2012 (Clin Orthop Relat Res 470:172, femoral condyles and tibial plateau), Eckstein et al. 2001 (Anat
Embryol 203:147, cartilage), Fithian, Kelly and Mow 1990 (Clin Orthop 252:19, menisci), Girgis, Marshall and Monajem 1975 (Clin Orthop 106:216,
cruciates); patella and tendons as in atlases. The ligaments are at the thick end of what is measured, so that a coarse picture has them.
Tears: Stoller et al. 1987 (Radiology 163:731, signal that does and does not reach the surface of a meniscus), Robertson et al. 1994 (Radiology
193:829, signs of a torn anterior cruciate ligament), Bergin et al. 2004 (AJR 182:1283, its mucoid degeneration).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from radisim_cl.phantom.body import Body, Lesion, Part
from radisim_cl.phantom.patients import Patient
from radisim_cl.phantom.shapes import Cut, Ellipsoid, Point, Shape, Tube, Without, phase

FINDINGS = ("ACL tear", "meniscal tear")
MENISCI = ("medial meniscus", "lateral meniscus")
REACH = (45.0, 62.0, 62.0)
"""Half the field of an average knee along x, y, z, mm: the middle 0.6 of it across is where sagittal slices cut cruciates and menisci."""
ACL = ((5.0, 17.0, 27.0), (1.5, 3.0, 13.0), (-1.5, -11.0, 1.0))
"""Its course in the frame of a knee: from the inner face of the lateral femoral condyle to the front of the tibial plateau."""


@dataclass(frozen=True)
class Frame:
    """An average knee's own axes, lateral, back and up in mm, turned into those of the patient.

    Attributes:
        lateral: 1 for a left knee, -1 for a right one: the sign of x away from the midline.
        scale: size relative to the average.
    """

    lateral: int
    scale: float

    def at(self, *p: float) -> Point:
        """The patient's coordinates of a point."""
        return float(self.lateral * p[0] * self.scale), float(p[1] * self.scale), float(p[2] * self.scale)

    def ball(self, centre: Point, radii: Point, about_x: float = 0.0, about_y: float = 0.0, about_z: float = 0.0, power: float = 2.0,
             lobes: float = 0.0, waves: float = 3.0, surface: tuple[float, ...] = (0.1, 0.5, 0.9, 0.3, 0.7, 0.2, 0.6, 0.4, 0.8)) -> Ellipsoid:
        """An ellipsoid; turns are those of a left knee, mirrored for a right one."""
        r = float(radii[0] * self.scale), float(radii[1] * self.scale), float(radii[2] * self.scale)
        return Ellipsoid(self.at(*centre), r, (about_x, self.lateral * about_y, self.lateral * about_z), power, lobes, waves, surface)

    def tube(self, points: Sequence[Point], radii: float | Sequence[float], flat: tuple[int, float] | None = None) -> Tube:
        """A tube."""
        r = [radii] * len(points) if isinstance(radii, (int, float)) else radii
        return Tube([self.at(*p) for p in points], [float(v * self.scale) for v in r], flat)

    def cut(self, shape: Shape, point: Point, normal: Point) -> Cut:
        """What of a shape lies before a plane."""
        return Cut(shape, self.at(*point), (float(self.lateral * normal[0]), float(normal[1]), float(normal[2])))


def frame(patient: Patient) -> Frame:
    """Which knee of this patient is examined, and how large it is."""
    rng = patient.rng("knee", "frame")
    return Frame(1 if rng.random() < 0.5 else -1, patient.size * float(1 + 0.03 * rng.standard_normal()))


def build(patient: Patient, findings: Sequence[str] = ()) -> Body:
    """One knee of a patient with findings of FINDINGS.

    Raises:
        ValueError: a finding that a knee cannot have.
    """
    if unknown := [f for f in findings if f not in FINDINGS]:
        raise ValueError(f"no finding {unknown[0]!r} in a knee; known: {', '.join(FINDINGS)}")
    rng, f = patient.rng("knee"), frame(patient)
    wear = float(np.clip((patient.age - 25) / 60 + rng.normal(0, 0.2), 0, 1))
    fluid = float(rng.beta(1.1, 1.6))
    parts = [*_limb(f, patient, rng), *_cavity(f, fluid, rng), *_bones(f, wear, rng), *_notch(f, fluid, patient.rng("knee", "notch")),
             *_menisci(f, wear, rng), *_extensors(f)]
    ligament = _acl(f, patient.rng("knee", "ligament"), wear)
    if "ACL tear" not in findings:
        parts += ligament
    lesions = tuple(_acl_tear(f, patient) if name == "ACL tear" else _meniscal_tear(f, patient) for name in findings)
    x, y, z = (float(r * f.scale) for r in REACH)
    return Body("knee", (*parts, *(p for lesion in lesions for p in lesion.parts)), ((-x, -y, -z), (x, y, z)), lesions,
                "left" if f.lateral > 0 else "right", f"{patient.seed}/{patient.name}/knee")


def _limb(f: Frame, patient: Patient, rng: np.random.Generator) -> list[Part]:
    """Skin, fat, muscles and vessels."""
    plump, strong = 4.5 * (patient.fat - 1), (3 if patient.sex == "M" else 0) + rng.normal(0, 1.5)
    course = [(0.0, 4.0, 135.0), (0.0, 0.0, 45.0), (0.0, 0.0, 5.0), (0.0, 3.0, -38.0), (0.0, 12.0, -135.0)]
    thick = np.array([66 + strong, 60, 57, 52, 56 + strong]) + plump
    out = [Part("", "skin", f.tube(course, list(thick + 2))), Part("", "fat", f.tube(course, list(thick)), 0.05, 14),
           Part("muscle", "muscle", f.tube([(-14, -20, 135), (-20, -18, 78), (-31, -14, 42)], [34, 27, 8]), 0.05, 4),
           Part("muscle", "muscle", f.tube([(16, -20, 135), (18, -19, 88), (28, -16, 58)], [33, 25, 8]), 0.05, 4),
           Part("muscle", "muscle", f.tube([(-20, 34, 135), (-28, 38, 70), (-34, 34, 8)], [25, 16, 6]), 0.05, 4),
           Part("muscle", "muscle", f.tube([(22, 34, 135), (28, 38, 70), (37, 30, 2)], [23, 14, 5]), 0.05, 4)]
    out += [Part("muscle", "muscle", f.tube([(x, 39, 34), (x * 1.05, 45, -10), (x * 1.1, 44, -135)], [6, 12 + 0.3 * strong, 25]), 0.05, 4)
            for x in (-18, 18)]
    out += [Part("muscle", "muscle", f.tube([(-10, 26, -12), (2, 27, -45), (2, 26, -135)], [5, 13, 20]), 0.05, 4),
            Part("muscle", "muscle", f.tube([(24, -10, -32), (27, -10, -65), (26, -10, -135)], [6, 15, 19]), 0.05, 4),
            Part("vessels", "blood", f.tube([(1, 33, 135), (2, 43, 20), (1, 41, -40), (3, 34, -135)], 3.4)),
            Part("vessels", "blood", f.tube([(5, 37, 135), (6, 49, 20), (6, 46, -40), (7, 38, -135)], 3.8))]
    return out


def _cavity(f: Frame, fluid: float, rng: np.random.Generator) -> list[Part]:
    """Joint fluid beside and above the bones, Hoffa's fat pad, a popliteal cyst in some."""
    def pool(centre: Point, radii: Point, **turn: float) -> Part:
        return Part("joint fluid", "joint fluid", f.ball(centre, radii, lobes=0.15, waves=4, surface=phase(rng), **turn))

    out = [pool((0, -31, 58), (24, 1.5 + 9 * fluid, 24 + 8 * fluid), about_x=-6),  # suprapatellar recess
           pool((-30, -8, 22), (10 + 2 * fluid, 24, 16)), pool((30, -8, 22), (10 + 2 * fluid, 24, 16)),  # beside the condyles
           pool((-22, 30, 17), (12, 4 + 7 * fluid, 15)), pool((22, 30, 17), (12, 4 + 7 * fluid, 15)),  # behind them
           Part("Hoffa's fat pad", "fat", f.ball((0, -31, -4), (23, 14, 24), about_x=-8), 0.12, 5)]
    if rng.random() < 0.25:
        r = rng.uniform(5, 11)
        out.append(pool((-24, 50, rng.uniform(-5, 20)), (r, 0.8 * r, 1.9 * r)))
    return out


def _bones(f: Frame, wear: float, rng: np.random.Generator) -> list[Part]:
    thin = 3.1 - 1.3 * wear + rng.normal(0, 0.2)  # cartilage
    spread, grain = rng.uniform(0.04, 0.12), rng.uniform(2.5, 5)
    condyles = [((-24.0, 2.0, 26.0), (14.5, 29.5, 23.0)), ((24.0, 2.0, 26.0), (14.5, 29.0, 22.5))]
    trochlea: tuple[Point, Point] = ((0.0, -14.0, 34.0), (31.0, 16.5, 19.5))
    femur = [*condyles, trochlea]
    tibia = [((-19.5, 4.0, -8.0), (20.0, 26.5, 17.0)), ((19.5, 3.0, -8.0), (20.0, 24.5, 17.0))]
    thigh = [(0.0, -5.0, 46.0), (0.0, -6.0, 60.0), (0.0, -9.0, 95.0), (0.0, -10.0, 140.0)]
    shin = [(0.0, 3.0, -16.0), (0.0, 0.0, -58.0), (0.0, 1.0, -140.0)]
    patella: tuple[Point, Point] = ((1.5, -45.5, 20.0), (21.0, 9.5, 20.5))

    def grown(solid: tuple[Point, Point], d: float) -> Ellipsoid:
        return f.ball(solid[0], (solid[1][0] + d, solid[1][1] + d, solid[1][2] + d))

    def bone(structure: str, tissue: str, shape: Shape) -> Part:
        return Part(structure, tissue, shape, spread if tissue == "marrow" else 0.0, grain)

    out = [Part("cartilage", "cartilage", f.cut(grown(c, thin), (0, 0, 36), (0, -0.5, 1)), 0.05, 5) for c in condyles]
    out += [Part("cartilage", "cartilage", f.cut(grown(trochlea, thin), (0, -18, 40), (0, 0.5, 1)), 0.05, 5)]
    for tissue, d in (("cortical bone", 0.0), ("marrow", 1.6)):  # the roof of the notch rises to the back
        shaft = f.tube(thigh, [37.5 - d, 31 - d, 16 - 2 * d, 14 - 3 * d], (1, 0.66))
        out += [bone("femur", tissue, f.cut(shaft, (0, 0, 22 + 1.2 * d), (0, 0.7, -1)))]
        out += [bone("femur", tissue, grown(c, -d)) for c in femur]
    out += [Part("cartilage", "cartilage", f.ball((x, 3, -2.4), (14.5, 21, 1.2 + 0.4 * thin))) for x in (-22, 22)]
    for tissue, d in (("cortical bone", 0.0), ("marrow", 1.6)):
        out += [bone("tibia", tissue, f.cut(grown(c, -d), (0, 0, -2.4 - 0.8 * d), (0, 0, 1))) for c in tibia]
        out += [bone("tibia", tissue, f.cut(f.tube(shin, [32 - d, 17 - 2 * d, 13.5 - 3 * d], (1, 0.75)), (0, 0, -2.4 - 0.8 * d), (0, 0, 1))),
                bone("tibia", tissue, f.ball((0, -17 + d, -36), (9 - d, 8 - d, 14 - d))),
                bone("tibia", tissue, f.ball((0, 4, -2.5 - d), (8 - d, 9 - d, 7 - d)))]
    out += [bone("fibula", t, f.tube([(36, 20, -18), (35, 20, -38), (34, 18, -140)], [10 - d, 6 - d, 6.5 - 1.6 * d])) for t, d in
            (("cortical bone", 0), ("marrow", 1.5))]
    facet = f.cut(f.ball(patella[0], (patella[1][0] - 2, patella[1][1] + thin + 0.6, patella[1][2] - 3)), (0, -44, 0), (0, -1, 0))
    out += [Part("cartilage", "cartilage", facet, 0.05, 5),
            bone("patella", "cortical bone", grown(patella, 0)), bone("patella", "marrow", grown(patella, -1.6))]
    if rng.random() < 0.4:  # haematopoietic marrow, common and harmless
        out.append(Part("femur", "red marrow", f.ball((rng.uniform(-12, 12), -5, 62), (rng.uniform(9, 18), 12, rng.uniform(8, 16)), lobes=0.4,
                                                      waves=5, surface=phase(rng)), 0.1, 5, within=("femur",)))
    for name, level in (("femur", 14.0), ("tibia", -14.0)):
        if rng.random() < 0.25 + 0.2 * wear:  # marrow oedema
            spot = f.ball((rng.choice([-22.0, 22.0]), rng.uniform(-12, 16), level), (10, rng.uniform(6, 13), rng.uniform(5, 10)), lobes=0.4, waves=4,
                          surface=phase(rng))
            out.append(Part(name, "red marrow", spot, 0.15, 4, within=(name,)))
    return out


def _notch(f: Frame, fluid: float, rng: np.random.Generator) -> list[Part]:
    """What is between the condyles: the posterior cruciate, synovium and fluid around both cruciates, a ganglion in some; the collaterals."""
    cord = [(-5.5, -1.0, 14.0), (-4.0, 15.0, 14.5), (-2.5, 25.0, 5.0), (-1.0, 29.0, -11.0)]
    wet = float(np.clip(0.5 * fluid + rng.normal(0.3, 0.3), 0, 1))
    lining = f.ball((1, 4, 15), (10, rng.uniform(13, 18), rng.uniform(6, 9)), about_x=40, lobes=0.3, waves=4, surface=phase(rng))
    pool = f.ball((1 + rng.normal(0, 2), rng.uniform(-1, 10), rng.uniform(11, 20)), (8, 5 + 10 * wet, 2.5 + 6.5 * wet), about_x=40, lobes=0.35,
                  surface=phase(rng))
    out = [Part("synovium", "soft", lining, 0.3, 3), Part("joint fluid", "joint fluid", pool)]
    if rng.random() < 0.6:
        beside = rng.choice([-1.0, 1.0]) * rng.uniform(2.1, 4.2)
        where = along(rng.uniform(0.2, 0.8)) + np.array([rng.normal(0, 2), beside, -beside])
        r = rng.uniform(4, 7.5, 3)
        out.append(Part("joint fluid", "tear", f.ball(_point(where), _point(r), lobes=0.25, surface=phase(rng)), 0.25, 3))
    out += [Part("joint fluid", "joint fluid", f.tube([(-1, -3, 11), (0, 16, 15), (-1, 27, 3)], [2 + 3 * fluid, 3.5 + 4.5 * fluid, 2.5 + 4 * fluid])),
            Part("posterior cruciate ligament", "ligament", f.tube(cord, [5.2, 4.8, 4.8, 4.2])),
            Part("medial collateral ligament", "ligament", f.tube([(-40, 2, 28), (-42, 0, 0), (-36, -6, -48)], 7, (0, 0.3))),
            Part("lateral collateral ligament", "ligament", f.tube([(40, 4, 28), (41, 18, -14)], 2.6))]
    return out


def _crescent(f: Frame, side: int, high: float) -> Shape:
    """A meniscus: a ring around the contact of condyle and plateau, as high as its rim, hollowed by the condyle, open towards the notch."""
    rim = f.ball((side * 23.5, 3.5 + (1 if side < 0 else 0), 3.0), (15.0, 24.5 if side < 0 else 22.5, 17.0))
    hollow = f.ball((side * 23.0, 2.0, 26.6), (16.5, 29.0 if side < 0 else 26.5, 26.4))
    flat = f.cut(f.cut(Without(rim, hollow), (0, 0, high), (0, 0, 1)), (0, 0, -0.3), (0, 0, -1))
    return f.cut(flat, (side * 11.5, 0, 0), (-side, 0, 0))


def _menisci(f: Frame, wear: float, rng: np.random.Generator) -> list[Part]:
    out = []
    for name, side in zip(MENISCI, (-1, 1), strict=True):
        out.append(Part(name, "meniscus", _crescent(f, side, rng.uniform(8.2, 9.8))))
        for back in (True, False):
            if rng.random() < (0.35 + 0.4 * wear) * (1.0 if back else 0.4):  # degeneration that stays inside
                y = (20.5 if side < 0 else 19.0) if back else -13.0
                where = (side * rng.uniform(17, 25), y + rng.uniform(-1, 1), 3.4)
                spot = f.ball(where, (rng.uniform(4, 8), rng.uniform(1.6, 2.6), rng.uniform(0.9, 1.4)), about_x=rng.uniform(-20, 20))
                out.append(Part(name, "mucoid", spot, within=(name,)))
    return out


def _extensors(f: Frame) -> list[Part]:
    return [Part("quadriceps tendon", "ligament", f.tube([(1, -47, 36), (1, -43, 70), (0, -42, 140)], [13, 14, 16], (1, 0.3))),
            Part("patellar tendon", "ligament", f.tube([(1, -49, 6), (0, -42, -16), (0, -29, -42)], [12, 12, 11], (1, 0.27)))]


def _acl(f: Frame, rng: np.random.Generator, wear: float) -> list[Part]:
    """The whole ligament; in some, mucoid degeneration has made it thick and grey."""
    thick = rng.uniform(4.6, 5.6)
    out = [Part("anterior cruciate ligament", "ligament", f.tube(ACL, [thick, thick * 0.95, thick * 1.1]))]
    if rng.random() < 0.2 + 0.35 * wear:
        core = rng.uniform(0.35, 0.75) * thick
        out.append(Part("anterior cruciate ligament", "mucoid", f.tube(ACL, core), 0.2, 4, within=("anterior cruciate ligament",)))
    return out


def _acl_tear(f: Frame, patient: Patient) -> Lesion:
    """A gap filled with bright tissue; what is left of the ligament hangs at both ends of it."""
    rng = patient.rng("knee", "ACL tear")
    high, low = np.asarray(ACL[0]), np.asarray(ACL[-1])
    thick = rng.uniform(4.2, 5.2)
    where = rng.uniform(0.25, 0.7)  # from the femur
    gap = rng.uniform(0.26, 0.42)
    course = along(where)
    r = _point(rng.uniform(4.2, 6.0, 3))
    filling = "tear" if rng.random() < 0.75 else "joint fluid"
    parts = [Part("ACL tear", filling, f.ball(_point(course + rng.normal(0, 0.7, 3)), r, lobes=0.3, surface=phase(rng)), 0.25, 3)]
    upper, lower = max(where - gap / 2, 0.08), min(where + gap / 2, 0.92)
    fall = rng.uniform(0, 1)  # of the lower stump, from its place to the plateau
    end = along(lower) * (1 - fall) + (np.array([0.0, 6.0, 5.0]) + rng.normal(0, 1.5, 3)) * fall
    stump, wave = "anterior cruciate ligament", rng.normal(0, 1.8, 3)
    parts += [Part(stump, "ligament", f.tube([_point(high), _point(along(upper) + rng.normal(0, 1, 3))], [thick * 0.9, thick * 0.55])),
              Part(stump, "ligament", f.tube([_point(low), _point((low + end) / 2 + wave), _point(end)], [thick, thick * 0.8, thick * 0.5])),
              Part(stump, "mucoid", f.tube([_point(low), _point(end)], thick * 0.4), 0.2, 3, within=(stump,))]
    centre = f.at(*course)
    return Lesion("ACL tear", "", tuple(parts), centre, (10 * f.scale, 14 * f.scale, 14 * f.scale))


def along(share: float) -> np.ndarray:
    """The point of the ligament's axis at this share of its length from the femur."""
    a, b, c = (np.asarray(p) for p in ACL)
    first, second = float(np.linalg.norm(b - a)), float(np.linalg.norm(c - b))
    d = share * (first + second)
    return np.asarray(a + (b - a) * d / first if d < first else b + (c - b) * (d - first) / second)


def _point(p: np.ndarray) -> Point:
    return float(p[0]), float(p[1]), float(p[2])


def _meniscal_tear(f: Frame, patient: Patient) -> Lesion:
    """A bright cleft to the surface: lying flat, upright along the rim, or all of a horn macerated."""
    rng = patient.rng("knee", "meniscal tear")
    name, side = ("medial meniscus", -1) if rng.random() < 0.6 else ("lateral meniscus", 1)
    back = rng.random() < 0.75
    sign = 1 if back else -1
    y = (21.0 if side < 0 else 19.0) if back else (-14.0 if side < 0 else -13.0)
    at = (side * rng.uniform(19, 25), y + rng.uniform(-1, 1), rng.uniform(3.0, 4.5))
    wide, half = rng.uniform(12, 17), rng.uniform(2.2, 3.3)
    kind = rng.random()
    if kind < 0.4:  # horizontal or oblique, from the free edge or the under-surface into the body
        clefts = [f.ball(at, (wide, 9, half), about_x=sign * rng.uniform(-8, 28), power=4)]
    elif kind < 0.7:  # vertical, through the whole height
        clefts = [f.ball(at, (wide, half, 9), about_x=rng.uniform(-25, 25), power=4)]
    else:
        hole = at[0], at[1] + sign * rng.uniform(-3, 1), at[2] + rng.uniform(-1, 1)
        clefts = [f.ball(at, (wide, 8, half), about_x=sign * rng.uniform(0, 30)),
                  f.ball(at, (wide * 0.8, half * 0.9, 8), about_x=rng.uniform(-25, 25)),
                  f.ball(hole, (wide * 0.7, 5.0, 3.8), lobes=0.4, surface=phase(rng))]
    horn = Part("meniscal tear", "meniscus", f.ball(at, (wide * 0.85, 12, 12)), within=(name,))  # the torn part of it, cleft and rims
    parts = [horn, *(Part("meniscal tear", "tear", c, 0.1, 3, within=("meniscal tear",)) for c in clefts)]
    return Lesion("meniscal tear", name, tuple(parts), f.at(*at), (wide * f.scale, 7 * f.scale, 5 * f.scale))
