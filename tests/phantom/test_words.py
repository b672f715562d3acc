"""What is said of a picture is true of it: every claim that can be read from a caption is checked against what was drawn."""

from __future__ import annotations

import re
from functools import cache

import pytest

from radisim_cl.phantom import words
from radisim_cl.phantom.body import Body, Lesion
from radisim_cl.phantom.exams import REGIONS, Exam, Picture, take
from radisim_cl.phantom.patients import Patient, generator
from radisim_cl.phantom.sections import PLANES
from radisim_cl.phantom.sources.training import FINDINGS, TOMOGRAPHY, film, tomogram

MODALITY = {"CT": r"\bCT\b|computed tomography", "MR": r"\bMRI?\b|\bMRA\b|magnetic resonance|\bDWI\b", "DR": r"radiograph|X-ray|plain film"}
TECHNIQUE = {"T1": r"\bT1\b|T1-weighted", "T2": r"\bT2\b|T2-weighted", "PD": r"proton density|\bPD\b", "FLAIR": "FLAIR",
             "MRA": "angiography|MRA", "DWI": "diffusion|DWI"}
REGION = {"head": r"\bbrain\b|\bhead\b", "chest": r"\bchest\b|thorax|cardiopulmonary", "abdomen": r"\babdomen\b", "pelvis": r"\bpelvis\b",
          "knee": r"\bknee\b", "breast": r"\bbreasts?\b", "lumbar spine": "lumbar spine"}
FINDING = {
    "glioma": "glioma", "meningioma": "meningioma", "pituitary tumour": "pituitary (tumour|adenoma)",
    "intracranial haemorrhage": "haemorrhage|hemorrhage", "COVID-19 pneumonia": "COVID|ground-glass|peripheral opacities",
    "pneumonia": "(?<!COVID-19 )pneumonia|consolidation|airspace opacity", "pleural effusion": "effusion|blunting|fluid in the",
    "cardiomegaly": "cardiomegaly|enlarged heart|silhouette is enlarged|heart is large",
    "enlarged lymph nodes": "lymph node|lymphadenopathy|mediastinum is widened|widened mediastinum",
    "ACL tear": "ACL tear|ligament tear|torn anterior cruciate", "meniscal tear": "menisc(al|us) tear|torn meniscus",
    "breast tumour": "breast (tumour|mass)", "disc herniation": "herniat", "vertebral fracture": "fracture", "liver lesion": "liver lesion",
    "renal cyst": "renal cyst",
}
_TUMOUR, _LUNGS = ("glioma", "meningioma", "pituitary tumour"), ("pneumonia", "COVID-19 pneumonia")
DENIED = {
    "no tumour": _TUMOUR, "no brain tumour": _TUMOUR, "no haemorrhage": ("intracranial haemorrhage",), "no pneumonia": _LUNGS,
    "no radiographic evidence of pneumonia": _LUNGS, "clear lungs": _LUNGS, "the lungs are clear": _LUNGS, "no consolidation": _LUNGS,
    "no focal opacity in either lung": _LUNGS, "no pleural effusion": ("pleural effusion",), "no effusion": ("pleural effusion",),
    "both costophrenic angles are sharp": ("pleural effusion",), "no enlarged lymph nodes": ("enlarged lymph nodes",),
    "the mediastinum is not widened": ("enlarged lymph nodes",), "normal mediastinal contour": ("enlarged lymph nodes",),
    "heart size is normal": ("cardiomegaly",), "the cardiac silhouette is not enlarged": ("cardiomegaly",),
    "no fracture is seen": ("vertebral fracture",),
    "no ligament tear": ("ACL tear",), "intact anterior cruciate ligament": ("ACL tear",), "no meniscal tear": ("meniscal tear",),
    "intact menisci": ("meniscal tear",), "no mass": ("breast tumour",), "no herniation": ("disc herniation",),
}
"""By what is said, the findings that make it a lie."""
ANY = ("normal brain", "normal chest", "normal abdomen", "normal pelvis", "normal knee", "normal breasts", "normal lumbar spine", "no abnormality",
       "no intracranial abnormality", "no acute abnormality", "no acute abnormality of heart or lungs", "no acute cardiopulmonary process")
"""What any finding makes a lie."""


def lies(said: str, picture: Picture) -> list[str]:
    """Claims of a caption that are not true of the picture."""
    exam, out = picture.exam, []
    present = {words.name(s) for s in picture.body.lesions}
    seen = {words.name(s) for s in picture.lesions}
    modalities = {m for m, pattern in MODALITY.items() if re.search(pattern, said)}
    out += [f"modality {m}" for m in modalities - {exam.modality}]
    techniques = {t for t, pattern in TECHNIQUE.items() if re.search(pattern, said)}
    out += [f"technique {t}" for t in techniques - {exam.technique.removesuffix("C")}]
    if re.search("contrast|gadolinium", said) and exam.technique != "T1C":
        out.append("contrast")
    if ("unenhanced" in said and exam.technique != "T1") or ("fat-suppressed" in said and exam.technique != "PD"):
        out.append("technique")
    views = {"frontal": "coronal", "lateral": "sagittal"}
    for view in re.findall(r"(?<!extra-)\b(axial|sagittal|coronal)\b|\b(frontal|lateral) (?:radiograph|X-ray|plain film)", said):
        claimed = view[0] or views[view[1]]
        out += [f"plane {claimed}"] * (claimed != exam.plane or bool(view[1]) != (exam.modality == "DR"))
    # A region's name within another one's is no claim of its own: breast tumour, the pelvis at whose level a spine is cut.
    plain = re.sub("breast (tumour|mass)|no brain tumour|at the level of the .*", "", said)
    out += [f"region {r}" for r, pattern in REGION.items() if re.search(pattern, plain) and r != exam.region and r != "head"]
    if re.search(r"\bbrain\b|\bhead of\b", plain) and exam.region != "head":
        out.append("region head")
    positive = said
    for denial, lie in DENIED.items():
        if re.search(rf"\b{denial}\b", said):
            out += [denial] * bool(present & set(lie))
            positive = re.sub(rf"\b{denial}\b", "", positive)
    out += [normal for normal in ANY if re.search(rf"\b{normal}\b", said) and present]
    out += [f"finding {f}" for f, pattern in FINDING.items() if re.search(pattern, positive) and f not in seen]
    out += ["oedema"] * ("oedema" in said and picture.shares.get("oedema", 0) <= 0)
    for grade in re.findall(r"grade (\d)", said) + [{"benign": "1", "atypical": "2", "anaplastic": "3"}[w]
                                                    for w in re.findall("benign|atypical|anaplastic", said)]:
        out += [f"grade {grade}"] * (int(grade) not in {words.grade(s) for s in picture.lesions})
    places = {*picture.shares, *(s.place for s in picture.lesions), f"{picture.body.side} {exam.region}"}
    for side, what in re.findall(r"\b(left|right) (\w+)", said):
        out += [f"{side} {what}"] * (not any(f"{side} {what}" in place for place in places))
    if level := re.search("at the level of the (.*)", said):
        out += [f"level of {s}" for s in level[1].split(" and ") if picture.shares.get(s, 0) <= 0.01]
    return out


def test_the_reader_of_captions_finds_lies() -> None:
    """The checks below can fail."""
    pneumonia = pictures("chest")[0]
    assert pneumonia.lesions
    assert lies("axial MRI of the brain", pneumonia) == ["modality MR", *["plane axial"] * (pneumonia.exam.plane != "axial"), "region head"]
    for lie in ("no pneumonia", "glioma", "normal chest", "WHO grade 3 meningioma", "opacity in the left kidney", "contrast-enhanced CT",
                "clear lungs", "axial CT of the chest at the level of the bladder", "glioma with oedema"):
        assert lies(lie, pneumonia), lie


@cache
def pictures(region: str, each: int = 5) -> list[Picture]:
    """Tomograms and films of a region with each finding, and of none; some miss their finding."""
    out = []
    for finding in (*FINDINGS[region], ""):
        for i in range(each):
            rng = generator(0, "words", region, finding, i)
            patient = Patient.draw(0, f"words-{region}-{finding}-{i}", "F" if region == "breast" else None)
            shown = f"meningioma grade {1 + i % 3}" if finding == "meningioma" else finding
            exam = tomogram(region, shown, rng, 0.5)
            out.append(take(exam, patient, rng, 48))
            if finding:  # anywhere in the region, so that the finding is often out of sight
                out.append(take(Exam(region, exam.modality, exam.technique, PLANES[i % 3], exam.findings), patient, rng, 48))
            if region == "chest" and finding not in ("COVID-19 pneumonia", "enlarged lymph nodes"):
                out.append(take(film(region, (finding,) if finding else (), rng), patient, rng, 48))
    return out


@pytest.mark.parametrize("level", words.LEVELS)
@pytest.mark.parametrize("region", REGIONS)
def test_captions_are_true(region: str, level: str) -> None:
    said_at_all = set()
    for i, picture in enumerate(pictures(region)):
        for j in range(6):
            said = words.caption(level, picture, generator(0, "caption", region, level, i, j))
            assert lies(said, picture) == [], (said, picture.exam)
            assert said.strip() == said
            assert "  " not in said
            assert "{" not in said
            said_at_all.add(said)
    assert len(said_at_all) > 8


def test_reports_are_true() -> None:
    doubts = 0
    for i, picture in enumerate(p for p in pictures("chest") if p.exam.modality == "DR"):
        for j in range(20):
            said = words.report(picture, generator(0, "report", i, j))
            assert lies(said, picture) == [], said
            for lesion in picture.lesions:
                assert re.search(FINDING[words.name(lesion)], said), "every finding is named"
            doubts += bool(re.search("possible|cannot exclude|is suspected", said))
    assert doubts > 5


@pytest.mark.parametrize("region", REGIONS)
def test_normal_never_denies_what_the_patient_has(region: str) -> None:
    findings = [*FINDINGS[region], *(f"meningioma grade {g}" for g in (1, 2, 3) if region == "head")]
    picture = pictures(region)[-1]
    for finding in findings:
        for more in ((), *((f,) for f in findings if f != finding)):
            lesions = tuple(Lesion(f, "", (), (0, 0, 0), (1, 1, 1)) for f in (finding, *more))
            body = Body(region, picture.body.parts, picture.body.field, lesions)
            missed = Picture(picture.exam, picture.pixels, body, picture.shares, (), picture.cut)
            for i in range(12):
                said = words.normal(missed, generator(0, "normal", i))
                assert lies(said, missed) == [], (said, finding, more)
    well = [p for p in pictures(region) if not p.body.lesions]
    assert {words.normal(p, generator(0, "well", i, j)) for i, p in enumerate(well) for j in range(12)} <= {*ANY, *DENIED}


@pytest.mark.parametrize("region", REGIONS)
def test_labels_are_the_findings_in_sight(region: str) -> None:
    for picture in pictures(region):
        found = {part.partition("@")[0] for part in words.label(picture).split("|")} - {"normal"}
        assert found == {words.name(s) for s in picture.lesions}
        if picture.cut is not None:
            for lesion in picture.body.lesions:
                assert (words.name(lesion) in found) == (picture.cut.share(lesion) > 0.001)


def test_every_technique_can_be_worded() -> None:
    for region, techniques in TOMOGRAPHY.items():
        for kind, technique in techniques:
            assert kind in MODALITY
            assert kind == "CT" or technique in words._SEQUENCE, (region, technique)
