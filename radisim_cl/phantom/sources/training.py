"""The six training sources of the radiologist's curriculum, and an institution's own masked corpus."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from radisim_cl.phantom import words
from radisim_cl.phantom.exams import Exam, take
from radisim_cl.phantom.patients import Patient
from radisim_cl.phantom.sections import PLANES, Plane
from radisim_cl.phantom.sources._base import STRUCTURES, Make, Shot, Source, draw, graded, meeting, modality, plane, spared

TOMOGRAPHY = {
    "head": (("CT", "brain"), ("MR", "T1"), ("MR", "T2"), ("MR", "FLAIR"), ("MR", "T1C"), ("MR", "MRA"), ("MR", "DWI")),
    "chest": (("CT", "soft tissue"), ("CT", "mediastinum"), ("CT", "lung")),
    "abdomen": (("CT", "soft tissue"), ("CT", "liver"), ("MR", "T1"), ("MR", "T2"), ("MR", "T1C")),
    "pelvis": (("CT", "soft tissue"), ("CT", "bone"), ("MR", "T2")),
    "knee": (("MR", "PD"), ("MR", "T2"), ("MR", "T1")),
    "breast": (("MR", "T1"), ("MR", "T2"), ("MR", "T1C")),
    "lumbar spine": (("MR", "T1"), ("MR", "T2"), ("CT", "bone")),
}
"""By region, what it is examined with."""
ORGANS = {
    "abdomen": ("liver", "spleen", "left kidney", "right kidney", "pancreas", "stomach", "aorta", "vena cava"),
    "chest": ("heart", "left lung", "right lung", "aorta"), "pelvis": ("bladder", "left femur", "right femur"),
}
"""By region, structures that pictures are about."""
FINDINGS: dict[str, dict[str, float]] = {
    "head": {"glioma": 1, "meningioma": 1, "pituitary tumour": 1, "intracranial haemorrhage": 1.6},
    "chest": {"pneumonia": 1, "COVID-19 pneumonia": 1.2, "pleural effusion": 0.4, "cardiomegaly": 0.3, "enlarged lymph nodes": 1.4},
    "knee": {"ACL tear": 1.2, "meniscal tear": 1.2}, "breast": {"breast tumour": 1}, "lumbar spine": {"disc herniation": 1, "vertebral fracture": 1},
    "abdomen": {"liver lesion": 1, "renal cyst": 1}, "pelvis": {},
}
"""By region, findings of tomography and how often each."""
LOOSE = 0.25
"""Where organs are to be found, fields vary, so that the middle of the picture is no answer."""
_TRUNK = {"abdomen": 4.0, "chest": 1.0, "pelvis": 1.0}
_OUTLINED = {"head": 3.0, "chest": 2.5, "knee": 2.0}
"""Regions of an institution's outlined organs, and of its outlined findings."""
SPARED = 0.7
"""Of normal slices with labels, the share that are of an exam that could have shown a finding of the region."""
_PLANES: dict[str, tuple[Plane, ...]] = {
    "ACL tear": ("sagittal",), "meniscal tear": ("sagittal",), "disc herniation": ("sagittal",), "enlarged lymph nodes": ("axial",),
    "pneumonia": ("axial", "axial", "coronal"), "COVID-19 pneumonia": ("axial", "axial", "coronal"),
    "intracranial haemorrhage": ("axial", "axial", "coronal"),
}
"""Planes in which a finding is shown, where not in all."""
_CHEST_FILM = {"pneumonia": 0.3, "pleural effusion": 0.22, "cardiomegaly": 0.16, "": 0.4}


def tomogram(region: str, finding: str, rng: np.random.Generator, organs: float = 0.0) -> Exam:
    """An exam of a region that can show a finding; a share of those without one are about an organ."""
    technique = TOMOGRAPHY[region][int(rng.integers(len(TOMOGRAPHY[region])))]
    if finding in ("glioma", "pituitary tumour") or finding.startswith("meningioma"):
        technique = ("MR", draw(rng, {"T1C": 0.6, "T2": 0.2, "FLAIR": 0.2}))
    fixed = {"intracranial haemorrhage": ("CT", "brain"), "pneumonia": ("CT", "lung"), "COVID-19 pneumonia": ("CT", "lung"),
             "enlarged lymph nodes": ("CT", "mediastinum"), "breast tumour": ("MR", "T1C")}
    technique = ("MR", draw(rng, {"PD": 2, "T2": 1})) if finding in ("ACL tear", "meniscal tear") else fixed.get(finding, technique)
    if region == "head" and not finding and rng.random() < 0.3:
        technique = ("CT", "brain")
    if finding:
        return Exam(region, modality(technique[0]), technique[1], plane(rng, _PLANES.get(finding, PLANES)), (finding,), finding)
    if rng.random() < organs and region in ORGANS:
        organ = ORGANS[region][int(rng.integers(len(ORGANS[region])))]
        crop = float(rng.uniform(1.1, 1.5)) if rng.random() < 0.85 else None
        return Exam(region, modality(technique[0]), technique[1], plane(rng), (), organ, crop)
    among: tuple[Plane, ...] = ("sagittal",) if region == "knee" and rng.random() < 0.7 else PLANES
    return Exam(region, modality(technique[0]), technique[1], plane(rng, among))


def film(region: str, findings: tuple[str, ...], rng: np.random.Generator, lateral: float = 0.25) -> Exam:
    """A radiograph."""
    return Exam(region, "DR", "radiograph", "sagittal" if rng.random() < lateral else "coronal", findings)


def figures(patient: Patient, rng: np.random.Generator, size: int) -> Iterator[Shot]:
    """Figures of articles: everything, in few pictures each, captioned by whoever wrote it."""
    region = draw(rng, {"head": 3, "chest": 3.4, "abdomen": 3.6, "pelvis": 2, "knee": 2, "breast": 0.7, "lumbar spine": 0.7})
    if region == "breast" and patient.sex == "M":
        region = "abdomen"
    ill = rng.random() < 0.5 and bool(FINDINGS[region])
    finding = draw(rng, FINDINGS[region] or {"": 1})
    finding = graded(rng, (1, 0, 0)) if finding == "meningioma" else finding
    for study in range(1 + int(rng.random() < 0.5)):
        level = draw(rng, {"modality": 0.12, "anatomy": 0.33, "localization": 0.2, "diagnosis": 0.35})
        organs = region in ORGANS and level in ("anatomy", "localization")
        if rng.random() < 0.14 and not ill:
            picture = take(film(region, (), rng), patient, rng, size)
        elif level == "diagnosis" and finding and not ill:
            picture = spared(tomogram(region, finding, rng), patient, rng, size)
        else:
            picture = meeting(tomogram(region, finding if ill and not organs else "", rng, 0.9), patient, rng, size)
        yield Shot(picture, study, caption=words.caption(level, picture, rng), level=level)


def _labelled(patient: Patient, rng: np.random.Generator, size: int) -> Iterator[Shot]:
    """Single slices by modality, region and finding, normal ones included, without captions."""
    region = draw(rng, {"knee": 3.4, "head": 2, "abdomen": 1.8, "chest": 1.6, "lumbar spine": 1, "pelvis": 0.6})
    has: dict[str, dict[str, float]] = {
        "knee": {"ACL tear": 1.2, "meniscal tear": 1.2, "": 1.2},
        "head": {"pituitary tumour": 0.6, "intracranial haemorrhage": 1, "": 1.6},
        "abdomen": {"liver lesion": 0.5, "renal cyst": 0.5, "": 1.5}, "chest": {"pneumonia": 1, "": 1},
        "lumbar spine": {"disc herniation": 1, "": 1}, "pelvis": {"": 1},
    }
    finding = draw(rng, has[region])
    mimicked = {f: w for f, w in has[region].items() if f}
    for study in range(2):
        if not finding and mimicked and rng.random() < SPARED:
            picture = spared(tomogram(region, draw(rng, mimicked), rng), patient, rng, size)
        else:
            picture = meeting(tomogram(region, finding, rng), patient, rng, size)
        yield Shot(picture, study, labels=words.label(picture) if picture.lesions or not picture.body.lesions else "")


def _films(report: bool, uncertain: float) -> Make:
    def make(patient: Patient, rng: np.random.Generator, size: int) -> Iterator[Shot]:
        finding = draw(rng, _CHEST_FILM)
        both = {finding, draw(rng, _CHEST_FILM)} if finding and rng.random() < 0.25 else {finding}
        for study in range(1 + int(rng.random() < 0.2)):
            picture = take(film("chest", tuple(sorted(both - {""})), rng), patient, rng, size)
            labels = "|".join(f"possible {words.name(s)}" if rng.random() < uncertain else words.name(s) for s in picture.lesions) or "normal"
            yield Shot(picture, study, labels=labels, caption=words.report(picture, rng) if report else "", level="diagnosis" if report else "")

    return make


def _cases(patient: Patient, rng: np.random.Generator, size: int) -> Iterator[Shot]:
    """Teaching cases: a patient with something worth teaching, in several pictures, with place, kind and grade in the captions."""
    region = draw(rng, {"head": 5, "chest": 1.5, "knee": 1.2, "abdomen": 0.8, "lumbar spine": 0.5, "breast": 0.5 if patient.sex == "F" else 0})
    finding = draw(rng, FINDINGS[region] | ({"meningioma": 4.5} if region == "head" else {}))
    shown = graded(rng, (1, 1, 1)) if finding == "meningioma" else finding
    for study in range(2 + int(rng.random() < 0.5)):
        level = "grading" if finding == "meningioma" and rng.random() < 0.8 else draw(rng, {"localization": 0.4, "diagnosis": 0.6})
        picture = meeting(tomogram(region, shown, rng), patient, rng, size)
        yield Shot(picture, study, caption=words.caption(level, picture, rng), level=level)


def _own(patient: Patient, rng: np.random.Generator, size: int) -> Iterator[Shot]:
    """An institution's own: outlined organs of the trunk, outlined findings and their absence, and meningiomas graded by its pathologists."""
    about = draw(rng, {"organ": 0.4, "finding": 0.4, "grade": 0.2})
    region = draw(rng, {"organ": _TRUNK, "finding": _OUTLINED, "grade": {"head": 1.0}}[about])
    finding = draw(rng, {f: w for f, w in FINDINGS[region].items() if f in STRUCTURES.values()} or {"": 1})
    finding = graded(rng, (1, 1, 1) if about == "grade" else (1, 0, 0)) if about == "grade" or finding == "meningioma" else finding
    ill = about == "grade" or rng.random() < 0.7
    for study in range(2):
        if about == "organ":
            organ = ORGANS[region][int(rng.integers(len(ORGANS[region])))]
            technique = TOMOGRAPHY[region][int(rng.integers(len(TOMOGRAPHY[region])))]
            exam = Exam(region, modality(technique[0]), technique[1], "axial" if rng.random() < 0.8 else "coronal", (), organ, loose=LOOSE)
            picture = take(exam, patient, rng, size)
            yield Shot(picture, study, caption=words.where(picture, rng), level="localization", masked=True)
            continue
        exam = tomogram(region, finding, rng)
        picture = meeting(exam, patient, rng, size) if ill else spared(exam, patient, rng, size)
        level = "grading" if about == "grade" else "diagnosis"
        labels = finding if about == "grade" and picture.lesions else words.label(picture) if picture.lesions or not picture.body.lesions else ""
        yield Shot(picture, study, labels=labels, caption=words.caption(level, picture, rng), level=level, masked=True)


_PAIR = ("id", "patient", "image", "caption", "licence")
FIGURE_COLUMNS = (*_PAIR, "modality", "level")
_LABELS = ("id", "patient", "study", "image", "modality", "anatomy", "labels", "licence")

SOURCES = (
    Source("pmc_oa", "PMC-OA: figures and captions of open-access articles (Lin et al. 2023)", 2900, figures, FIGURE_COLUMNS),
    Source("radimagenet", "RadImageNet: labelled slices, captions worded from labels (Mei et al. 2022)", 1300, _labelled, _LABELS, noise=0),
    Source("chexpert", "CheXpert: chest radiographs with uncertain labels (Irvin et al. 2019)", 450, _films(False, 0.12),
           (*_LABELS, "plane"), noise=0),
    Source("eurorad", "Eurorad: teaching cases (ESR)", 520, _cases, (*_PAIR, "study", "modality", "anatomy", "level"), noise=0.3),
    Source("mimic_cxr", "MIMIC-CXR: chest radiographs with reports (Johnson et al. 2019)", 450, _films(True, 0),
           (*_PAIR, "study", "modality", "anatomy", "plane", "level", "labels")),
    Source("openi", "OpenI: chest radiographs with reports (Demner-Fushman et al. 2016)", 200, _films(True, 0),
           (*_PAIR, "study", "modality", "anatomy", "plane", "level")),
    Source("institution", "an institution's own masked corpus; optional", 1400, _own,
           (*_PAIR, "study", "modality", "anatomy", "plane", "level", "labels", "mask"), noise=0),
)
