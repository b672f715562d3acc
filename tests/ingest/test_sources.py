"""Training sources in the layout in which they are distributed: every field, and nothing private."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from _made import CANARY, dicom, jpeg, png
from _sources import GONE, NAME, REPORT, SOURCES, XML, table
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from test_ingest import made
from test_pictures import nothing_private

from radisim_cl.errors import InputError
from radisim_cl.ingest import _captions, slake
from radisim_cl.ingest._protocol import Record, Settings, UnusableError

Facts = dict[str, list[str]]


def ingested(name: str, tmp_path: Path, n: int = 6, **changes: object) -> tuple[pd.DataFrame, dict[str, object]]:
    (tmp_path / "in").mkdir(parents=True)
    return made(name, SOURCES[name](tmp_path / "in", n), tmp_path / "out", **{"settings": Settings(size=64)} | changes)


def rows(frame: pd.DataFrame, *columns: str) -> list[tuple[str, ...]]:
    return sorted(set(frame[list(columns)].itertuples(index=False, name=None)))


@pytest.mark.parametrize("name", SOURCES)
def test_nothing_private_leaves_a_source(name: str, tmp_path: Path) -> None:
    frame, card = ingested(name, tmp_path)
    nothing_private(tmp_path / "out", NAME)
    assert card["left_out"] == {}
    assert card["licences"]
    assert str(card["url"]).startswith("https://")
    assert set(frame["licence"]) == set(card["licences"])  # type: ignore[call-overload]
    assert all(np.asarray(Image.open(tmp_path / "out" / image)).dtype == np.uint8 for image in frame["image"])
    assert (frame["level"] != "")[frame["caption"] != ""].all()


def test_pmc_oa(tmp_path: Path) -> None:
    frame, card = ingested("pmc_oa", tmp_path)
    assert rows(frame, "caption", "modality", "anatomy", "plane", "level") == [
        ("Axial CT of the abdomen.", "CT", "abdomen", "axial", "anatomy"), ("CT scan.", "CT", "", "", "modality"),
        ("Chest radiograph with right pleural effusion.", "DR", "chest", "", "diagnosis"),
        ("Contrast-enhanced MRI shows a WHO grade II glioma.", "MR", "", "", "grading"),
        ("Coronal CT shows the left kidney.", "CT", "abdomen", "coronal", "localization"),
        ("Sagittal T2-weighted MRI of the lumbar spine.", "MR", "lumbar spine", "sagittal", "anatomy")]
    assert card["patients"] == 6


def test_figures_that_nobody_wants_are_counted_by_reason(tmp_path: Path) -> None:
    folder, captions = tmp_path / "in", ["Histology of the tumour.", "CT and MRI of the liver.", "(A) CT at baseline. (B) CT after a year.",
                                         "CT of the chest.", "CT of the liver.", ""]
    for k in range(6):
        pixels = np.full((100, 120), 90, dtype=np.uint8)
        pixels[:, 58:62] = 255 if k == 4 else 90
        (folder / "images").mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels + np.uint8(k if k != 4 else 0)).save(folder / "images" / f"PMC{k}_F1.png")
    lines = [{"image": f"PMC{k}_F1.png", "caption": c} for k, c in enumerate(captions)]
    lines.append({"image": "PMC9_F1.png", "caption": "CT of the head."})
    (folder / "train.jsonl").write_text("\n".join(map(json.dumps, lines)))
    frame, card = made("pmc_oa", folder, tmp_path / "out", most_unusable=0.5)
    assert card["not_wanted"] == {"a caption that names no CT, MR or radiograph": 1, "a caption that names several kinds of image": 1,
                                  "a figure of several panels, by its caption": 1, "a figure of several panels, by a white band across it": 1}
    assert card["left_out"] == {"no caption": 1, "an image that is not there": 1}
    assert frame["caption"].tolist() == ["CT of the chest."]
    assert frame["split"].tolist() == ["train"]


def test_images_without_a_caption_stop_it_above_the_budget(tmp_path: Path) -> None:
    folder = SOURCES["pmc_oa"](tmp_path / "in", 20)
    lines = (folder / "pmc_oa.jsonl").read_text().splitlines()
    for k in range(2):
        lines[k] = json.dumps(json.loads(lines[k]) | {"caption": " "})
    (folder / "pmc_oa.jsonl").write_text("\n".join(lines))
    with pytest.raises(InputError, match=r"2 of 20 records cannot be used \(2 x no caption\), and 5\.0% may be left out"):
        made("pmc_oa", folder, tmp_path / "out")


def test_radimagenet(tmp_path: Path) -> None:
    frame, card = ingested("radimagenet", tmp_path, 25)
    assert rows(frame, "modality", "anatomy", "labels") == [
        ("CT", "abdomen", "bladder pathology"), ("CT", "chest", "normal"), ("MR", "head", "normal"), ("MR", "knee", "acl pathology")]
    assert card["not_wanted"] == {"ultrasound": 5}
    assert card["by_split"] == {"train": 12, "val": 4, "test": 4}
    assert card["agreement"] == "RadImageNet's research use agreement"


@pytest.mark.parametrize(("uncertain", "expected", "skipped"), [
    ("negative", ["", "cardiomegaly|pleural effusion", "normal", "pneumonia"], 0), ("skip", ["cardiomegaly|pleural effusion", "normal"], 4),
    ("positive", ["cardiomegaly|pleural effusion", "edema|pneumonia", "normal", "pneumonia"], 0)])
def test_chexpert(tmp_path: Path, uncertain: str, expected: list[str], skipped: int) -> None:
    frame, card = ingested("chexpert", tmp_path, 4, settings=Settings(size=64, uncertain=uncertain))  # type: ignore[arg-type]
    assert rows(frame, "labels") == [(e,) for e in expected]
    assert rows(frame, "modality", "anatomy", "split") in ([("DR", "chest", "train")], [("DR", "chest", "train"), ("DR", "chest", "val")])
    assert len(frame) == 2 * frame["study"].nunique() == 2 * frame["patient"].nunique()
    assert card["not_wanted"] == ({"an uncertain finding": skipped} if skipped else {})
    assert card["agreement"] == "Stanford University Dataset Research Use Agreement"


def test_eurorad(tmp_path: Path) -> None:
    frame, card = ingested("eurorad", tmp_path, 2)
    assert rows(frame, "caption", "modality", "anatomy", "plane", "labels", "level") == sorted([
        ("Axial CT of the abdomen.", "CT", "abdomen", "axial", "Anaplastic astrocytoma", "anatomy"),
        ("Sagittal T2-weighted MRI of the lumbar spine.", "MR", "lumbar spine", "sagittal", "Anaplastic astrocytoma", "anatomy"),
        ("MRI of the brain. Axial T1 with a mass in the left frontal lobe.", "MR", "head", "axial", "Anaplastic astrocytoma", "diagnosis"),
        ("MRI of the brain. Coronal FLAIR, WHO grade III glioma.", "MR", "head", "coronal", "Anaplastic astrocytoma", "grading")])
    assert card["not_wanted"] == {"a caption that names no CT, MR or radiograph": 2}
    assert (frame["study"].nunique(), frame["patient"].nunique()) == (2, 2)


SAID = "Right lower lobe pneumonia. There is a consolidation in the right lower lobe of . The heart is normal in size."


@pytest.mark.parametrize("ending", [".jpg", ".dcm"])
def test_mimic_cxr(tmp_path: Path, ending: str) -> None:
    (tmp_path / "in").mkdir()
    SOURCES["mimic_cxr"](tmp_path / "in", 6)
    if ending == ".dcm":
        for image in (tmp_path / "in").rglob("*.jpg"):
            dicom(image.with_suffix(".dcm"), np.asarray(Image.open(image)), Modality="CR")
            image.unlink()
    frame, card = made("mimic_cxr", tmp_path / "in", tmp_path / "out", settings=Settings(size=64))
    assert rows(frame, "split", "labels", "caption", "modality", "anatomy") == [
        ("test", "normal", "", "DR", "chest"), ("test", "pneumonia", "", "DR", "chest"), ("train", "normal", SAID, "DR", "chest"),
        ("train", "pneumonia", SAID, "DR", "chest"), ("val", "normal", SAID, "DR", "chest"), ("val", "pneumonia", SAID, "DR", "chest")]
    assert (len(frame), frame["study"].nunique(), frame["patient"].nunique(), card["captions"]) == (12, 6, 6, 8)
    assert card["agreement"] == "PhysioNet Credentialed Health Data Use Agreement 1.5.0"
    assert set(frame["window"].str[:6]) == {"8 bits" if ending == ".jpg" else "percen"}
    nothing_private(tmp_path / "out", NAME)


def test_openi(tmp_path: Path) -> None:
    frame, _ = ingested("openi", tmp_path, 3)
    assert rows(frame, "caption", "labels", "modality", "anatomy", "level") == [
        ("Mild cardiomegaly. The heart is enlarged. lungs are clear.", "cardiomegaly|lung", "DR", "chest", "grading")]
    assert (len(frame), frame["study"].nunique(), frame["patient"].nunique()) == (6, 3, 3)


def test_vqa_rad(tmp_path: Path) -> None:
    frame, card = ingested("vqa_rad", tmp_path, 3)
    said = "What modality is used? MRI. How many lesions are there? 3."
    assert rows(frame, "caption", "modality", "anatomy", "level") == [
        (said, "CT", "abdomen", "diagnosis"), (said, "DR", "chest", "diagnosis"), (said, "MR", "head", "diagnosis")]
    assert card["licences"] == ["CC0 1.0"]


def test_slake(tmp_path: Path) -> None:
    frame, card = ingested("slake", tmp_path, 3)
    said = "Which organ is abnormal? Left lung."
    assert rows(frame, "caption", "modality", "anatomy", "split") == [
        (said, "CT", "abdomen", "val"), (said, "DR", "chest", "train"), (said, "MR", "head", "test")]
    assert catalog(card)["structures"] == {70: "liver", 135: "left kidney"}
    pixels = {m: mask and np.unique_counts(np.asarray(Image.open(tmp_path / "out" / mask))) for m, mask in frame[["modality", "mask"]].to_numpy()}
    assert not pixels.pop("DR")  # more of it are shades than a structure
    assert {m: dict(zip(*map(list, p), strict=True)) for m, p in pixels.items()} == {"CT": {0: 512, 70: 128, 135: 128}, "MR": {0: 640, 135: 128}}


def catalog(card: dict[str, object]) -> dict[str, object]:
    found = card["catalog"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(("legend", "said"), [
    (None, r"mask.txt: not there, and the images have masks"), ("70:Liver\nSpleen", r"mask.txt:2  'Spleen': not a pixel value and a structure"),
    ("256:Liver", "not a pixel value"), ("7²:Liver", "not a pixel value")])
def test_masks_that_nothing_explains_are_said_before_anything_is_read(tmp_path: Path, legend: str | None, said: str) -> None:
    (tmp_path / "in").mkdir()
    folder = SOURCES["slake"](tmp_path / "in", 3)
    (folder / "mask.txt").write_text(legend) if legend else (folder / "mask.txt").unlink()
    with pytest.raises(InputError, match=said):
        made("slake", folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_empty_legend_goes_without_masks(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    folder = SOURCES["slake"](tmp_path / "in", 3)
    (folder / "mask.txt").write_text("0:Background\n\n")
    frame, card = made("slake", folder, tmp_path / "out")
    assert not frame["mask"].any()
    assert "structures" not in catalog(card)


def test_a_mask_whose_numbers_are_named_nowhere_is_none(tmp_path: Path) -> None:
    record = Record("x", "x", (jpeg(tmp_path / "source.jpg", 0),), masks=(png(tmp_path / "mask.png", 0, (24, 32)),))
    with pytest.raises(UnusableError, match="named nowhere"):
        list(slake.pictures(record, Settings()))


@pytest.mark.parametrize(("caption", "expected"), [
    ("(A) Axial CT. (B) Coronal CT.", {"a": "Axial CT.", "b": "Coronal CT."}), ("A: CT. B: MRI.", {"a": "CT.", "b": "MRI."}),
    ("Liver. (a, b) CT; (c) MRI", {"a": "Liver. CT", "b": "Liver. CT", "c": "Liver. MRI"}),
    ("(A–C) CT. (D) MRI.", dict.fromkeys("abc", "CT.") | {"d": "MRI."}),
    ("Axial CT (a) and coronal CT (b)", {"a": "Axial CT", "b": "and coronal CT"}), ("CT of the chest (arrow).", {}),
    ("Vitamin (B) deficiency on CT.", {}),
    ("a) T1. b) T2.", {"a": "T1.", "b": "T2."}), ("", {})])
def test_a_caption_is_split_by_the_letters_of_its_panels(caption: str, expected: dict[str, str]) -> None:
    assert _captions.panels(caption) == expected


@pytest.mark.parametrize(("caption", "expected"), [
    ("CT", "CT"), ("cta of the neck", "CT"), ("Computed tomography", "CT"), ("T2w FLAIR", "MR"), ("X-ray", "DR"), ("CXR", "DR"), ("MR and CT", ""),
    ("PET/CT", ""), ("Photograph of the patient", ""), ("direct", ""), ("Ultrasound", ""), ("angiography", "")])
def test_the_kind_of_image_is_what_a_caption_names(caption: str, expected: str) -> None:
    assert _captions.modality(caption)[0] == expected


def test_a_white_band_between_panels_is_seen_and_a_white_border_is_not() -> None:
    grey = np.full((200, 300), 100, dtype=np.uint8)
    banded, bordered, dark = grey.copy(), grey.copy(), grey.copy()
    banded[98:102] = 255
    bordered[:60] = 255
    dark[98:102] = 0
    assert [_captions.compound(x) for x in (grey, banded, banded.T, bordered, dark)] == [False, True, True, False, False]


def test_sections_of_a_report() -> None:
    found = _captions.sections(REPORT)
    assert list(found) == ["EXAMINATION", "INDICATION", "FINDINGS", "IMPRESSION"]
    assert found["IMPRESSION"] == "Right lower lobe pneumonia."
    assert _captions.sections("nothing said") == {}


WRONG = [
    ("pmc_oa", "pmc_oa.jsonl", "{", "pmc_oa.jsonl:1: no JSON"),
    ("pmc_oa", "pmc_oa.jsonl", '{"caption": "x"}', "pmc_oa.jsonl:1  image: must name a file"),
    ("pmc_oa", "other.txt", "", "no file pmc_oa.jsonl"),
    ("radimagenet", "RadiologyAI_train.csv", "filename\nx.png\n", "RadiologyAI_train.csv:2  filename: 'x.png' must"),
    ("radimagenet", "x.csv", "", "no file RadiologyAI_train.csv"),
    ("radimagenet", "RadiologyAI_train.csv", "name\nx\n", "no column 'filename'"),
    ("chexpert", "train.csv", "", "is empty"),
    ("chexpert", "x.csv", "", "no file train.csv or valid.csv or test.csv"),
    ("eurorad", "1.json", "[1]", r"1.json\[0\]: must be an object with fields"),
    ("eurorad", "1.json", "{}", "case_id: must be the number"),
    ("eurorad", "1.json", '{"case_id": 1, "figures": 3}', "figures: must be a list of objects"),
    ("eurorad", "x", "", r"no file that ends in \.json"),
    ("mimic_cxr", "x", "", "no file mimic-cxr-2.0.0-metadata.csv or"),
    ("openi", "1.xml", "<a>", "no XML"),
    ("openi", "x", "", r"no file that ends in \.xml"),
    ("openi", "1.xml", '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "declares entities"),
    ("vqa_rad", "qa.csv", "image\nx\n", "no column 'image_organ'"),
    ("vqa_rad", "VQA_RAD Dataset Public.json", '[{"image_name": "x", "image_organ": "ARM"}]', "question 1: image_name must name a file and image"),
    ("slake", "train.json", '[{"img_name": "x", "modality": "PET"}]', "modality be one of CT, MRI, X-Ray, not 'PET'"),
    ("slake", "x", "", "no file train.json"),
]


@pytest.mark.parametrize(("layout", "name", "text", "said"), WRONG, ids=[f"{w[0]} {w[3][:30]}" for w in WRONG])
def test_what_is_not_in_a_source_s_form_is_said(tmp_path: Path, layout: str, name: str, text: str, said: str) -> None:
    png(tmp_path / "in" / "images" / "x.png", 0)
    (tmp_path / "in" / name).write_text(text)
    with pytest.raises(InputError, match=said):
        made(layout, tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_label_that_is_none_is_said_with_its_line(tmp_path: Path) -> None:
    folder = SOURCES["chexpert"](tmp_path / "in", 2) / "CheXpert-v1.0-small"
    (folder / "train.csv").write_text((folder / "train.csv").read_text().replace("-1.0", "perhaps"))
    with pytest.raises(InputError, match=r"train.csv:4: Edema: 'perhaps' must be 1\.0, 0\.0, -1\.0 or empty"):
        made("chexpert", tmp_path / "in", tmp_path / "out")


def test_images_that_are_not_there_count_against_the_budget(tmp_path: Path) -> None:
    folder = SOURCES["chexpert"](tmp_path / "in", 10)
    next(folder.rglob("*frontal.jpg")).unlink()
    _, card = made("chexpert", folder, tmp_path / "out")
    assert card["left_out"] == {"an image that is not there": 1}


def test_a_table_cannot_lead_a_source_out_of_its_folder(tmp_path: Path) -> None:
    jpeg(tmp_path / "MR" / "brain" / "normal" / "x.png", 0)
    folder = SOURCES["radimagenet"](tmp_path / "in", 20)
    table(folder / "RadiologyAI_test.csv", [{"filename": f"../{'../' * k}MR/brain/normal/x.png", "label": ""} for k in range(1)])
    _, card = made("radimagenet", folder, tmp_path / "out", most_unusable=0.5)
    assert card["left_out"] == {"an image that is not there": 1}


@given(st.text(max_size=300))
@settings(max_examples=300)
def test_no_words_crash_the_readers_of_captions(words: str) -> None:
    _captions.panels(words)
    _captions.sections(words)
    _captions.modality(words)
    _captions.plain(words)


def test_the_fixtures_hold_the_name_that_must_not_leave() -> None:
    assert CANARY in REPORT.format(name=CANARY)
    assert CANARY in XML.format(GONE=GONE, name=CANARY, k=1)
