"""What is said of a picture: captions at the level of a stage, labels, reports with negation and doubt.

A caption states only what is true of the patient and visible in the picture; errors are put in later and on purpose (`sources.Source.noise`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from radisim_cl.phantom.body import Lesion
from radisim_cl.phantom.exams import VISIBLE, Picture

LEVELS = ("modality", "anatomy", "localization", "diagnosis", "grading")
"""From the coarsest question to the finest."""

_MODALITY = {"CT": ["CT", "computed tomography", "CT scan"], "MR": ["MRI", "MR", "magnetic resonance"], "DR": ["radiograph", "X-ray", "plain film"]}
_SEQUENCE = {
    "T1": ["T1-weighted MRI", "T1 MRI", "unenhanced T1 MRI"], "T2": ["T2-weighted MRI", "T2 MRI"],
    "PD": ["proton density MRI", "fat-suppressed PD MRI"],
    "FLAIR": ["FLAIR MRI"], "T1C": ["contrast-enhanced T1 MRI", "T1 MRI with contrast", "post-gadolinium T1 MRI"],
    "MRA": ["MR angiography", "MRA", "time-of-flight MRA"], "DWI": ["diffusion-weighted MRI", "DWI"],
}
_REGION = {"head": ["brain", "head"], "chest": ["chest", "thorax"], "abdomen": ["abdomen"], "pelvis": ["pelvis"], "knee": ["knee"],
           "breast": ["breast", "breasts"], "lumbar spine": ["lumbar spine"]}
_FINDING = {
    "glioma": ["glioma", "irregular glioma with oedema", "infiltrating glioma"],
    "meningioma": ["meningioma", "extra-axial meningioma"],
    "pituitary tumour": ["pituitary tumour", "pituitary adenoma"],
    "intracranial haemorrhage": ["intracranial haemorrhage", "acute haemorrhage", "intracranial hemorrhage"],
    "pneumonia": ["pneumonia", "consolidation, pneumonia", "airspace opacity, pneumonia"],
    "COVID-19 pneumonia": ["COVID-19 pneumonia", "peripheral ground-glass opacities, COVID-19"],
    "pleural effusion": ["pleural effusion", "effusion"],
    "cardiomegaly": ["cardiomegaly", "enlarged heart"],
    "enlarged lymph nodes": ["enlarged lymph node", "enlarged lymph nodes", "lymphadenopathy"],
    "ACL tear": ["anterior cruciate ligament tear", "ACL tear", "torn anterior cruciate ligament"],
    "meniscal tear": ["meniscal tear", "torn meniscus", "meniscus tear"],
    "breast tumour": ["breast tumour", "breast mass"],
    "disc herniation": ["disc herniation", "herniated disc"],
    "vertebral fracture": ["vertebral fracture", "compression fracture"],
}
_NORMAL = {
    "head": ["normal brain", "no tumour", "no haemorrhage", "no intracranial abnormality", "no brain tumour"],
    "chest": ["no pneumonia", "clear lungs", "normal chest", "no enlarged lymph nodes", "no acute abnormality"],
    "abdomen": ["normal abdomen", "no abnormality"], "pelvis": ["normal pelvis", "no abnormality"],
    "knee": ["intact anterior cruciate ligament", "intact menisci", "normal knee", "no ligament tear", "no meniscal tear"],
    "breast": ["normal breasts", "no mass"], "lumbar spine": ["normal lumbar spine", "no herniation"],
}
ABSENT: dict[str, dict[str, tuple[str, ...]]] = {
    "head": {"tumour": ("glioma", "meningioma", "pituitary tumour"), "haemorrhage": ("intracranial haemorrhage",)},
    "chest": {"pneumonia": ("pneumonia", "COVID-19 pneumonia"), "pleural effusion": ("pleural effusion",),
              "enlarged lymph nodes": ("enlarged lymph nodes",)},
    "knee": {"ligament tear": ("ACL tear",), "meniscal tear": ("meniscal tear",)},
}
"""By region, what may be denied, and the findings that forbid to."""
_GRADE = {
    1: ["WHO grade 1 meningioma, smooth margin", "benign meningioma, WHO grade 1", "grade 1 meningioma, homogeneous"],
    2: ["WHO grade 2 meningioma, lobulated margin", "atypical meningioma, WHO grade 2", "grade 2 meningioma with oedema"],
    3: ["WHO grade 3 meningioma, irregular margin", "anaplastic meningioma, WHO grade 3", "grade 3 meningioma, heterogeneous with oedema"],
}


def at(place: str) -> str:
    """` in the left frontal lobe`, ` in both lungs`; nothing for no place."""
    return "" if not place else f" in {place}" if place.startswith(("both ", "L", "T")) else f" in the {place}"


def pick(rng: np.random.Generator, among: Sequence[str]) -> str:
    """One of some phrases."""
    return among[int(rng.integers(len(among)))]


def name(lesion: Lesion) -> str:
    """The finding without its grade."""
    return lesion.finding.partition(" grade ")[0]


def grade(lesion: Lesion) -> int:
    """WHO grade of a meningioma, 0 for anything else."""
    return int(lesion.finding.partition(" grade ")[2] or 0)


def label(picture: Picture, normal: str = "normal") -> str:
    """A manifest's `labels`: the findings that can be seen, each with its place."""
    return "|".join(f"{name(s)}@{s.place}" if s.place else name(s) for s in picture.lesions) or normal


def view(picture: Picture, rng: np.random.Generator, coarse: bool = False) -> str:
    """How the picture was made: `axial T2-weighted MRI`, or only `MRI`."""
    exam = picture.exam
    if coarse:
        return pick(rng, _MODALITY[exam.modality])
    if exam.modality == "DR":
        return f"{'frontal' if exam.plane == 'coronal' else 'lateral'} {pick(rng, _MODALITY['DR'])}"
    words = _SEQUENCE[exam.technique] if exam.modality == "MR" else _MODALITY["CT"]
    return f"{exam.plane} {pick(rng, words)}" if rng.random() < 0.7 else pick(rng, words)


def region(picture: Picture, rng: np.random.Generator) -> str:
    """What is examined; a knee or breast with its side, now and then."""
    word = pick(rng, _REGION[picture.exam.region])
    return f"{picture.body.side} {word}" if picture.body.side and rng.random() < 0.4 else word


def caption(level: str, picture: Picture, rng: np.random.Generator) -> str:
    """A caption that answers the question of a stage, in one of the ways that figures are captioned.

    Args:
        level: one of LEVELS; a picture that has nothing to say at it gets the next coarser one that it has.
        picture: of what.
        rng: of this caption.
    """
    if level == "modality":
        seen = view(picture, rng, coarse=rng.random() < 0.5)
        return pick(rng, ["{}", "This is a {} image.", "{} image", "Image made by {}."]).format(seen)
    if level == "anatomy":
        if picture.exam.crop is not None and picture.shares.get(picture.exam.focus, 0) > VISIBLE:
            return organ(picture, rng)
        said = pick(rng, ["{v} of the {r}", "{r} {v}", "This image is of the {r}, {v}.", "{v} showing the {r}"])
        return said.format(v=view(picture, rng), r=region(picture, rng))
    if level == "localization":
        return where(picture, rng)
    if level == "grading":
        graded = [s for s in picture.lesions if grade(s)]
        if graded:
            text = pick(rng, _seen(_GRADE[grade(graded[0])], picture))
            said = pick(rng, ["{t}", "{v} showing {t}", "{t}{p}", "This image shows {t}."])
            return said.format(t=text, v=view(picture, rng), p=at(graded[0].place))
    return what(picture, rng)


def organ(picture: Picture, rng: np.random.Generator) -> str:
    """A caption that names the structure that the picture is about."""
    return pick(rng, ["This is a {o} image.", "{v} of the {o}", "the {o} on {v}", "{o}, {v}"]).format(o=picture.exam.focus, v=view(picture, rng))


def where(picture: Picture, rng: np.random.Generator) -> str:
    """A caption that says what lies where: the finding's place, or the structures in the section."""
    seen = picture.lesions[0] if picture.lesions else None
    if seen and seen.place and rng.random() < 0.6:
        return f"{view(picture, rng)} showing {finding(seen, picture, rng)}{at(seen.place)}"
    if picture.shares.get(picture.exam.focus, 0) > VISIBLE:
        return organ(picture, rng)
    large = sorted((s for s, share in picture.shares.items() if share > 0.01), key=lambda s: -picture.shares[s])[:6]
    if not large:
        return f"{view(picture, rng)} of the {region(picture, rng)}"
    chosen = [large[i] for i in sorted(rng.permutation(len(large))[: int(rng.integers(1, 4))])]
    return f"{view(picture, rng)} of the {region(picture, rng)} at the level of the {' and '.join(chosen)}"


def finding(lesion: Lesion, picture: Picture, rng: np.random.Generator) -> str:
    """A finding in one of its names."""
    return pick(rng, _seen(_FINDING.get(name(lesion), [name(lesion)]), picture))


def _seen(phrases: Sequence[str], picture: Picture) -> list[str]:
    """Those that name no oedema where the picture has none."""
    return [p for p in phrases if "oedema" not in p or picture.shares.get("oedema", 0) > VISIBLE]


def what(picture: Picture, rng: np.random.Generator) -> str:
    """A caption that says what is wrong, or that nothing is."""
    if not picture.lesions:
        found = normal(picture, rng)
        said = pick(rng, ["{f}", "{v} of the {r}, {f}", "{v}: {f}", "This image shows {f}."])
        return said.format(f=found, v=view(picture, rng), r=region(picture, rng))
    seen = picture.lesions[0]
    text = finding(seen, picture, rng)
    if seen.place and rng.random() < 0.35:
        text += at(seen.place)
    return pick(rng, ["{f}", "{v} of the {r} showing {f}", "{v}: {f}", "This image shows {f}.", "{v} with {f}"]).format(
        f=text, v=view(picture, rng), r=region(picture, rng))


def normal(picture: Picture, rng: np.random.Generator) -> str:
    """That the patient has nothing that the region can have; never said of a slice that only misses the finding."""
    if picture.body.lesions:
        present = {name(s) for s in picture.body.lesions}
        free = [f"no {word}" for word, those in ABSENT.get(picture.exam.region, {}).items() if not present & set(those)]
        return pick(rng, free) if free else "no finding in this section"
    return pick(rng, _NORMAL[picture.exam.region])


def report(picture: Picture, rng: np.random.Generator) -> str:
    """Findings and impression of a chest radiograph: positive, denied and doubtful, as reports have them.

    Something is said of as many organs whether they are sick or not, so that the length of a report does not tell.
    """
    present = {name(s): s for s in picture.lesions}
    impression = []
    for s in present.values():
        text = finding(s, picture, rng)
        if rng.random() < 0.15:
            text = pick(rng, ["possible {}", "cannot exclude {}", "{} is suspected"]).format(text)
        elif len(present) == 1 and rng.random() < 0.4:
            text += at(s.place)
        impression.append(text)
    findings = [pick(rng, _SIGN[name(s)]).format(s.place or "chest") for s in present.values()]
    well = [said for sick, said in _WELL if not present.keys() & set(sick)]
    said = [pick(rng, well[i]) for i in rng.permutation(len(well))]
    findings += said[: max(0, int(rng.integers(1, 5)) - len(findings))]
    told = ". ".join(findings[i] for i in rng.permutation(len(findings)))
    return pick(rng, ["Impression: {i}. Findings: {f}.", "{i}. {f}.", "{f}. {i}."]).format(i=", ".join(impression) or pick(rng, _FREE), f=told)


_SIGN = {
    "pneumonia": ["opacity in the {}", "airspace opacity, {}", "patchy consolidation of the {}"],
    "pleural effusion": ["blunting of the costophrenic angle, {}", "fluid in the {}"],
    "cardiomegaly": ["the cardiac silhouette is enlarged", "the heart is large"],
    "COVID-19 pneumonia": ["patchy peripheral opacities", "opacities in both lungs"],
    "enlarged lymph nodes": ["widened mediastinum", "the mediastinum is widened"],
}
"""By finding, what is seen of it; `{}` is its place."""
_WELL: tuple[tuple[tuple[str, ...], list[str]], ...] = (
    (ABSENT["chest"]["pneumonia"], ["no pneumonia", "the lungs are clear", "no focal opacity in either lung", "no consolidation"]),
    (ABSENT["chest"]["pleural effusion"], ["no pleural effusion", "both costophrenic angles are sharp"]),
    (("cardiomegaly",), ["heart size is normal", "the cardiac silhouette is not enlarged"]),
    (ABSENT["chest"]["enlarged lymph nodes"], ["the mediastinum is not widened", "normal mediastinal contour"]),
    ((), ["the ribs and the spine are intact", "no fracture is seen"]),
)
"""Findings, and what is said of a chest that has none of them."""
_FREE = ["no acute cardiopulmonary process", "no pneumonia", "clear lungs", "no acute abnormality", "no radiographic evidence of pneumonia",
         "normal chest", "no acute abnormality of heart or lungs", "clear lungs, no effusion"]
"""Impressions of a chest without any finding."""
