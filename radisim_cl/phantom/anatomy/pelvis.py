"""The pelvis from the iliac crests to the thighs: bones, hips, bladder, prostate or uterus, rectum; bladder stones.

The origin lies in the middle of the pelvic inlet, 25 mm above the hips. Sizes: ICRP 89 (2002, organ masses),
Fischer and Mitteroecker 2015 (PNAS 112:5655, female and male pelvis), Noble et al. 1988 (Clin Orthop 235:148, proximal femur), Lukacz et al.
2011 (Int J Clin Pract 65:1026, bladder capacity).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from radisim_cl.phantom.body import Body, Lesion, Part
from radisim_cl.phantom.patients import Patient
from radisim_cl.phantom.shapes import Cut, Ellipsoid, Point, Tube, phase

FINDINGS = ("bladder stone",)
BACK, FOOT = (0.0, 1.0, 0.0), (0.0, 0.0, -1.0)
HIP, FLOOR = -25.0, -88.0
"""Height of the hips and of the perineum, mm."""


def build(patient: Patient, findings: Sequence[str] = ()) -> Body:
    """The pelvis of a patient with findings of FINDINGS.

    Raises:
        ValueError: a finding that a pelvis cannot have.
    """
    if unknown := [f for f in findings if f not in FINDINGS]:
        raise ValueError(f"no finding {unknown[0]!r} in a pelvis; known: {', '.join(FINDINGS)}")
    rng = patient.rng("pelvis")
    s = patient.size
    hip = (87 if patient.sex == "M" else 89) * s + rng.uniform(-4, 4)
    side, front = 8 + (15 if patient.sex == "M" else 20) * patient.fat, 8 + 16 * patient.fat
    bladder = _bladder(patient, rng)
    parts = [*_wall(s, side, front, rng), *_bowel(s, rng), *_muscles(patient, s, hip, rng), *_bones(patient, s, hip, rng),
             *_femurs(patient, s, hip, rng), *_rectum(s, rng), *_genitals(patient, s, bladder, rng), *_vessels(s, hip, rng), *_urinary(bladder, rng)]
    shift = rng.uniform(-12, 12, 3)
    reach = np.array([142 * s + side + 8, 100 * s + front + 10])
    field = (_at(*(-reach + shift[:2]), -142 + shift[2]), _at(*(reach + shift[:2]), 118 + shift[2]))
    lesions = tuple(_stone(patient, bladder) for _ in findings)
    return Body("pelvis", (*parts, *(p for lesion in lesions for p in lesion.parts)), field, lesions, key=f"{patient.seed}/{patient.name}/pelvis")


def _at(*p: float) -> Point:
    return float(p[0]), float(p[1]), float(p[2])


def _around(rng: np.random.Generator, spread: float, *p: float) -> Point:
    """A point moved by up to the spread along each axis."""
    return _at(*(np.asarray(p) + rng.uniform(-spread, spread, 3)))


def _grown(shape: Ellipsoid, by: float) -> Ellipsoid:
    return replace(shape, radii=_at(*np.maximum(np.asarray(shape.radii) + by, 0.5)))


def _thinned(shape: Tube, by: float) -> Tube:
    return replace(shape, radii=[max(1.0, r - by) for r in shape._r])


def _wall(s: float, side: float, front: float, rng: np.random.Generator) -> list[Part]:
    flesh = Ellipsoid(_at(0, 4, 60), _at(142 * s, 96 * s, 420))
    wide, deep = 142 * s + side, 96 * s + 0.7 * front
    table = _at(0, 96 * s + 0.25 * front, 0)
    skins: list[Cut | Tube | Ellipsoid] = []
    fats: list[Cut | Tube | Ellipsoid] = []
    for out, by in ((skins, 0.0), (fats, 2.0)):
        trunk = Ellipsoid(_at(0, 4 - 0.2 * front, 40), _at(wide + 2 - by, deep + 2 - by, 400))
        seat = Ellipsoid(_at(0, 4 - 0.2 * front, -20), _at(0.985 * (wide + 2) - by, 0.985 * (deep + 2) - by, 80 - by))
        out += [Cut(trunk, _at(0, 0, -20), FOOT), seat]
        out[:] = [Cut(shape, _at(0, table[1] - by, 0), BACK) for shape in out]
        out += [Tube([_at(i * 82 * s, 6, FLOOR + 22), _at(i * (80 * s + 0.3 * side), 8, -300)], 70 * s + 0.75 * side - by) for i in (-1, 1)]
    thighs = [Tube([_at(i * 112 * s, -26, 28), _at(i * 90 * s, 2, FLOOR), _at(i * 86 * s, 4, -300)], [14 * s, 62 * s, 66 * s]) for i in (-1, 1)]
    inner = Ellipsoid(_at(0, -2, 70), _at(126 * s, 84 * s, 150))
    return [*(Part("", "skin", shape) for shape in skins), *(Part("", "fat", shape) for shape in fats),
            *(Part("muscle", "muscle", thigh, 0.04, 8) for thigh in thighs),
            Part("muscle", "muscle", Cut(flesh, _at(0, 0, 10 + rng.uniform(-8, 8)), FOOT)), Part("", "fat", inner)]


def _muscles(patient: Patient, s: float, hip: float, rng: np.random.Generator) -> list[Part]:
    strong = (1.06 if patient.sex == "M" else 0.94) * (1 - 0.003 * max(0, patient.age - 50)) * rng.uniform(0.92, 1.08)
    out = []
    for i in (-1, 1):
        maximus = Ellipsoid(_at(i * 70 * s, 72 * s, 6), _at(62 * s, 27 * strong, 86), turn=(18, 0, i * -24))
        medius = Ellipsoid(_at(i * 116 * s, 22 * s, 42), _at(26 * strong, 52 * s, 62), turn=(0, i * 12, i * 24))
        psoas = Tube([_at(i * 44 * s, 26 * s, 130), _at(i * 66 * s, -6, 62), _at(i * 78 * s, -38 * s, 0), _at(i * 100 * s, -4, -80)],
                     [22 * strong, 21 * strong, 17 * strong, 9])
        out += [Part("gluteal muscles", "muscle", maximus, 0.06, 5), Part("", "fat", _grown(medius, 2.5)),
                Part("gluteal muscles", "muscle", medius, 0.05, 6), Part("muscle", "muscle", psoas, 0.05, 6),
                Part("muscle", "muscle", Ellipsoid(_at(i * 0.7 * hip, 8, HIP - 6), _at(7, 30, 26), turn=(0, 0, i * -10))),
                Part("muscle", "muscle", Ellipsoid(_at(i * 22, 36, -62), _at(5, 38, 20), turn=(0, i * 35, i * 8))),
                Part("muscle", "muscle", Ellipsoid(_at(i * 60 * s, 50 * s, 18), _at(34, 8, 16), turn=(0, i * 20, i * -25))),
                Part("muscle", "muscle", Ellipsoid(_at(i * 28, 74 * s, 120), _at(24 * strong, 17, 70))),
                Part("muscle", "muscle", Ellipsoid(_at(i * 30, -80 * s, 60), _at(28, 8 * strong, 130)))]
    return out


def _bones(patient: Patient, s: float, hip: float, rng: np.random.Generator) -> list[Part]:
    marrow = "marrow" if patient.age > 35 else "red marrow"
    female = patient.sex == "F"
    flare, lean = 50 + rng.uniform(-7, 7) + 4 * female, -18 + rng.uniform(-7, 5) - 4 * female
    crest = rng.uniform(-10, 8)
    solid: list[Ellipsoid | Tube | Cut] = []
    core: list[Ellipsoid | Tube | Cut] = []
    for i in (-1, 1):
        wing = Ellipsoid(_at(i * 0.94 * hip, 14 * s, 38 + crest), _at(66 * s, 7.5, 64 * s), turn=(lean, 0, i * -flare))
        cup = Ellipsoid(_at(i * (hip - 3), 2, HIP + 2), _at(36 * s, 36 * s, 36 * s))
        open_side = _at(i * 0.85, -0.25, -0.5)
        gap = (33 if female else 28) * s
        tubes = [Tube([_at(i * 0.78 * hip, -16, HIP), _at(i * 44 * s, -52 * s, HIP - 12), _at(i * 9, -56 * s, HIP - 24)], [12, 8.5, 10]),
                 Tube([_at(i * 9, -54 * s, HIP - 30), _at(i * gap, -32 * s, HIP - 56), _at(i * (gap + 22), 20, FLOOR + 2)], [8, 6, 9]),
                 Tube([_at(i * 0.8 * hip, 24, HIP - 8), _at(i * (gap + 26), 26, FLOOR + 6)], [17, 13]),
                 Tube([_at(i * 0.72 * hip, 30 * s, HIP + 34), _at(i * 0.88 * hip, 8, HIP + 22)], [13, 20])]
        solid += [wing, Cut(cup, _at(i * (hip + 10), 0, HIP - 8), open_side), *tubes]
        core += [_grown(wing, -2.6), Cut(_grown(cup, -2.5), _at(i * (hip + 8), 0, HIP - 6), open_side), *(_thinned(t, 2.4) for t in tubes)]
    out = [Part("pelvic bones", "cortical bone", shape) for shape in solid] + [Part("pelvic bones", marrow, shape, 0.06, 4) for shape in core]
    out.append(Part("", "cartilage", Ellipsoid(_at(0, -56 * s, HIP - 26), _at(3.2, 10, 17))))
    return out + _sacrum(patient, s, marrow, rng)


def _sacrum(patient: Patient, s: float, marrow: str, rng: np.random.Generator) -> list[Part]:
    tilt = rng.uniform(22, 36)
    upper = Ellipsoid(_at(0, 56 * s, 44), _at(53 * s, 19 * s, 42), turn=(tilt, 0, 0))
    lower = Tube([_at(0, 66 * s, 34), _at(0, 80 * s, 0), _at(0, 70 * s, -28), _at(0, 54 * s, -44)], [27, 18, 9, 4], flat=(1, 0.62))
    disc = "dry disc" if patient.age > 55 else "disc"
    top = _at(0, 34 * s, 84)
    body = Ellipsoid(_at(0, 27 * s, 108), _at(25 * s, 18 * s, 17), turn=(tilt - 20, 0, 0))
    out = [Part("", "cartilage", _grown(upper, 2.2), within=("pelvic bones", "")),
           Part("sacrum", "cortical bone", upper), Part("sacrum", "cortical bone", lower),
           Part("sacrum", marrow, _grown(upper, -2.4), 0.05, 4), Part("sacrum", marrow, _thinned(lower, 2.2), 0.05, 4)]
    for k, z in enumerate((62.0, 40.0, 18.0)):  # remains of the discs, and the foramina on both sides of them
        y = np.interp(z, [0, 34, 84], [78 * s, 58 * s, 34 * s])
        out.append(Part("sacrum", "cortical bone", Ellipsoid(_at(0, y + 3, z), _at(17 - 3 * k, 11, 1.8), turn=(tilt, 0, 0)), within=("sacrum",)))
        out += [Part("", "fat", Ellipsoid(_at(i * (23 - 3 * k), y + 7, z), _at(5, 12, 5.5), turn=(tilt, 0, i * 15))) for i in (-1, 1)]
    canal = Tube([_at(0, 52 * s, 160), _at(0, 54 * s, 90), _at(0, 74 * s, 40), _at(0, 86 * s, 14)], [10, 9.5, 6.5, 3])
    arch = [Part("spine", "cortical bone", Ellipsoid(_at(0, 58 * s, z), _at(20, 14, 11))) for z in (104.0, 136.0)]
    spines = [Part("spine", marrow, Ellipsoid(_at(0, 74 * s, z - 6), _at(4, 14, 9), turn=(-14, 0, 0))) for z in (104.0, 136.0)]
    joint = Ellipsoid(top, _at(25 * s, 18 * s, 6), turn=(tilt, 0, 0))
    above = Ellipsoid(_at(0, 26 * s, 142), body.radii)
    return [*out, Part("spine", "cortical bone", body), Part("spine", marrow, _grown(body, -2)), Part("spine", "cortical bone", above),
            Part("spine", marrow, _grown(above, -2)), Part("spine", "cortical bone", Ellipsoid(_at(0, 29 * s, 108), _at(44 * s, 6, 7))),
            *arch, *spines, Part("spine", disc, joint),
            Part("spine", disc, Ellipsoid(_at(0, 26 * s, 125), _at(25 * s, 18 * s, 5.5))), Part("spine", "csf", canal)]


def _femurs(patient: Patient, s: float, hip: float, rng: np.random.Generator) -> list[Part]:
    out = []
    r, long, turn = (24.5 if patient.sex == "M" else 22) * s, rng.uniform(34, 46) * s, rng.uniform(-6, 16)
    for i, side in ((-1, "right"), (1, "left")):
        head = _at(i * hip, 0, HIP)
        base = _at(i * (hip + long), turn * 0.6, HIP - 22 * s)
        head_in = Ellipsoid(head, _at(r, r, r))
        neck = Tube([head, base], [0.68 * r, 15.5 * s])
        trochanter = Ellipsoid(_at(base[0] + i * 9, base[1] + 9, base[2] + 2), _at(14 * s, 17 * s, 22 * s), turn=(0, i * 14, 0))
        small = Ellipsoid(_at(base[0] - i * 13, base[1] + 14, base[2] - 38), _at(10, 10, 13))
        shaft = Tube([base, _at(base[0] - i * 3, base[1] + 4, base[2] - 50), _at(base[0] - i * 24, base[1], -320)], [17 * s, 15.5 * s, 14 * s])
        name = f"{side} femur"
        out += [Part("", "cartilage", _grown(head_in, 3)),
                *(Part(name, "cortical bone", shape) for shape in (head_in, neck, trochanter, small, shaft)),
                *(Part(name, "marrow", shape, 0.08, 4)
                  for shape in (_grown(head_in, -1.8), _thinned(neck, 2.4), _grown(trochanter, -1.8), _grown(small, -2.5))),
                Part(name, "marrow", replace(shaft, radii=[14 * s, 7.5 * s, 6.5 * s]))]
    return out


def _rectum(s: float, rng: np.random.Generator) -> list[Part]:
    r = rng.uniform(14, 22)
    bent = rng.uniform(-12, 12)
    way = [_at(bent, 22 * s, 52), _at(-bent * 0.5, 46 * s, 26), _at(bent * 0.3, 54 * s, -8), _at(0, 42 * s, -40), _at(0, 48 * s, -84)]
    tube = Tube(way, [r, 1.05 * r, 1.1 * r, r, 9])
    inner = _thinned(tube, 3.5)
    out = [Part("", "fat", _thinned(tube, -7), within=("", "bowel")), Part("rectum", "bowel", tube),
           Part("rectum", "bowel", inner, rng.uniform(0.15, 0.35), 4)]
    if rng.random() < 0.6:
        out.append(Part("rectum", "air", Cut(inner, _at(0, 46 * s - rng.uniform(-2, 14), 0), BACK)))
    return out


def _bladder(patient: Patient, rng: np.random.Generator) -> Ellipsoid:
    """The outside of the bladder: its floor stays, and it grows upwards and to the front (70 to 480 ml)."""
    volume = float(np.exp(rng.uniform(np.log(80e3), np.log(450e3))))
    r = (volume * 3 / 4 / np.pi) ** (1 / 3)
    flat = np.clip(0.62 + 0.38 * (volume - 8e4) / 3e5, 0.6, 1.1)
    shape = np.array([1.12, 0.95, flat]) * rng.uniform(0.92, 1.08, 3)
    shape *= r / np.cbrt(shape.prod())
    bed = -44.0 + (8 if patient.sex == "M" else 0)
    centre = _at(rng.uniform(-9, 9), -24 - 0.15 * shape[1] + rng.uniform(-4, 4), bed + shape[2] + 2)
    return Ellipsoid(centre, _at(*(shape + 3)), turn=(rng.uniform(0, 15), 0, 0), lobes=0.04, phase=phase(rng))


def _urinary(bladder: Ellipsoid, rng: np.random.Generator) -> list[Part]:
    return [Part("", "fat", _grown(bladder, 3), within=("", "bowel")), Part("bladder", "muscle", bladder),
            Part("bladder", "urine", _grown(bladder, -rng.uniform(2.5, 4.5)))]


def _genitals(patient: Patient, s: float, bladder: Ellipsoid, rng: np.random.Generator) -> list[Part]:
    x, y, z = bladder.centre
    if patient.sex == "M":
        k = float(np.clip(0.85 + 0.008 * (patient.age - 30) + 0.1 * rng.standard_normal(), 0.8, 1.4))
        gland = Ellipsoid(_at(x * 0.3, y + 14, -46), _at(24 * k, 17 * k, 18 * k), lobes=0.03, phase=phase(rng))
        core = Ellipsoid(_at(x * 0.3, y + 10, -43), _at(14 * k, 10 * k, 12 * k), lobes=0.1, phase=phase(rng))
        behind = min(y + bladder.radii[1] + 2, 34)
        out = [Part("", "fat", _grown(gland, 4), within=("", "muscle")), Part("prostate", "prostate", gland), Part("prostate", "soft", core, 0.15, 4)]
        for i in (-1, 1):
            vesicle = Ellipsoid(_at(i * 18, behind, -24), _at(17, 5.5, 7), turn=(0, i * -22, i * 12), lobes=0.2, waves=6, phase=phase(rng))
            out.append(Part("", "bile", vesicle))
        out.append(Part("", "soft", Tube([_at(0, -56 * s, -66), _at(0, -86 * s, -70), _at(0, -104 * s, -110)], [11, 13, 14])))  # root of the penis
        return out
    k = 0.78 if patient.age > 55 else 1.0
    k *= rng.uniform(0.88, 1.15)
    aside, up = rng.uniform(-14, 14), z + 0.72 * bladder.radii[2]
    cervix = _at(0, y + bladder.radii[1] + 12, -16)
    fundus = _at(aside, y + 0.75 * bladder.radii[1], max(up, 8) + 20 * k)
    middle = _at(0.6 * aside, (cervix[1] + fundus[1]) / 2 + 4, (cervix[2] + fundus[2]) / 2)
    womb = Tube([cervix, middle, fundus], [14 * k, 19 * k, 26 * k], flat=(1, 0.85))
    out = [Part("", "fat", _thinned(womb, -4), within=("", "bowel")), Part("uterus", "uterus", womb, 0.05, 5),
           Part("uterus", "bile", Tube([middle, fundus], [2, 5 * k])), Part("", "soft", Tube([cervix, _at(0, y + 22, -78)], [11, 11], flat=(1, 0.5)))]
    for i in (-1, 1):
        ovary = Ellipsoid(_around(rng, 7, i * 44, 14, 12), _at(11 * k, 9 * k, 15 * k))
        out += [Part("", "soft", ovary), Part("", "bile", Ellipsoid(_around(rng, 2, *ovary.centre), _at(6 * k, 5 * k, 6 * k)))]
    return out


def _bowel(s: float, rng: np.random.Generator) -> list[Part]:
    out = []
    for _ in range(15):
        spot = _at(rng.uniform(-70, 70) * s, rng.uniform(-62, 8) * s, rng.uniform(14, 130))
        loop = Ellipsoid(spot, _at(rng.uniform(12, 17), rng.uniform(12, 16), rng.uniform(24, 44)), turn=(rng.uniform(0, 180), rng.uniform(0, 180), 0))
        out.append(Part("bowel", "bowel", loop, 0.08, 3))
        if (kind := rng.random()) < 0.65:
            out.append(Part("bowel", "gastric content" if kind < 0.45 else "air", _grown(loop, -5)))
    caecum = Ellipsoid(_around(rng, 10, -92 * s, -22 * s, 84), _at(27, 27, 48), lobes=0.2, waves=5, phase=phase(rng))
    bends = [_around(rng, 8, 92 * s, -22 * s, 62), _around(rng, 14, 42, -10, 40), _around(rng, 12, 10, -6, 66)]
    sigmoid = Tube([_at(102 * s, 0, 150), *bends, _at(0, 22 * s, 52)], 17)
    for wall, inner in ((caecum, _grown(caecum, -3)), (sigmoid, _thinned(sigmoid, 3))):
        assert isinstance(inner, Ellipsoid | Tube)
        y = (wall.box[0][1] + wall.box[1][1]) / 2 - rng.uniform(-4, 8)
        out += [Part("bowel", "bowel", wall), Part("bowel", "bowel", inner, rng.uniform(0.15, 0.4), 4),
                Part("bowel", "air", Cut(inner, _at(0, y, 0), BACK))]
    return out


def _vessels(s: float, hip: float, rng: np.random.Generator) -> list[Part]:
    out = []
    for i in (-1, 1):
        r = rng.uniform(4.6, 6.2)
        way = [_at(i * 24, 8, 150), _at(i * 36 * s, 4, 92), _at(i * 56 * s, 0, 52), _at(i * 70 * s, -48 * s, -14), _at(i * 74 * s, -50 * s, -150)]
        vein = [_at(p[0] - i * (13 if k > 2 else 0), p[1] + (3 if k > 2 else 12), p[2]) for k, p in enumerate(way)]  # behind, then medial
        out += [Part("", "fat", _thinned(Tube(way, r), -5), within=("muscle",)),
                Part("iliac veins", "blood", Tube(vein, r + 1.2)), Part("iliac arteries", "blood", Tube(way, r)),
                Part("iliac arteries", "blood", Tube([way[1], _at(i * 46, 34 * s, 50), _at(i * 52, 36 * s, 10)], [0.8 * r, 3.5, 2.5]))]
    return out


def _stone(patient: Patient, bladder: Ellipsoid) -> Lesion:
    rng = patient.rng("pelvis", "bladder stone")
    r = rng.uniform(4, 13) * rng.uniform(0.8, 1.1, 3)
    # It lies on the back wall.
    x, y, z = np.asarray(bladder.centre) + np.array([rng.uniform(-0.3, 0.3), 0, rng.uniform(-0.25, 0.1)]) * np.asarray(bladder.radii)
    at = _at(x, y + 0.84 * bladder.radii[1] - 4.5 - r[1], z)
    stone = Part("bladder", "calcification", Ellipsoid(at, _at(*r), lobes=0.08, phase=phase(rng)), 0.5, 3, within=("bladder",))
    return Lesion("bladder stone", "bladder", (stone,), at, _at(*r))
