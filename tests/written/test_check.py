"""A caption must say what the labels say and nothing against it: findings, negation, sides, modality, plane, form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radisim_cl.specs.catalog import TemplateSet
from radisim_cl.written.check import Check
from radisim_cl.written.facts import Facts
from radisim_cl.written.mentions import Findings, plain

LABELS = ("pneumonia", "pleural effusion", "pneumothorax", "normal", "COVID-19 pneumonia", "intracranial haemorrhage", "no tumour", "lung mass",
          "KL grade 2 (minimal)", "KL grade 3 (moderate)", "left kidney", "lung_opacity")
TEMPLATES = TemplateSet.model_validate({"name": "t", "levels": {"l": {"variants": ["{label}"]}}, "words": {"label": {
    "pneumonia": ["airspace opacity, pneumonia"], "intracranial haemorrhage": ["acute haemorrhage"],
    "KL grade 2 (minimal)": ["Kellgren-Lawrence grade 2"], "KL grade 3 (moderate)": ["Kellgren-Lawrence grade 3"]}}})
CHECK = Check(LABELS, TEMPLATES)
MISSING, ADDS, DENIES = "does not name a finding", "names a finding that the labels do not have", "denies a finding"
UNKNOWN, OTHER, KIND, PLANE = "names a side that the labels do not have", "names another side", "names another modality", "names another plane"


def reason(text: str, labels: str, modality: str = "DR", plane: str = "", anatomy: str = "chest", structures: tuple[str, ...] = ()) -> str:
    """Why a caption cannot be used; empty where it can."""
    found = CHECK.fault(text, Facts(modality, plane, anatomy, tuple(sorted(labels.split("|"))) if labels else (), structures))
    return found.reason if found else ""


@pytest.mark.parametrize(("text", "labels", "expected"), [
    # findings
    ("Chest radiograph showing pneumonia.", "pneumonia", ""),
    ("Chest radiograph of an adult.", "pneumonia", MISSING),
    ("Chest radiograph with airspace opacity, pneumonia.", "pneumonia", ""),
    ("Chest radiograph with pneumonia and a pleural effusion.", "pneumonia", ADDS),
    ("Pneumonia with pleural effusions.", "pneumonia|pleural effusion", ""),
    ("Pneumonia is seen.", "pneumonia|pleural effusion", MISSING),
    ("COVID-19 pneumonia.", "COVID-19 pneumonia", ""),
    ("COVID 19 pneumonia.", "pneumonia", ADDS),
    ("Pneumonia, possibly with a pneumothorax.", "pneumonia", ADDS),
    ("Intracranial hemorrhage.", "intracranial haemorrhage", ""),
    ("Acute hemorrhages are present.", "intracranial haemorrhage", ""),
    ("Lung opacities.", "lung_opacity", ""),
    ("Several lung masses.", "lung mass", ""),
    ("Kellgren-Lawrence grade 3 osteoarthritis.", "KL grade 3 (moderate)", ""),
    ("Kellgren-Lawrence grade 2 osteoarthritis.", "KL grade 3 (moderate)", ADDS),
    ("Osteoarthritis, Kellgren-Lawrence grade 3; not Kellgren-Lawrence grade 2 any more.", "KL grade 3 (moderate)", ""),
    # negation
    ("No pneumonia.", "pneumonia", DENIES),
    ("No evidence of acute pneumonia.", "pneumonia", DENIES),
    ("The lungs are without pneumonia.", "pneumonia", DENIES),
    ("Pneumonia is absent.", "pneumonia", DENIES),
    ("Pneumonia isn't seen.", "pneumonia", DENIES),
    ("Pneumonia has been ruled out.", "pneumonia", DENIES),
    ("Pneumonia is unlikely.", "pneumonia", DENIES),
    ("The image does not show pneumonia.", "pneumonia", DENIES),
    ("Neither pneumothorax nor pneumonia.", "pneumonia", DENIES),
    ("No pneumothorax, pleural effusion, or pneumonia.", "pneumonia", DENIES),
    ("No pneumothorax, pneumonia.", "pneumonia", DENIES),
    ("Pneumonia is seen, but there is no pneumonia.", "pneumonia", DENIES),
    ("Pneumonia, no pleural effusion.", "pneumonia", ""),
    ("Pneumonia; a pneumothorax is absent.", "pneumonia", ""),
    ("A pneumonia, and a pneumothorax is absent.", "", ADDS),
    ("Pneumonia without pleural effusion or pneumothorax.", "pneumonia", ""),
    ("No pleural effusion, pneumothorax, or mass; there is pneumonia.", "pneumonia", ""),
    ("No pleural effusion. Pneumonia is present.", "pneumonia", ""),
    ("There is no pleural effusion, but pneumonia is seen.", "pneumonia", ""),
    ("No pneumothorax and pleural effusion, with pneumonia.", "pneumonia", ADDS),
    ("Pneumonia cannot be excluded.", "pneumonia", ""),
    ("Pneumothorax cannot be excluded, with pneumonia.", "pneumonia", ADDS),
    ("No change in the pneumonia.", "pneumonia", ""),
    ("Not only pneumonia is seen.", "pneumonia", ""),
    # nothing to find
    ("Normal chest radiograph.", "normal", ""),
    ("No acute cardiopulmonary abnormality.", "normal", ""),
    ("Unremarkable radiograph without pneumonia.", "normal", ""),
    ("Chest radiograph.", "normal", MISSING),
    ("Normal radiograph with pneumonia.", "normal", ADDS),
    ("This is not normal.", "normal", DENIES),
    ("An abnormal radiograph with pneumonia.", "pneumonia", ""),
    ("Pneumonia, otherwise normal.", "pneumonia", ADDS),
    ("No acute abnormality other than pneumonia.", "pneumonia", ADDS),
    ("Normal chest radiograph.", "", ADDS),
    ("Chest radiograph.", "", ""),
    ("No tumor is seen.", "no tumour", ""),
    ("No tumour.", "lung mass", ADDS),
    # sides
    ("Left pneumonia.", "pneumonia@left", ""),
    ("Pneumonia.", "pneumonia@left", ""),
    ("Right pneumonia.", "pneumonia@left", OTHER),
    ("Right-sided pneumonia.", "pneumonia@left lower lobe", OTHER),
    ("RLL pneumonia.", "pneumonia@left lower lobe", OTHER),
    ("LLL pneumonia.", "pneumonia@left lower lobe", ""),
    ("Bilateral pneumonia.", "pneumonia@left", OTHER),
    ("Pneumonia of both lungs.", "pneumonia@left", OTHER),
    ("Pneumonia of both lungs.", "pneumonia@both lungs", ""),
    ("Bilateral pneumonia.", "pneumonia@left|pneumonia@right", ""),
    ("Pneumonia of the left and right lung.", "pneumonia@bilateral", ""),
    ("Left pneumonia.", "pneumonia@both lungs", OTHER),
    ("Left pneumonia.", "pneumonia", UNKNOWN),
    ("Pneumonia of the upper lobe.", "pneumonia", ""),
    ("Left pneumonia and right pleural effusion.", "pneumonia@left|pleural effusion@right", ""),
    ("Pneumonia on the left and pleural effusion on the right.", "pneumonia@left|pleural effusion@right", ""),
    ("Right pneumonia and left pleural effusion.", "pneumonia@left|pleural effusion@right", OTHER),
    ("Pneumonia on the right and pleural effusion on the left.", "pneumonia@left|pleural effusion@right", OTHER),
    ("Left pneumonia and pleural effusion.", "pneumonia@left|pleural effusion", ""),
    ("The left kidney.", "left kidney", ""),
    ("The right kidney.", "left kidney", MISSING),
])
def test_labels_and_captions(text: str, labels: str, expected: str) -> None:
    assert reason(text, labels) == expected


@pytest.mark.parametrize(("text", "known", "expected"), [
    ("CT with pneumonia.", {}, KIND),
    ("MRI with pneumonia.", {"modality": "CT"}, KIND),
    ("Ultrasound with pneumonia.", {"modality": "CT"}, KIND),
    ("PET/CT with pneumonia.", {"modality": "CT"}, KIND),
    ("Computed tomography without contrast showing pneumonia.", {"modality": "CT"}, ""),
    ("Magnetic resonance image with pneumonia.", {"modality": "MR"}, ""),
    ("Plain film with pneumonia.", {"modality": "radiograph"}, ""),
    ("CT with pneumonia.", {"modality": "radiograph"}, KIND),
    ("CT with pneumonia.", {"modality": ""}, KIND),
    ("CT with pneumonia.", {"modality": "XA"}, ""),
    ("Axial CT with pneumonia.", {"modality": "CT", "plane": "axial"}, ""),
    ("Coronal CT with pneumonia.", {"modality": "CT", "plane": "axial"}, PLANE),
    ("Coronal CT with pneumonia.", {"modality": "CT"}, PLANE),
    ("Pneumonia beside the left kidney.", {"structures": ("left kidney", "liver")}, ""),
    ("Pneumonia above the left adrenal gland.", {"structures": ("left adrenal gland",)}, ""),
    ("Pneumonia beside the right kidney.", {"structures": ("left kidney", "liver")}, UNKNOWN),
    ("Pneumonia with a lung mass.", {"structures": ("lung mass",)}, ""),
    ("Pneumonia, no lung mass.", {"structures": ("lung mass",)}, DENIES),
    ("Left knee with pneumonia.", {"anatomy": "left knee"}, ""),
    ("", {}, "is empty"),
    ("Pneumonia.\nIt is seen.", {}, "has several lines"),
    ("Pneumonia " + "seen " * 60, {}, "is too long"),
])
def test_how_an_image_was_made_what_is_in_view_and_the_form(text: str, known: dict[str, object], expected: str) -> None:
    assert reason(text, "pneumonia", **known) == expected  # type: ignore[arg-type]


def test_what_the_model_is_told_names_the_words_and_what_is_counted_names_none() -> None:
    fault = CHECK.fault("Chest radiograph.", Facts("DR", "", "chest", ("intracranial haemorrhage",), ()))
    assert fault is not None
    assert "acute hemorrhage; intracranial hemorrhage" in fault.told
    assert "hemorrhage" not in fault.reason


@pytest.mark.parametrize(("text", "expected"), [
    ("Pleural effusions, oedema and tumours.", "pleural effusion , edema and tumor ."),
    ("It isn't; it cannot be", "it is not ; it can not be"),
    ("lung_opacities", "lung opacity"), ("masses", "mass"), ("hepatitis is this", "hepatitis is this"), ("T1-weighted", "t1 weighted"),
])
def test_spelling_and_number_do_not_matter(text: str, expected: str) -> None:
    assert plain(text) == expected


@given(st.text(max_size=80), st.sets(st.sampled_from(LABELS), max_size=3))
def test_any_text_is_judged(text: str, labels: set[str]) -> None:
    CHECK.fault(text, Facts("DR", "axial", "chest", tuple(sorted(labels)), ()))


@given(st.sets(st.text("abc (-_", min_size=1, max_size=9), min_size=1, max_size=6))
def test_any_label_is_named_by_itself(labels: set[str]) -> None:
    found = Findings(dict.fromkeys(labels, ()))
    for label in labels:
        if plain(label):
            assert any(label in m.names for m in found.mentions(plain(label)))
