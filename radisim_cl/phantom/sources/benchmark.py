"""The benchmark sets of `benchmarks/radiologist-24.yaml`. None of them is trained on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from radisim_cl.phantom import words
from radisim_cl.phantom.exams import Exam, body, take, volume
from radisim_cl.phantom.patients import Patient
from radisim_cl.phantom.sections import PLANES, Plane
from radisim_cl.phantom.sources._base import MEETS, Make, Shot, Source, draw, graded, meeting, modality, plane, spared
from radisim_cl.phantom.sources.training import FIGURE_COLUMNS, LOOSE, TOMOGRAPHY, figures, film

_SEQUENCES: dict[str, dict[str, float]] = {
    "head": {"MRA": 3, "T1C": 2, "T1": 1, "T2": 1, "FLAIR": 1, "DWI": 0.6}, "breast": {"T1C": 1, "T1": 1, "T2": 1},
    "abdomen": {"T1C": 1, "T1": 1, "T2": 1}, "knee": {"PD": 1, "T2": 1}, "lumbar spine": {"T1": 1, "T2": 1, "T1C": 0.7},
}
_ORGANS = (("pelvis", "bladder"), ("pelvis", "left femur"), ("pelvis", "right femur"), ("chest", "heart"), ("abdomen", "left kidney"),
           ("abdomen", "right kidney"), ("abdomen", "liver"), ("chest", "left lung"), ("chest", "right lung"), ("abdomen", "pancreas"),
           ("abdomen", "spleen"))
"""The eleven of LiTS in MediMeTA (Woerner et al. 2024), and where the phantom has them."""


def _mr_volumes(patient: Patient, rng: np.random.Generator, size: int) -> Iterator[Shot]:
    region = draw(rng, {"head": 5, "breast": 6 if patient.sex == "F" else 0, "abdomen": 1.2, "knee": 1.2, "lumbar spine": 1.2})
    sequence = draw(rng, _SEQUENCES[region])
    exam = Exam(region, "MR", sequence, "sagittal" if region in ("knee", "lumbar spine") else "axial")
    for picture in volume(exam, patient, rng, size):
        yield Shot(picture, 0, labels=sequence)


def _any_modality(patient: Patient, rng: np.random.Generator, size: int) -> Iterator[Shot]:
    kind = ("CT", "MR", "DR")[int(rng.integers(3))]
    if kind == "DR":
        region = draw(rng, {"chest": 3, "knee": 1, "lumbar spine": 1, "abdomen": 1, "pelvis": 1, "head": 1})
        yield Shot(take(film(region, (), rng), patient, rng, size), 0)
        return
    having = {r: [t for t in TOMOGRAPHY[r] if t[0] == kind] for r in TOMOGRAPHY if r != "breast"}
    region = draw(rng, {r: 1.0 for r, t in having.items() if t})
    technique = having[region][int(rng.integers(len(having[region])))]
    yield Shot(take(Exam(region, modality(kind), technique[1], plane(rng)), patient, rng, size), 0)


def _organ_crops(patient: Patient, rng: np.random.Generator, size: int) -> Iterator[Shot]:
    """Some organs of each patient, cut out of the three planes through their middle."""
    for study, i in enumerate(rng.permutation(len(_ORGANS))[:2]):
        region, organ = _ORGANS[int(i)]
        for where in PLANES:
            yield Shot(take(Exam(region, "CT", "soft tissue", where, (), organ, 1.25), patient, rng, size), study, labels=organ)


def _regions(patient: Patient, rng: np.random.Generator, size: int) -> Iterator[Shot]:
    region = ("head", "chest", "abdomen", "pelvis")[int(rng.integers(4))]
    window = "brain" if region == "head" and rng.random() < 0.5 else "soft tissue"
    yield Shot(take(Exam(region, "CT", window, draw_plane(rng)), patient, rng, size), 0)


def draw_plane(rng: np.random.Generator) -> Plane:
    """Mostly axial."""
    return "axial" if rng.random() < 0.7 else "coronal"


def _located(kinds: dict[str, tuple[str, ...]], organs: dict[str, tuple[str, ...]]) -> Make:
    """Whole axial slices at the level of an organ, with masks."""

    def make(patient: Patient, rng: np.random.Generator, size: int) -> Iterator[Shot]:
        for study, (kind, techniques) in enumerate(kinds.items()):
            region = list(organs)[int(rng.integers(len(organs)))]
            organ = organs[region][int(rng.integers(len(organs[region])))]
            exam = Exam(region, modality(kind), techniques[int(rng.integers(len(techniques)))], "axial", (), organ, loose=LOOSE)
            yield Shot(take(exam, patient, rng, size), study, masked=True)

    return make


def _one_slice(region: str, kind: str, technique: dict[str, float], findings: dict[str, float], planes: tuple[Plane, ...],
               names: dict[str, str] | None = None) -> Make:
    """One picture a patient; `""` among the findings is a patient without any, seen at the height at which others have one."""

    def make(patient: Patient, rng: np.random.Generator, size: int) -> Iterator[Shot]:
        ill = draw(rng, findings)
        finding = ill or draw(rng, {f: w for f, w in findings.items() if f})
        finding = graded(rng) if finding == "meningioma" else finding
        exam = Exam(region, modality(kind), draw(rng, technique), plane(rng, planes), (finding,), finding if kind != "DR" else "")
        picture = meeting(exam, patient, rng, size) if ill else spared(exam, patient, rng, size)
        label = words.label(picture)
        yield Shot(picture, 0, labels=(names or {}).get(label.partition("@")[0], label))

    return make


def _knees(patient: Patient, rng: np.random.Generator, size: int) -> Iterator[Shot]:
    findings = tuple(f for f in ("ACL tear", "meniscal tear") if rng.random() < 0.45)
    labels = "|".join(findings) or "normal"
    for picture in volume(Exam("knee", "MR", draw(rng, {"PD": 1, "T2": 1}), "sagittal", findings), patient, rng, size):
        yield Shot(picture, 0, labels=labels)


def _nodes(patient: Patient, rng: np.random.Generator, size: int) -> Iterator[Shot]:
    """Every patient of the set has enlarged nodes; negatives are slices without one, at heights at which others have theirs."""
    finding = "enlarged lymph nodes"
    exam = Exam("chest", "CT", "mediastinum", "axial", (finding,))
    picture = meeting(replace(exam, focus=finding), patient, rng, size)
    yield Shot(picture, 0, labels=words.label(picture))
    for i in range(MEETS):
        other = body(replace(patient, name=f"{patient.name}/{i}"), "chest", (finding,)).lesions[0]
        picture = take(exam, patient, rng, size, other)
        if not picture.lesions:
            yield Shot(picture, 0, labels="normal")
            return


def _grades(patient: Patient, rng: np.random.Generator, size: int) -> Iterator[Shot]:
    finding = graded(rng)
    exam = Exam("head", "MR", draw(rng, {"T1C": 3, "FLAIR": 1}), plane(rng, ("axial", "coronal")), (finding,), finding)
    picture = meeting(exam, patient, rng, size)
    yield Shot(picture, 0, labels=finding)


_COLUMNS = ("id", "patient", "image", "modality", "anatomy", "plane", "labels", "licence")
_MASKED = (*_COLUMNS, "study", "mask")
_BOTH: dict[str, tuple[str, ...]] = {"CT": ("soft tissue",), "MR": ("T1", "T2")}
_KIDNEYS = ("left kidney", "right kidney")
_AXIAL: tuple[Plane, ...] = ("axial",)
_ABDOMEN = ("liver", "spleen", *_KIDNEYS, "stomach", "pancreas")

SOURCES = (
    Source("internal_mr", "internal MR volumes (sequence, region)", 520, _mr_volumes, (*_COLUMNS, "study")),
    Source("internal_modality", "internal images of three modalities", 720, _any_modality, _COLUMNS),
    Source("lits_organs", "LiTS, organs cut out in three planes (MediMeTA)", 640, _organ_crops, (*_COLUMNS, "study"), prefix="lits"),
    Source("totalsegmentator", "TotalSegmentator CT (Wasserthal et al. 2023)", 600, _regions, _COLUMNS),
    Source("amos", "AMOS CT and MR (Ji et al. 2022)", 560, _located(_BOTH, {"abdomen": _ABDOMEN}), _MASKED),
    Source("chaos", "CHAOS CT and MR (Kavur et al. 2021)", 560, _located(_BOTH, {"abdomen": ("liver", "spleen", *_KIDNEYS)}), _MASKED),
    Source("ct_org", "CT-ORG (Rister et al. 2020); its patients are LiTS's", 560,
           _located({"CT": ("soft tissue",)}, {"abdomen": ("liver", *_KIDNEYS), "chest": ("left lung", "right lung"), "pelvis": ("bladder",)}),
           _MASKED, prefix="lits"),
    Source("br35h", "Br35H brain MR (Hamada 2020)", 640,
           _one_slice("head", "MR", {"T1C": 3, "T2": 1, "FLAIR": 1}, {"glioma": 1, "meningioma": 1, "pituitary tumour": 0.6, "": 2.6}, _AXIAL,
                      dict.fromkeys(("glioma", "meningioma", "pituitary tumour"), "tumour")), _COLUMNS),
    Source("mrnet", "MRNet knee MR (Bien et al. 2018)", 440, _knees, (*_COLUMNS, "study")),
    Source("ct_ich", "Brain Hemorrhage CT (Hssayeni et al. 2020)", 640,
           _one_slice("head", "CT", {"brain": 1}, {"intracranial haemorrhage": 1, "": 1}, _AXIAL), _COLUMNS),
    Source("covid_ct", "COVID-19 CT (Zhao et al. 2020)", 640,
           _one_slice("chest", "CT", {"lung": 1}, {"COVID-19 pneumonia": 2, "pneumonia": 0.5, "": 1.5}, _AXIAL, {"pneumonia": "normal"}), _COLUMNS),
    Source("ct_lymph_nodes", "CT Lymph Nodes (Roth et al. 2014)", 400, _nodes, (*_COLUMNS, "study")),
    Source("pneumoniamnist", "PneumoniaMNIST (Yang et al. 2023), 28 pixels a side", 640,
           _one_slice("chest", "DR", {"radiograph": 1}, {"pneumonia": 1, "": 1}, ("coronal",)), _COLUMNS, size=28),
    Source("rsna_pneumonia", "RSNA Pneumonia Detection (Shih et al. 2019)", 640,
           _one_slice("chest", "DR", {"radiograph": 1}, {"pneumonia": 2, "pleural effusion": 0.4, "cardiomegaly": 0.4, "": 1.2}, ("coronal",),
                      {"pleural effusion": "normal", "cardiomegaly": "normal"}), _COLUMNS),
    Source("kaggle_brain_tumour", "Kaggle Brain Tumor MRI (Nickparvar 2021)", 800,
           _one_slice("head", "MR", {"T1C": 3, "T2": 0.5}, {"glioma": 1, "meningioma": 1, "pituitary tumour": 1, "": 1}, PLANES), _COLUMNS),
    Source("pubmed_oa_test", "PubMed-OA, figures and captions kept for retrieval", 300, figures, FIGURE_COLUMNS),
    Source("internal_meningioma", "internal meningiomas by WHO grade", 800, _grades, _COLUMNS),
)
