"""The head: skull, brain, ventricles, eyes, arteries; tumours and haemorrhage. The origin is the middle of the cranial cavity.

Sizes: Blinkov and Glezer 1968 (brain), Rengachary and Ellenbogen 2005 (ventricles). Tumours: Louis et al. 2021 (WHO classification) for the
kinds; edge, oedema and heterogeneity by grade of meningioma after Hale et al. 2018 (Neurosurg Focus 45:E4), overlapping between grades.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from radisim_cl.phantom.body import Body, Lesion, Part
from radisim_cl.phantom.patients import Patient
from radisim_cl.phantom.shapes import Ellipsoid, Point, Tube, Without, phase

FINDINGS = ("glioma", "meningioma grade 1", "meningioma grade 2", "meningioma grade 3", "pituitary tumour", "intracranial haemorrhage")
BRAIN = ("grey matter", "white matter")
CAVITY = np.array([64.0, 82.0, 70.0])
"""Half-axes of the cranial cavity of an average head, mm."""


def build(patient: Patient, findings: Sequence[str] = ()) -> Body:
    """The head of a patient with findings of FINDINGS.

    Raises:
        ValueError: a finding that a head cannot have.
    """
    if unknown := [f for f in findings if f not in FINDINGS]:
        raise ValueError(f"no finding {unknown[0]!r} in a head; known: {', '.join(FINDINGS)}")
    rng = patient.rng("head")
    cavity = CAVITY * patient.size * (1 + 0.03 * rng.standard_normal(3))
    parts = [*_skull(patient, cavity), *_brain(patient, cavity, rng), *_face(patient, cavity, rng), *_arteries(cavity, rng),
             *_harmless(patient, cavity)]
    lesions = tuple(_lesion(f, patient, cavity) for f in findings)
    reach = cavity + 30
    return Body("head", (*parts, *(p for lesion in lesions for p in lesion.parts)),
                ((-reach[0], -reach[1] - 8, -reach[2] - 30), (reach[0], reach[1], reach[2])), lesions, key=f"{patient.seed}/{patient.name}/head")


def _at(*p: float) -> Point:
    return float(p[0]), float(p[1]), float(p[2])


def _skull(patient: Patient, c: np.ndarray) -> list[Part]:
    scalp, thick = 4 + 2.5 * patient.fat, patient.rng("head", "skull").uniform(3.5, 7)
    layers = [("", "skin", 5 + thick + scalp), ("", "fat", 3.5 + thick + scalp), ("", "muscle", 5 + thick), ("skull", "cortical bone", 3 + thick),
              ("skull", "marrow", 3 + 0.55 * thick), ("skull", "cortical bone", 3.0), ("csf", "csf", 0.0)]
    face = Ellipsoid(_at(0, -0.42 * c[1], -0.85 * c[2]), _at(0.88 * c[0], 0.75 * c[1], 0.75 * c[2]), power=2.5)
    neck = Tube([_at(0, 0.15 * c[1], -0.6 * c[2]), _at(0, 0.2 * c[1], -2.4 * c[2])], 48 + 6 * patient.fat)
    out = [Part("", "fat", neck), Part("", "muscle", replace(neck, radii=44.0)), Part("", "fat", face),
           Part("", "muscle", replace(face, radii=_at(*(np.asarray(face.radii) - 5))))]
    return out + [Part(s, t, Ellipsoid((0.0, 0.0, 0.0), _at(*(c + d)))) for s, t, d in layers]


def _brain(patient: Patient, c: np.ndarray, rng: np.random.Generator) -> list[Part]:
    shrink = 1.5 + 0.06 * max(0, patient.age - 40) + rng.uniform(0, 1.5)
    wide = 3.2 + 0.055 * max(0, patient.age - 30) + rng.uniform(0, 2.5)
    waves, folds = 9 + rng.uniform(0, 4), phase(rng)
    brain = c - np.array([shrink, shrink, shrink + 1.0])
    cortex = rng.uniform(4.5, 6.5)
    core = Ellipsoid((0.0, 0.0, 1.0), _at(*(brain - cortex * np.array([1.5, 1.7, 1.6]))), lobes=0.11, waves=waves, phase=phase(rng))
    out = [
        Part("grey matter", "grey matter", Ellipsoid((0.0, 0.0, 0.0), _at(*brain), lobes=0.025, waves=waves + 4, phase=folds), 0.03, 5),
        Part("white matter", "white matter", core, 0.03, 10),
        Part("grey matter", "grey matter", Ellipsoid(_at(0, 0, 6), _at(6, 0.9 * c[1], 0.82 * c[2]), lobes=0.3, waves=12, phase=phase(rng)),
             within=("white matter",)),
    ]
    out += [
        Part("white matter", "white matter", Ellipsoid(_at(0, -2, 20), _at(16, 34, 5))),  # corpus callosum
        Part("csf", "csf", Ellipsoid(_at(0, 0, 0.6 * c[2]), _at(1.3 + 0.3 * shrink, 0.97 * c[1], 0.42 * c[2]), power=3)),
        Part("", "fibrous", Ellipsoid(_at(0, 10, 0.72 * c[2]), _at(0.7, 0.85 * c[1], 0.3 * c[2]), power=3)),
        Part("cerebellum", "csf", Ellipsoid(_at(0, 0.58 * c[1], -0.62 * c[2]), _at(0.76 * c[0], 0.38 * c[1], 0.36 * c[2]))),
        Part("cerebellum", "grey matter",
             Ellipsoid(_at(0, 0.58 * c[1], -0.62 * c[2]), _at(0.73 * c[0], 0.35 * c[1], 0.33 * c[2]), lobes=0.06, waves=12)),
        Part("cerebellum", "white matter",
             Ellipsoid(_at(0, 0.58 * c[1], -0.6 * c[2]), _at(0.55 * c[0], 0.2 * c[1], 0.2 * c[2]), lobes=0.2, waves=10)),
        Part("brainstem", "white matter", Tube([_at(0, 12, -14), _at(0, 20, -38), _at(0, 28, -2.2 * c[2])], [14, 15, 9])),
        Part("csf", "csf", Ellipsoid(_at(0, 33, -36), _at(6, 5, 9))),
        Part("csf", "csf", Ellipsoid(_at(0, -0.25 * c[1], -0.42 * c[2]), _at(16, 10, 9))),  # suprasellar cistern
        Part("pituitary", "pituitary", Ellipsoid(_at(0, -0.25 * c[1], -0.5 * c[2]), _at(6, 5, 4))),
    ]
    for s in (-1, 1):
        slit = [_at(s * 8, -0.36 * c[1], 10), _at(s * 12, -5, 24), _at(s * 18, 0.3 * c[1], 18), _at(s * 24, 0.52 * c[1], 4)]
        out += [
            Part("grey matter", "grey matter", Ellipsoid(_at(s * 11, 6, 4), _at(9, 14, 9))),
            Part("grey matter", "grey matter", Ellipsoid(_at(s * 26, -6, 4), _at(7, 19, 11), turn=(0, 0, s * 12))),
            Part("ventricles", "csf", Tube(slit, [wide, wide * 0.9, wide, wide * 0.75])),
            Part("ventricles", "csf", Tube([slit[2], _at(s * 32, 0.2 * c[1], -14)], [wide * 0.8, wide * 0.45])),
            # the Sylvian fissure
            Part("csf", "csf", Ellipsoid(_at(s * 0.68 * c[0], -8, -6), _at(11, 2.2 + 0.03 * max(0, patient.age - 40), 12), turn=(0, 0, s * 20))),
        ]
    out.append(Part("ventricles", "csf", Ellipsoid(_at(0, 4, 4), _at(wide * 0.45, 14, 10))))
    return out


def _harmless(patient: Patient, c: np.ndarray) -> list[Part]:
    """What many people have and what is neither tumour nor haemorrhage, although it is bright or dark like one: calcifications (Daghighi et al.
    2007, Folia Morphol 66:115), white-matter lesions of age (Fazekas et al. 1987, AJR 149:351), an old infarct, a cyst."""
    rng, old, out = patient.rng("head", "harmless"), max(0, patient.age - 35) / 55, []
    if rng.random() < 0.2 + 0.5 * old:  # of the plexus, in the trigones
        r = rng.uniform(2, 4.5)
        out += [Part("ventricles", "calcification", Ellipsoid(_at(s * (18 + rng.normal(0, 1)), 0.3 * c[1] + rng.normal(0, 2), 17), _at(r, 1.3 * r, r),
                                                             lobes=0.2)) for s in (-1, 1)]
    if rng.random() < 0.5:
        out.append(Part("", "calcification", Ellipsoid(_at(rng.normal(0, 0.8), 0.28 * c[1], 4), _at(*rng.uniform(2, 4, 3)))))  # pineal
    if rng.random() < 0.1 + 0.3 * old:  # of the basal ganglia
        r = rng.uniform(2.5, 6)
        out += [Part("grey matter", "calcification", Ellipsoid(_at(s * (21 + rng.normal(0, 1.5)), -8 + rng.normal(0, 2), 4), _at(0.6 * r, r, r),
                                                              lobes=0.4, phase=phase(rng))) for s in (-1, 1)]
    if rng.random() < 0.15 + 0.3 * old:  # plaques of the falx
        y, z = rng.uniform(-0.6, 0.2) * c[1], rng.uniform(0.4, 0.75) * c[2]
        out.append(Part("", "calcification", Ellipsoid(_at(0, y, z), _at(rng.uniform(1, 2.2), rng.uniform(4, 14), rng.uniform(4, 10)))))
    for _ in range(int(rng.integers(0, 2 + round(14 * old)))):
        s = 1 if rng.random() < 0.5 else -1
        at = _at(s * rng.uniform(16, 0.55 * c[0]), rng.uniform(-0.5, 0.6) * c[1], rng.uniform(8, 0.5 * c[2]))
        out.append(Part("white matter", "oedema", Ellipsoid(at, _at(*rng.uniform(1.5, 2 + 4 * old, 3)), lobes=0.3, phase=phase(rng)),
                        within=("white matter",)))
    if rng.random() < 0.18:
        s = 1 if rng.random() < 0.5 else -1
        if rng.random() < 0.5:  # an infarct: what is left of it is fluid, and a scar around it
            _, (x, y, z) = _lobe(rng)
            at, size = _at(s * 1.25 * x * c[0], y * c[1], z * c[2]), rng.uniform(8, 17) * rng.uniform(0.8, 1.2, 3)
            out.append(Part("white matter", "oedema", Ellipsoid(at, _at(*(1.25 * size)), lobes=0.3, phase=phase(rng)), within=("white matter",)))
            out.append(Part("csf", "csf", Ellipsoid(at, _at(*size), lobes=0.4, phase=phase(rng)), within=BRAIN))
        else:  # an arachnoid cyst in front of the temporal pole or beside the hemisphere
            at = _at(s * 0.78 * c[0], rng.uniform(-0.45, -0.2) * c[1], rng.uniform(-0.3, 0.1) * c[2])
            out.append(Part("csf", "csf", Ellipsoid(at, _at(*rng.uniform(9, 18, 3))), within=BRAIN))
    return out


def _face(patient: Patient, c: np.ndarray, rng: np.random.Generator) -> list[Part]:
    front, level = -0.86 * c[1], -0.5 * c[2]
    out = [
        Part("skull", "cortical bone", Ellipsoid(_at(0, 0.05 * c[1], -0.98 * c[2]), _at(0.55 * c[0], 0.7 * c[1], 5), turn=(8, 0, 0))),
        Part("skull", "marrow", Ellipsoid(_at(0, 0.75 * front, -0.75 * c[2]), _at(0.42 * c[0], 18, 30))),
        Part("skull", "cortical bone", Tube([_at(-0.68 * c[0], 0.05 * c[1], -1.1 * c[2]), _at(-0.45 * c[0], -0.75 * c[1], -1.5 * c[2]),
                                             _at(0.45 * c[0], -0.75 * c[1], -1.5 * c[2]), _at(0.68 * c[0], 0.05 * c[1], -1.1 * c[2])], 6.5)),
        Part("", "air", Ellipsoid(_at(0, 0.78 * front, level - 16), _at(13, 22, 17), power=3)),
        Part("", "air", Ellipsoid(_at(0, 0.2 * front, -1.25 * c[2]), _at(10, 10, 30))),
    ]
    for s in (-1, 1):
        socket = _at(s * 0.5 * c[0], front + 6, level)
        side = "left" if s > 0 else "right"
        out += [
            Part("", "air", Ellipsoid(_at(s * 0.42 * c[0], front + 20, level - 32), _at(13, 15, 14), power=3)),
            Part("skull", "cortical bone", Ellipsoid(socket, _at(20, 25, 18))),
            Part("", "fat", Ellipsoid(_at(socket[0], socket[1] - 5, socket[2]), _at(17.5, 24, 15.5))),
            Part(f"{side} eye", "vitreous", Ellipsoid(_at(socket[0], socket[1] - 9, socket[2]), _at(12, 12, 12))),
            Part(f"{side} eye", "grey matter", Ellipsoid(_at(socket[0], socket[1] - 18, socket[2]), _at(5, 2.2, 5))),
            Part("", "white matter", Tube([_at(socket[0], socket[1] + 2, socket[2]), _at(s * 8, -0.3 * c[1], level + 2)], 2)),
            Part("", "air", Ellipsoid(_at(s * 0.9 * c[0], 0.32 * c[1], -0.72 * c[2]), _at(8, 10, 11))),
        ]
    return out


def _arteries(c: np.ndarray, rng: np.random.Generator) -> list[Part]:
    def vessel(*points: Point, r: float) -> Part:
        moved = [_at(*(np.asarray(p) + rng.normal(0, 1.5, 3))) for p in points]
        return Part("arteries", "blood", Tube(moved, r * float(rng.uniform(0.9, 1.25))))

    out = [vessel(_at(0, 4, -1.6 * c[2]), _at(0, 0, -0.75 * c[2]), _at(0, -4, -0.42 * c[2]), r=2.2),
           vessel(_at(0, -0.8 * c[1], 0.62 * c[2]), _at(0, 0, 1.0 * c[2]), _at(0, 0.88 * c[1], 0.4 * c[2]), _at(0, 0.97 * c[1], 0), r=3)]
    for s in (-1, 1):
        top = _at(s * 12, -0.22 * c[1], -0.38 * c[2])
        out += [vessel(_at(s * 24, 6, -2.2 * c[2]), _at(s * 22, 2, -0.9 * c[2]), _at(s * 14, -10, -0.6 * c[2]), top, r=2.6),
                vessel(top, _at(s * 0.55 * c[0], -0.2 * c[1], -0.25 * c[2]), _at(s * 0.8 * c[0], 0.05 * c[1], 0.05 * c[2]),
                       _at(s * 0.82 * c[0], 0.4 * c[1], 0.35 * c[2]), r=1.9),
                vessel(top, _at(s * 2, -0.5 * c[1], -0.1 * c[2]), _at(s * 2, -0.6 * c[1], 0.3 * c[2]), _at(s * 2, -0.1 * c[1], 0.55 * c[2]), r=1.6),
                vessel(_at(0, -4, -0.42 * c[2]), _at(s * 20, 0.2 * c[1], -0.35 * c[2]), _at(s * 22, 0.65 * c[1], -0.15 * c[2]), r=1.6)]
    return out


def _lesion(finding: str, patient: Patient, c: np.ndarray) -> Lesion:
    rng = patient.rng("head", finding)
    if finding == "glioma":
        return _glioma(c, rng)
    if finding == "pituitary tumour":
        r = rng.uniform(11, 18) * np.array([rng.uniform(0.9, 1.2), 1, rng.uniform(1, 1.35)])
        at = _at(rng.normal(0, 1.5), -0.25 * c[1], -0.5 * c[2] + 0.55 * r[2])
        shape = Ellipsoid(at, _at(*r), lobes=0.08, phase=phase(rng))
        return Lesion(finding, "sella", (Part("pituitary tumour", "pituitary tumour", shape, rng.uniform(0.03, 0.12), 5),), at, _at(*r))
    if finding == "intracranial haemorrhage":
        return _haemorrhage(c, rng)
    return _meningioma(int(finding[-1]), c, rng)


def _glioma(c: np.ndarray, rng: np.random.Generator) -> Lesion:
    side, s = ("left", 1) if rng.random() < 0.5 else ("right", -1)
    lobe, (x, y, z) = _lobe(rng)
    at = _at(s * x * c[0], y * c[1], z * c[2])
    r = rng.uniform(17, 27) * rng.uniform(0.85, 1.2, 3)
    edge = phase(rng)
    around = Ellipsoid(at, _at(*(r * rng.uniform(1.3, 1.8))), lobes=0.35, waves=3, phase=phase(rng))
    swelling = Part("oedema", "oedema", around, 0.06, 9, within=("white matter",))
    mass = Ellipsoid(at, _at(*r), lobes=0.28, waves=3.5, phase=edge)
    rim = Part("glioma", "glioma", mass, 0.13, 6, within=(*BRAIN, "oedema", "csf", "ventricles"))
    parts = [swelling, rim]
    if rng.random() < 0.7:
        core = Ellipsoid(_at(*(np.asarray(at) + rng.normal(0, 1.5, 3))), _at(*(r * rng.uniform(0.45, 0.7))), lobes=0.3, waves=3, phase=edge)
        parts.append(Part("glioma", "necrosis", core, 0.05, 5, within=("glioma",)))
    return Lesion("glioma", f"{side} {lobe} lobe", tuple(parts), at, _at(*r))


def _lobe(rng: np.random.Generator) -> tuple[str, Point]:
    places = {"frontal": (0.45, -0.5, 0.3), "parietal": (0.45, 0.3, 0.5), "temporal": (0.62, 0.0, -0.25), "occipital": (0.35, 0.66, 0.1)}
    name = list(places)[int(rng.integers(4))]
    return name, _at(*(np.asarray(places[name]) + rng.uniform(-0.07, 0.07, 3)))


def _haemorrhage(c: np.ndarray, rng: np.random.Generator) -> Lesion:
    side, s = ("left", 1) if rng.random() < 0.5 else ("right", -1)
    if rng.random() < 0.55:  # in the brain
        lobe, (x, y, z) = _lobe(rng)
        at = _at(s * x * c[0] * 0.85, y * c[1] * 0.8, z * c[2])
        r = rng.uniform(9, 17) * rng.uniform(0.8, 1.2, 3)
        halo = Part("oedema", "oedema", Ellipsoid(at, _at(*(r * 1.3)), lobes=0.2, phase=phase(rng)), within=("white matter",))
        pool = Ellipsoid(at, _at(*r), lobes=0.18, phase=phase(rng))
        clot = Part("haemorrhage", "clot", pool, 0.05, 6, within=(*BRAIN, "oedema", "csf", "ventricles"))
        return Lesion("intracranial haemorrhage", f"{side} {lobe} lobe", (halo, clot), at, _at(*r))
    # Under the skull: what of the cavity the pushed-in brain leaves free.
    depth, angle = rng.uniform(8, 13), rng.uniform(-0.6, 0.7)
    crescent = rng.random() < 0.6
    middle = np.array([s * np.cos(angle) * c[0], np.sin(angle) * c[1], rng.uniform(0.05, 0.4) * c[2]])
    within = (*BRAIN, "csf", "ventricles")
    if crescent:
        pushed = Ellipsoid(_at(*(-middle * np.array([depth / c[0], depth / c[1], 0.0]))), _at(*(c + 0.5)))
        reach = Ellipsoid(_at(*middle), _at(0.7 * c[0], 0.78 * c[1], 0.6 * c[2]))
        clot = Part("haemorrhage", "clot", Without(reach, pushed), 0.06, 7, within=within)
        return Lesion("intracranial haemorrhage", f"{side} subdural space", (clot,), _at(*(middle * 0.93)), _at(depth, 0.4 * c[1], 0.35 * c[2]))
    outwards = float(np.degrees(np.arctan2(middle[1], middle[0])))
    lens = Ellipsoid(_at(*(middle * 0.97)), _at(depth * 1.2, 0.36 * c[1], 0.34 * c[2]), turn=(0, 0, outwards))
    clot = Part("haemorrhage", "clot", lens, 0.04, 7, within=within)
    return Lesion("intracranial haemorrhage", f"{side} epidural space", (clot,), _at(*(middle * 0.93)), _at(depth, 0.3 * c[1], 0.3 * c[2]))


def _meningioma(grade: int, c: np.ndarray, rng: np.random.Generator) -> Lesion:
    side, s = ("left", 1) if rng.random() < 0.5 else ("right", -1)
    step = grade - 2 + rng.normal(0, 0.33)  # how bad it looks: the grades overlap
    size = float(np.clip(20 + 4.5 * step + rng.normal(0, 1.5), 11, 32))
    up, around = rng.uniform(0.1, 0.85), rng.uniform(-np.pi / 2.3, np.pi / 2.3)
    direction = np.array([s * np.cos(around) * np.sqrt(1 - up**2), np.sin(around) * np.sqrt(1 - up**2), up])
    place = "convexity" if up < 0.7 else "parasagittal region"
    at = _at(*(direction * (c - 0.72 * size)))
    r = _at(size * rng.uniform(0.9, 1.1), size * rng.uniform(0.9, 1.15), size * rng.uniform(0.9, 1.1))
    edge = float(np.clip(0.12 + 0.12 * step, 0.0, 0.42))
    swelling = float(np.clip(1.22 + 0.22 * step + rng.normal(0, 0.05), 1.0, 1.75))
    within = (*BRAIN, "csf", "oedema", "ventricles")
    uneven = float(np.clip(0.13 + 0.12 * step, 0.02, 0.4))
    parts = [Part("oedema", "oedema", Ellipsoid(at, _at(*(np.asarray(r) * swelling)), lobes=0.25, phase=phase(rng)), 0.05, 9, within=BRAIN),
             Part("meningioma", "meningioma", Ellipsoid(at, r, lobes=edge, waves=3.2, phase=phase(rng)), uneven, 5, within=within)]
    if step > 0.6:
        inner = _at(*(np.asarray(at) + rng.uniform(-0.3, 0.3, 3) * size))
        parts.append(Part("meningioma", "necrosis", Ellipsoid(inner, _at(*(np.asarray(r) * rng.uniform(0.3, 0.5))), lobes=0.3, phase=phase(rng)),
                          within=("meningioma",)))
    return Lesion(f"meningioma grade {grade}", f"{side} {place}", tuple(parts), at, r)
