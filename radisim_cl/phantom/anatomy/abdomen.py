"""The abdomen from the lung bases to the iliac crests: solid organs, stomach, bowel, great vessels, spine; stones, cysts, liver lesions.

The origin lies in front of the first lumbar vertebra, in the middle of the cavity. Sizes: ICRP 89 (2002, organ masses), Kratzer et al. 2003
(J Ultrasound Med 22:1155, liver), Prassopoulos et al. 1997 (Eur Radiol 7:246, spleen), Emamian et al. 1993 (AJR 160:83, kidneys), Saisho et
al. 2007 (Clin Anat 20:933, pancreas), Zhou et al. 2000 (Eur Spine J 9:242, lumbar vertebrae).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from radisim_cl.phantom.body import Body, Lesion, Part
from radisim_cl.phantom.patients import Patient
from radisim_cl.phantom.shapes import Cut, Ellipsoid, Point, Tube, Without, phase

FINDINGS = ("liver lesion", "kidney stone", "renal cyst")
FRONT, BACK, FOOT = (0.0, -1.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, -1.0)
LONG = 700.0
"""Half-length of what runs through the region like a cylinder, mm."""


@dataclass(frozen=True)
class Cavity:
    """The room for the organs.

    Attributes:
        wide, deep: half-axes, mm.
        right, left: height of the domes of the diaphragm, mm.
        level: middle of the first lumbar vertebra, mm.
        spine: middle of the vertebral bodies along y, mm.
        plane: thickness of the fat between organs, mm.
    """

    wide: float
    deep: float
    right: float
    left: float
    level: float
    spine: float
    plane: float


def build(patient: Patient, findings: Sequence[str] = ()) -> Body:
    """The abdomen of a patient with findings of FINDINGS.

    Raises:
        ValueError: a finding that an abdomen cannot have.
    """
    if unknown := [f for f in findings if f not in FINDINGS]:
        raise ValueError(f"no finding {unknown[0]!r} in an abdomen; known: {', '.join(FINDINGS)}")
    rng = patient.rng("abdomen")
    visceral = patient.fat * (1.2 if patient.sex == "M" else 0.75)
    dome = 116 + rng.normal(0, 9)
    deep = 86 * patient.size * (1 + 0.05 * rng.standard_normal()) + 9 * (visceral - 1)
    c = Cavity(126 * patient.size * (1 + 0.05 * rng.standard_normal()) + 6 * (visceral - 1), deep, dome, dome - rng.uniform(2, 20),
               rng.uniform(-10, 18), deep - 47 * patient.size, 3 + 3 * visceral)
    side, front = 6 + 13 * patient.fat, 8 + 16 * patient.fat
    parts = [*_wall(patient, c, side, front, rng), *_thorax(c, rng), *_bowel(c, rng), *_spine(patient, c, rng), *_muscles(patient, c, rng),
             *_liver(patient, c, rng), *_stomach(c, rng), *_pancreas(patient, c, rng), *_spleen(c, rng), *_kidneys(patient, c, rng),
             *_vessels(patient, c, rng)]
    shift = rng.uniform(-12, 12, 3)
    reach = np.array([c.wide + side + 28, c.deep + front + 24])
    field = (_at(*(-reach + shift[:2]), -142 + shift[2]), _at(*(reach + shift[:2]), c.right + 38 + shift[2] / 2))
    body = Body("abdomen", tuple(parts), field, key=f"{patient.seed}/{patient.name}/abdomen")
    lesions = tuple(_lesion(f, patient, body) for f in findings)
    return replace(body, parts=(*parts, *(p for lesion in lesions for p in lesion.parts)), lesions=lesions)


def _at(*p: float) -> Point:
    return float(p[0]), float(p[1]), float(p[2])


def _around(rng: np.random.Generator, spread: float, *p: float) -> Point:
    """A point moved by up to the spread along each axis."""
    return _at(*(np.asarray(p) + rng.uniform(-spread, spread, 3)))


def _grown(shape: Ellipsoid, by: float) -> Ellipsoid:
    return replace(shape, radii=_at(*(np.asarray(shape.radii) + by)))


def _thinned(shape: Tube, by: float) -> Tube:
    return replace(shape, radii=[max(1.0, r - by) for r in shape._r])


def _wall(patient: Patient, c: Cavity, side: float, front: float, rng: np.random.Generator) -> list[Part]:
    muscle = rng.uniform(9, 14) * (1.1 if patient.sex == "M" else 0.9)
    outer = Ellipsoid(_at(0, 2, 0), _at(c.wide + muscle, c.deep + muscle, LONG))
    skin = Ellipsoid(_at(0, -0.3 * front, 0), _at(c.wide + muscle + side + 2, c.deep + muscle + 0.8 * front + 2, LONG))
    table = 0.96 * (c.deep + muscle + 0.6 * front)  # on which the back is flat
    out = [Part("", "skin", Cut(skin, _at(0, table, 0), BACK)), Part("", "fat", Cut(_grown(skin, -2), _at(0, table - 2, 0), BACK)),
           Part("muscle", "muscle", outer)]
    tilt = rng.uniform(20, 28)
    for k in range(6):  # ribs 7 to 12 are rings around the thorax, higher at the back; the lowest are short
        height = c.right + 38 - 27 * k + rng.uniform(-2, 2)
        ring = Ellipsoid(_at(0, 0, height), _at(c.wide + muscle + 8, c.deep + muscle + 8, 11.5), turn=(tilt, 0, 0))
        short = _at(0, c.deep * (-0.75 + 0.22 * k), 0)
        out += [Part("ribs", "cortical bone", Cut(ring, short, FRONT), within=("muscle",)),
                Part("ribs", "marrow", Cut(replace(ring, radii=_at(*ring.radii[:2], 7)), short, FRONT), within=("ribs",))]
    # Inside of the ribs, flesh again; then the cavity.
    return [*out, Part("muscle", "muscle", _grown(outer, -7.5)), Part("", "fat", Ellipsoid(_at(0, 2, 0), _at(c.wide, c.deep, LONG)))]


def _thorax(c: Cavity, rng: np.random.Generator) -> list[Part]:
    out = []
    for side, s in (("right", -1), ("left", 1)):
        lung = Ellipsoid(_at(s * 0.53 * c.wide, 5, c.right + 60), _at(0.45 * c.wide, 0.95 * c.deep, 420))
        depth = rng.uniform(65, 95)
        out.append(Part(f"{side} lung", "lung", Cut(lung, _at(0, c.deep, c.right - depth), _at(0, -0.35, -1)), 0.35, 5))
    heart = Ellipsoid(_around(rng, 5, 0.16 * c.wide, -0.36 * c.deep, c.left + 26), _at(66, 44, 38), turn=(0, 20, -28))
    x, y, z = heart.centre
    out += [Part("", "fat", _grown(heart, 5)), Part("", "fat", Ellipsoid(_at(0, 0, z + 20), _at(30, 0.8 * c.deep, 60))),
            Part("heart", "myocardium", heart),
            Part("heart", "blood", Ellipsoid(_at(x + 14, y - 2, z), _at(30, 17, 20), turn=heart.turn)),
            Part("heart", "blood", Ellipsoid(_at(x - 30, y - 8, z + 10), _at(22, 24, 26)))]
    for x, top, wide in ((-0.46, c.right, 0.5), (0.48, c.left, 0.46)):
        dome = Ellipsoid(_at(x * c.wide, -4, top - 95), _at(wide * c.wide, 0.88 * c.deep, 95))
        out += [Part("muscle", "muscle", Cut(dome, dome.centre, FOOT)), Part("", "fat", Cut(_grown(dome, -3.5), dome.centre, FOOT))]
    return out


def _liver(patient: Patient, c: Cavity, rng: np.random.Generator) -> list[Part]:
    big = float(np.clip(1.05 + 0.07 * rng.standard_normal(), 0.97, 1.18))
    big *= float((126 * 86 / (c.wide * c.deep)) ** 0.6)  # a wide body has a flat liver
    high = 94 * big * rng.uniform(0.94, 1.12)
    broad = min(big + 0.05, 1.0)
    right = Ellipsoid(_at(-0.47 * c.wide, -2, c.right - 4 - high), _at(0.51 * c.wide * broad, 0.9 * c.deep * broad, high),
                      lobes=0.045, waves=3.5, phase=phase(rng))
    hilum = _around(rng, 8, -0.27 * c.wide, 0.0, c.right - 114 * big)
    tip = rng.uniform(0.42, 0.75)
    left = Ellipsoid(_at(0.06 * c.wide + rng.uniform(-12, 14), -0.43 * c.deep, c.left - 42 + rng.uniform(-9, 6)),
                     _at(0.5 * c.wide * rng.uniform(0.85, 1.2), 0.43 * c.deep, 41 * big), turn=(12, rng.uniform(-22, -4), rng.uniform(-4, 10)),
                     lobes=0.06, waves=3, phase=phase(rng))
    whole = Cut(right, hilum, _at(tip, 0.28, -0.8))
    t = 0.035
    out = [Part("", "fat", _grown(left, 3)), Part("liver", "liver", whole, t, 5), Part("liver", "liver", left, t, 5),
           Part("", "fat", Ellipsoid(_at(-0.14 * c.wide, -0.62 * c.deep, hilum[2] + 22), _at(2.5, 0.25 * c.deep, 22), turn=(0, 0, -8)))]
    gate, roof = _at(hilum[0] + 6, hilum[1] - 4, hilum[2] + 6), _at(-18, c.spine - 36, c.right - 22)
    trees: list[tuple[list[Point], list[float]]] = [  # three hepatic veins, two branches of the portal vein
        ([roof, _at(-0.45 * c.wide, -0.05 * c.deep, c.right - 32), _at(-0.75 * c.wide, 0.1 * c.deep, c.right - 62)], [5.5, 4, 2]),
        ([roof, _at(-0.3 * c.wide, -0.4 * c.deep, c.right - 50)], [5, 2.5]),
        ([roof, _at(0.15 * c.wide, -0.45 * c.deep, c.left - 42)], [4.5, 2]),
        ([gate, _at(-0.52 * c.wide, 0.02 * c.deep, c.right - 72), _at(-0.75 * c.wide, -0.1 * c.deep, c.right - 88)], [6.5, 5, 2.5]),
        ([gate, _at(-0.1 * c.wide, -0.4 * c.deep, c.right - 66), _at(0.15 * c.wide, -0.5 * c.deep, c.left - 50)], [6, 4, 2]),
    ]
    out += [Part("liver", "blood", Tube(p, r), within=("liver",)) for p, r in trees]
    bulb = Ellipsoid(_around(rng, 7, hilum[0] - 16, -0.42 * c.deep, hilum[2] - 12), _at(*(rng.uniform(0.75, 1.3) * np.array([15, 17, 28]))),
                     turn=(25, -20, 0), lobes=0.05, phase=phase(rng))
    return [*out, Part("gallbladder", "soft", bulb), Part("gallbladder", "bile", _grown(bulb, -2.2))]


def _spleen(c: Cavity, rng: np.random.Generator) -> list[Part]:
    r = np.array([27, 45, 53]) * np.clip(1.0 + 0.1 * rng.standard_normal(), 0.88, 1.2) * rng.uniform(0.92, 1.08, 3)
    spot = _around(rng, 8, 0.92 * c.wide - r[0], 0.42 * c.deep, c.left - 52 - 0.2 * r[2])
    whole = Ellipsoid(spot, _at(*r), turn=(rng.uniform(-28, -8), rng.uniform(-14, 2), rng.uniform(18, 34)), lobes=0.06, phase=phase(rng))
    hollow = Ellipsoid(_at(spot[0] - 1.15 * r[0], spot[1] - 0.5 * r[1], spot[2]), _at(0.75 * r[0], 0.75 * r[1], 0.7 * r[2]))
    return [Part("", "fat", _grown(whole, min(c.plane, 5)), within=("", "stomach", "bowel")),
            Part("spleen", "spleen", Without(whole, hollow), 0.03, 4)]


def _kidneys(patient: Patient, c: Cavity, rng: np.random.Generator) -> list[Part]:
    out = []
    size = np.clip(patient.size * (1 - 0.003 * max(0, patient.age - 55)) * (1 + 0.05 * rng.standard_normal()), 0.9, 1.1)
    heights = (c.level - rng.uniform(10, 26), c.level + rng.uniform(-4, 10))
    for side, s, z in (("right", -1, heights[0]), ("left", 1, heights[1])):
        r = np.array([29, 25, 55]) * size * rng.uniform(0.95, 1.05, 3)
        spot = _around(rng, 6, s * (0.33 * c.wide + 27), c.spine + 4, z - 8)
        turn = (rng.uniform(-16, -4), s * rng.uniform(-16, -6), s * rng.uniform(-40, -15))
        bean = Ellipsoid(spot, _at(*r), turn, lobes=0.05, waves=4, phase=phase(rng))
        gate = _at(spot[0] - s * 0.62 * r[0], spot[1] - 0.42 * r[1], spot[2] - 2)
        sinus = Ellipsoid(gate, _at(0.74 * r[0], 0.52 * r[1], 0.52 * r[2]), turn, lobes=0.28, waves=5, phase=phase(rng))
        pelvis = Ellipsoid(_at(gate[0] - s * 2, gate[1] - 1, gate[2] - 2), _at(*(rng.uniform(0.8, 1.3) * np.array([10, 5, 13]))), turn)
        name = f"{side} kidney"
        out += [Part("", "fat", _grown(bean, 1 + c.plane), within=("", "liver", "stomach", "bowel")),
                Part(name, "kidney", bean, 0.03, 4), Part(name, "fat", sinus, within=(name,)), Part(name, "renal pelvis", pelvis, within=(name,)),
                Part("", "renal pelvis", Tube([pelvis.centre, _at(s * 36, c.spine - 16, z - 55), _at(s * 34, c.spine - 18, -160)], [3.5, 2.2, 2.2])),
                Part("", "blood", Tube([gate, _at(-20 if s < 0 else 0, c.spine - 32, z + 12)], 4.5))]
    return out


def _pancreas(patient: Patient, c: Cavity, rng: np.random.Generator) -> list[Part]:
    thick = np.clip(1.05 - 0.003 * max(0, patient.age - 50) + 0.08 * rng.standard_normal(), 0.88, 1.13)
    z, front, rise = c.level + rng.uniform(-8, 12), c.spine - 42 + rng.uniform(-6, 2), rng.uniform(12, 42)
    way = [(-34, 2, -14, 19), (-22, -4, -3, 17), (-4, -10, 8, 13), (18, -11, 15, 14), (40, 0, 21, 13.5), (61, 9, 26, 12.5)]
    rise = max(6.0, min(rise, c.left - 80 - z))  # the tail stays under the fundus
    fatty = 0.12 + 0.004 * max(0, patient.age - 30)
    out = []
    for layer, grow in (("fat", 3.5), ("pancreas", 0.0)):
        for x, y, up, r in way:
            lump = Ellipsoid(_at(x * patient.size + 2, front + y, z + up * rise / 26), _at(*(thick * r * np.array([1.05, 0.85, 1.15]) + grow)),
                             lobes=0.0 if grow else 0.16, waves=4, phase=phase(rng))
            out.append(Part("pancreas" if not grow else "", layer, lump, 0 if grow else fatty, 3.5))
    duct = [_at(x * patient.size + 2, front + y, z + up * rise / 26) for x, y, up, _ in way[1:]]
    loop = Tube([_at(-30, front - 22, z + 18), _at(-56, front + 2, z + 4), _at(-52, front + 12, z - 34), _at(18, front + 10, z - 40)],
                [14, 14, 13, 11])
    return [Part("bowel", "bowel", loop, 0.06, 5), Part("bowel", "gastric content", _thinned(loop, 5)), *out,
            Part("", "blood", Tube([_at(p[0], p[1] + 9, p[2] - 1) for p in duct[1:]], 4.0))]


def _stomach(c: Cavity, rng: np.random.Generator) -> list[Part]:
    full, low = rng.uniform(0.7, 1.12), rng.uniform(100, 135)
    fundus = _around(rng, 8, 0.4 * c.wide, 0.22 * c.deep, c.left - 40)
    middle = _around(rng, 8, 0.52 * c.wide, -0.42 * c.deep, c.left - 74)
    antrum = _around(rng, 8, 0.14 * c.wide, -0.55 * c.deep, c.left - low)
    outlet = _at(-30, -0.28 * c.deep, c.left - low + rng.uniform(8, 22))
    wall = Tube([fundus, middle, antrum, outlet], [31 * full, 30 * full, 21 * full, 11])
    inner = _thinned(wall, 4.5)
    surface = _at(0, middle[1] - rng.uniform(-6, 16) * full, 0)
    return [Part("", "fat", _thinned(wall, -3), within=("", "liver", "bowel")), Part("stomach", "stomach wall", wall),
            Part("stomach", "gastric content", inner, rng.uniform(0.05, 0.3), 6), Part("stomach", "air", Cut(inner, surface, BACK))]


def _bowel(c: Cavity, rng: np.random.Generator) -> list[Part]:
    out: list[Part] = []
    floor, front = c.level - 20, -0.5 * c.deep
    for _ in range(20):  # small bowel
        spot = _at(rng.uniform(-0.55, 0.55) * c.wide, front + rng.uniform(-0.24, 0.5) * c.deep, floor - rng.uniform(0, 125))
        loop = Ellipsoid(spot, _at(rng.uniform(12, 17), rng.uniform(12, 16), rng.uniform(26, 48)), turn=(rng.uniform(0, 180), rng.uniform(0, 180), 0))
        out.append(Part("bowel", "bowel", loop, 0.08, 3))
        if (kind := rng.random()) < 0.6:
            out.append(Part("bowel", "gastric content" if kind < 0.42 else "air", _grown(loop, -5)))
    high = c.left - 60
    for x, y, top, wide in ((-0.8, 0.12, c.level - 44, 27), (0.83, 0.2, high, 20)):  # ascending and descending colon
        r, middle = wide * rng.uniform(0.85, 1.2), (top - 160) / 2
        colon = Ellipsoid(_at(x * c.wide, y * c.deep + rng.uniform(-8, 8), middle), _at(r, r, 0.56 * (top + 160)),
                          turn=(rng.uniform(-5, 5), rng.uniform(-5, 5), 0), lobes=0.2, waves=5.5, phase=phase(rng))
        out += _colon(colon, _grown(colon, -3), _at(0, colon.centre[1] - rng.uniform(-4, 8), 0), rng)
    sag = rng.uniform(10, 55)
    way = [(-0.74, -0.25, c.level - 58), (-0.4, -0.7, c.level - 30 - 0.6 * sag), (0.1, -0.76, c.level - 20 - sag), (0.5, -0.62, c.level),
           (0.8, -0.05, high)]
    frame = Tube([_at(x * c.wide, y * c.deep, z) for x, y, z in way], [24, 20, 19, 18, 18])
    return [*out, *_colon(frame, _thinned(frame, 3), _at(0, -0.62 * c.deep + rng.uniform(-8, 14), 0), rng)]


def _colon(wall: Ellipsoid | Tube, inner: Ellipsoid | Tube, surface: Point, rng: np.random.Generator) -> list[Part]:
    return [Part("bowel", "bowel", wall), Part("bowel", "bowel", inner, rng.uniform(0.25, 0.5), 4),
            Part("bowel", "air", Cut(inner, surface, BACK))]


def _spine(patient: Patient, c: Cavity, rng: np.random.Generator) -> list[Part]:
    s, pitch, bend = patient.size, 35 * patient.size, rng.uniform(4, 11)
    worn = float(np.clip((patient.age - 30) / 60, 0, 1))
    column = [_at(0, c.spine - bend * np.sin((z + 140) / 320 * np.pi), z) for z in (-190.0, -100.0, -20.0, 60.0, 200.0)]
    ys = [p[1] for p in column]
    flesh = Tube(column, 22 * s, flat=(1, 0.8))
    out = [Part("spine", "cortical bone", flesh), Part("spine", "red marrow" if patient.age < 40 else "marrow", _thinned(flesh, 2.0), 0.05, 4)]
    for k in range(-4, 5):
        z = c.level + k * pitch * (1 if k < 0 else 0.88)
        y = float(np.interp(z, [p[2] for p in column], ys))
        low = _at(0, y, z - 0.5 * pitch * (1 if k <= 0 else 0.88))
        flat = (5.5 if k <= 0 else 3.5) * (1 - 0.45 * worn * rng.random())
        out += [Part("spine", "cortical bone", Ellipsoid(low, _at(24.5 * s, 20 * s, flat + 2.2))),
                Part("spine", "dry disc" if rng.random() < worn else "disc", Ellipsoid(low, _at(24 * s, 19.5 * s, flat))),
                Part("spine", "cortical bone", Ellipsoid(_at(0, y + 24 * s, z), _at(40 * s if k <= 0 else 24 * s, 6, 7))),
                Part("spine", "cortical bone", Ellipsoid(_at(0, y + 31 * s, z - 4), _at(17 * s, 13 * s, 13))),
                Part("spine", "marrow", Ellipsoid(_at(0, y + 43 * s, z - 9), _at(4, 15 * s, 10), turn=(-14 if k <= 0 else -30, 0, 0)))]
    canal = Tube([_at(p[0], p[1] + 26 * s, p[2]) for p in column], 8.5 * s)
    end = float(np.interp(c.level - 5, [-20, 60], ys[2:4]))
    cord = Tube([_at(0, end + 26.5 * s, c.level - 8), _at(0, ys[3] + 26 * s, 60), _at(0, ys[4] + 26 * s, 200)], [2.0, 4.5, 4.5])
    return [*out, Part("spine", "csf", canal), Part("spine", "cord", cord)]


def _muscles(patient: Patient, c: Cavity, rng: np.random.Generator) -> list[Part]:
    strong = (1.08 if patient.sex == "M" else 0.92) * (1 - 0.003 * max(0, patient.age - 50)) * rng.uniform(0.92, 1.1)
    out = []
    for s in (-1, 1):
        erector = Ellipsoid(_at(s * 33, c.spine + 41, -20), _at(25 * strong, 18 * strong, LONG))
        psoas = Tube([_at(s * 24, c.spine, 25), _at(s * 34, c.spine - 4, -60), _at(s * 44, c.spine - 14, -190)],
                     [5 * strong, 16 * strong, 25 * strong])
        flank = Ellipsoid(_at(s * 62, c.spine + 26, -60), _at(19 * strong, 8 * strong, 85), turn=(0, 0, s * -25))
        out += [Part("muscle", "muscle", erector, 0.1, 6, within=("", "muscle")), Part("muscle", "muscle", psoas, 0.05, 6, within=("",)),
                Part("muscle", "muscle", flank, within=("",)),
                Part("muscle", "muscle", Tube([_at(s * 12, c.spine - 26, c.level), _at(s * 20, c.spine - 14, c.right - 30)], [5, 4]), within=("",)),
                Part("iliac bones", "cortical bone", Ellipsoid(_at(s * 0.8 * c.wide, 0.34 * c.deep, -158), _at(58, 6.5, 32), turn=(-18, 0, s * -42))),
                Part("iliac bones", "marrow", Ellipsoid(_at(s * 0.8 * c.wide, 0.34 * c.deep, -158), _at(56, 4, 30), turn=(-18, 0, s * -42)))]
    return out


def _vessels(patient: Patient, c: Cavity, rng: np.random.Generator) -> list[Part]:
    old = max(0, patient.age - 45)
    r = (8.6 + 0.05 * old) * patient.size * rng.uniform(0.92, 1.12)
    split, wave = c.level - 100 + rng.uniform(-12, 10), 0.12 * old * rng.uniform(-1, 1)
    front = c.spine - 30
    trunk = [_at(14, front + 22, c.right + 80), _at(10, front + 6, c.right - 40), _at(8 + wave, front, c.level), _at(8 - wave, front - 4, split)]
    aorta = Tube(trunk, [r * 1.25, r * 1.18, r, 0.85 * r])
    fork = _at(-16, front + 6, split - 8)
    cava = Tube([_at(-16, front - 22, c.right + 14), _at(-20, front - 2, c.right - 40), _at(-22 + rng.uniform(-3, 3), front, c.level), fork],
                rng.uniform(9.5, 12.5, 4).tolist(), flat=(1, rng.uniform(0.6, 1.0)))
    out = [Part("vena cava", "blood", cava), Part("aorta", "muscle", aorta), Part("aorta", "blood", _thinned(aorta, 1.3))]
    for s in (-1, 1):
        out += [Part("", "blood", Tube([trunk[3], _at(s * 34, front + 2, -175)], [0.7 * r, 0.6 * r])),
                Part("", "blood", Tube([fork, _at(s * 33, front + 14, -175)], [8.5, 7.5]))]
    down = c.level - 75
    out += [Part("", "blood", Tube([_at(9, front - 4, c.level + 4), _at(6, front - 19, c.level - 18), _at(0, front - 30, down)], [4.2, 3.6, 2.8])),
            Part("", "blood", Tube([_at(-8, front - 16, c.level + 8), _at(-9, front - 21, c.level - 18), _at(-13, front - 30, down)], [6, 5.5, 4]))]
    for _ in range(int(rng.integers(0, 3) * old // 12)):
        z, turn = rng.uniform(split, c.level + 30), rng.uniform(0, 2 * np.pi)
        y = float(np.interp(z, [split, c.level, c.right - 40], [trunk[3][1], trunk[2][1], trunk[1][1]]))
        x = float(np.interp(z, [split, c.level, c.right - 40], [trunk[3][0], trunk[2][0], trunk[1][0]]))
        out.append(Part("aorta", "calcification", Ellipsoid(_at(x + 0.92 * r * np.cos(turn), y + 0.92 * r * np.sin(turn), z), _at(2.2, 2.2, 5))))
    return out


def _spot(body: Body, structure: str, low: Point, high: Point, radius: float, rng: np.random.Generator) -> Point:
    """A point of the box whose surroundings within the radius belong to the structure; where no point's do, the one with the most."""
    p = rng.uniform(low, high, (96, 3))
    steps = np.concatenate([np.zeros((1, 3)), np.eye(3), -np.eye(3)]) * radius
    x, y, z = np.moveaxis((p[:, None] + steps).astype(np.float32), 2, 0)
    inside = np.array([q.structure == structure for q in body.parts] + [False])[body.sample(x, y, z)]
    best = int(np.argmax(inside.sum(axis=1) + 10 * inside[:, 0]))
    return _at(*p[best])


def _lesion(finding: str, patient: Patient, body: Body) -> Lesion:
    rng = patient.rng("abdomen", finding)
    if finding == "liver lesion":
        return _liver_lesion(body, rng)
    side, s = ("left", 1) if rng.random() < 0.5 else ("right", -1)
    kidney = f"{side} kidney"
    bean, sinus = (p.shape for p in body.parts if p.structure == kidney and p.tissue in ("kidney", "fat"))
    assert isinstance(bean, Ellipsoid)
    assert isinstance(sinus, Ellipsoid)
    if finding == "kidney stone":
        r = rng.uniform(2, 5) * rng.uniform(0.85, 1.15, 3).clip(max=1.0)
        at = _at(bean.centre[0] - s * 0.25 * bean.radii[0], bean.centre[1] - 2, bean.centre[2] + rng.uniform(-0.42, 0.35) * bean.radii[2])
        stone = Part(kidney, "calcification", Ellipsoid(at, _at(*r), lobes=0.15, phase=phase(rng)), within=(kidney,))
        return Lesion(finding, kidney, (stone,), at, _at(*r))
    size = rng.uniform(8, 24)
    # On the outer border, half of it out of the kidney.
    at = _at(bean.centre[0] + s * (0.72 * bean.radii[0] - 0.15 * size), bean.centre[1] - rng.uniform(-4, 8),
             bean.centre[2] + rng.uniform(-0.55, 0.45) * bean.radii[2])
    r = size * rng.uniform(0.9, 1.1, 3)
    cyst = Part(kidney, "water", Ellipsoid(at, _at(*r), lobes=0.03, phase=phase(rng)), within=(kidney, "", "bowel"))
    return Lesion(finding, kidney, (cyst,), at, _at(*r))


def _liver_lesion(body: Body, rng: np.random.Generator) -> Lesion:
    right = next(p.shape for p in body.parts if p.structure == "liver")
    low, high = right.box
    size = float(rng.uniform(9, 26))
    at = _spot(body, "liver", low, _at(low[0] + 0.8 * (high[0] - low[0]), high[1], high[2]), size + 4, rng)
    r = size * rng.uniform(0.85, 1.15, 3)
    place = "right lobe of the liver"
    if rng.random() < 0.35:
        cyst = Part("liver", "water", Ellipsoid(at, _at(*r), lobes=0.03, phase=phase(rng)), within=("liver",))
        return Lesion("liver lesion", place, (cyst,), at, _at(*r))
    mass = Ellipsoid(at, _at(*r), lobes=rng.uniform(0.1, 0.3), waves=3.2, phase=phase(rng))
    parts = [Part("liver", "oedema", mass, 0.15, 4, within=("liver",))]
    if size > 15:
        parts.append(Part("liver", "necrosis", replace(mass, radii=_at(*(r * rng.uniform(0.35, 0.6)))), 0.1, 4, within=("liver",)))
    return Lesion("liver lesion", place, tuple(parts), at, _at(*r))
