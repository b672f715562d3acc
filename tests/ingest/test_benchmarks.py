"""Benchmark sets in the layout in which they are distributed: every field, masks on their organs, and nothing private."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from _benchmarks import BENCHMARKS, ORGANS, SHAPE, scan
from _made import dicom, nifti
from _sources import NAME
from PIL import Image
from test_ingest import made
from test_pictures import nothing_private
from test_sources import rows

from radisim_cl.errors import InputError
from radisim_cl.ingest import ct_org as ct_org_layout
from radisim_cl.ingest import dicom as dicom_layout
from radisim_cl.ingest import mrnet as mrnet_layout
from radisim_cl.ingest._protocol import Record, Settings, UnusableError
from radisim_cl.specs.catalog import CorpusSpec

ALL = Settings(slices=12, size=16)


def ingested(name: str, tmp_path: Path, n: int = 4, **changes: object) -> tuple[pd.DataFrame, dict[str, object]]:
    return made(name, BENCHMARKS[name](tmp_path / "in", n), tmp_path / "out", **{"settings": ALL} | changes)


def mask_of(tmp_path: Path, row: Mapping[Any, Any]) -> npt.NDArray[np.uint8]:
    return np.asarray(Image.open(tmp_path / "out" / row["mask"]))


@pytest.mark.parametrize("name", BENCHMARKS)
def test_nothing_private_leaves_a_set(name: str, tmp_path: Path) -> None:
    frame, card = ingested(name, tmp_path, 2)
    nothing_private(tmp_path / "out", NAME)
    assert card["left_out"] == {}
    assert str(card["url"]).startswith("https://")
    assert card["licences"]
    CorpusSpec.model_validate(card["catalog"])
    assert all(Image.open(tmp_path / "out" / image).mode == "L" for image in frame["image"])
    for row in frame[frame["mask"] != ""].to_dict("records"):
        assert Image.open(tmp_path / "out" / str(row["mask"])).size == Image.open(tmp_path / "out" / str(row["image"])).size


def test_medmnist(tmp_path: Path) -> None:
    frame, card = ingested("medmnist", tmp_path, 6)
    assert rows(frame, "split", "labels", "modality", "anatomy") == sorted(
        (split, label, "DR", "chest") for split in ("train", "val", "test") for label in ("normal", "pneumonia"))
    assert card["catalog"] == {"manifest": "out/manifest.parquet", "official_split": True, "splits": {
        "train": {"train": 1.0}, "val": {"tune": 0.3, "gate": 0.7}, "test": {"report": 1.0}}}
    original = np.load(tmp_path / "in" / "pneumoniamnist.npz")["test_images"]
    shown = [np.asarray(Image.open(tmp_path / "out" / name).resize((16, 16))) for name in frame["image"]]
    assert len(shown) == 18
    assert original.shape == (6, 28, 28)


@pytest.mark.parametrize("labels", [np.full((4, 1), 7, np.uint8), np.full((4, 2), 1, np.uint8), np.array(["x"] * 4)])
def test_a_label_that_is_outside_the_classes_is_said(tmp_path: Path, labels: npt.NDArray[Any]) -> None:
    images = np.zeros((4, 28, 28), dtype=np.uint8)
    arrays: dict[str, Any] = {f"{s}_{k}": v for s in ("train", "val", "test") for k, v in (("images", images), ("labels", labels))}
    np.savez(tmp_path / "pneumoniamnist.npz", **arrays)
    with pytest.raises(InputError, match="that is none of normal, pneumonia"):
        made("medmnist", tmp_path, tmp_path.parent / "out")


def test_medimeta(tmp_path: Path) -> None:
    frame, card = ingested("medimeta", tmp_path, 3)
    assert rows(frame, "plane", "labels") == sorted((p, o) for p in ("axial", "coronal", "sagittal") for o in ORGANS)
    assert rows(frame, "split") == [("test",), ("train",), ("val",)]
    assert frame["patient"].nunique() == 3
    assert card["catalog"]["values"] == {"labels": {"left femoral head": "left femur", "right femoral head": "right femur"}}  # type: ignore[index]


def test_rsna_pneumonia(tmp_path: Path) -> None:
    """A patient's two boxes are one mask, as large as the picture, which is half as large as its file."""
    frame, card = ingested("rsna_pneumonia", tmp_path, 6)
    assert rows(frame, "labels", "modality", "anatomy") == [
        ("normal", "DR", "chest"), ("other abnormality", "DR", "chest"), ("pneumonia", "DR", "chest")]
    assert len(frame) == frame["patient"].nunique() == 6
    assert (frame["mask"] != "").tolist() == (frame["labels"] == "pneumonia").tolist()
    expected = np.zeros((12, 16), dtype=np.uint8)
    expected[1:6, 2:6] = expected[3:11, 10:15] = 1
    for row in frame[frame["mask"] != ""].to_dict("records"):
        assert (mask_of(tmp_path, row) == expected).all()
    assert card["catalog"]["structures"] == {1: "pneumonia"}  # type: ignore[index]


@pytest.mark.parametrize("direction", [None, [1, 0, 0, 0, 0, -1], [-1, 0, 0, 0, 0, -1], [0, 0, -1, 1, 0, 0]], ids=str)
def test_a_box_lies_on_what_it_was_drawn_around(tmp_path: Path, direction: list[int] | None) -> None:
    """However the picture is turned and stretched to be looked at."""
    pixels = np.zeros((30, 40), dtype=np.int16)
    pixels[4:12, 20:36] = 1000
    file = dicom(tmp_path / "d.dcm", pixels, Modality="DX", PixelSpacing=[2, 1], WindowCenter=500, WindowWidth=1000,
                 **({"ImageOrientationPatient": direction} if direction else {}))
    (picture,) = dicom_layout.pictures(Record("k", "p", (file,), outlines=((1, 20, 4, 16, 8),)), Settings(1, 60))
    assert picture.mask is not None
    assert picture.mask.shape == picture.pixels.shape
    assert ((picture.pixels > 127) == (picture.mask == 1)).mean() > 0.98
    with pytest.raises(UnusableError, match="an outline that does not lie on its image"):
        list(dicom_layout.pictures(Record("k", "p", (file,), outlines=((1, 40, 4, 16, 8),)), Settings(1, 60)))


def test_brain_tumor_mri(tmp_path: Path) -> None:
    frame, _ = ingested("brain_tumor_mri", tmp_path, 2)
    assert rows(frame, "split", "labels", "modality", "anatomy") == sorted(
        (s, x, "MR", "head") for s in ("train", "test") for x in ("glioma", "meningioma", "normal", "pituitary tumour"))


def test_br35h(tmp_path: Path) -> None:
    frame, card = ingested("br35h", tmp_path, 3)
    assert rows(frame, "labels", "modality", "anatomy") == [("normal", "MR", "head"), ("tumour", "MR", "head")]
    assert (len(frame), card["not_wanted"]) == (6, {"in no folder of a class": 1})


def test_covid_ct(tmp_path: Path) -> None:
    frame, card = ingested("covid_ct", tmp_path, 3)
    assert rows(frame, "labels", "split", "modality", "anatomy") == sorted(
        (x, s, "CT", "chest") for x in ("COVID-19 pneumonia", "no COVID-19") for s in ("train", "val", "test"))
    assert (len(frame), frame["patient"].nunique()) == (12, 6)
    assert card["catalog"]["values"] == {"labels": {"no COVID-19": "normal"}}  # type: ignore[index]


@pytest.mark.parametrize("codes", ["RAS", "LPS", "LAI"])
def test_ct_ich(tmp_path: Path, codes: str) -> None:
    """A slice has the label of its own row, and its mask, however the volume is stored."""
    BENCHMARKS["ct_ich"](tmp_path / "in", 2, codes)  # type: ignore[call-arg]
    frame, _ = made("ct_ich", tmp_path / "in", tmp_path / "out", settings=ALL)
    assert frame["labels"].value_counts().to_dict() == {"normal": 19, "intracranial haemorrhage": 4, "skull fracture": 1}
    for row in frame.to_dict("records"):
        assert (row["labels"] == "intracranial haemorrhage") == bool(mask_of(tmp_path, row).any())
    assert set(np.unique(np.stack([mask_of(tmp_path, r) for r in frame.to_dict("records")]))) == {0, 1}
    assert set(frame["window"]) == {"brain: centre 40, width 80 HU"}


def test_labels_that_are_not_one_a_slice_are_left_out(tmp_path: Path) -> None:
    folder = BENCHMARKS["ct_ich"](tmp_path / "in", 2)
    text = (folder / "hemorrhage_diagnosis_raw_ct.csv").read_text().splitlines()
    (folder / "hemorrhage_diagnosis_raw_ct.csv").write_text("\n".join(text[:-1]))
    _, card = made("ct_ich", folder, tmp_path / "out", most_unusable=0.5)
    assert card["left_out"] == {"another number of slices than of their labels, or stored in another plane": 1}


def test_ct_lymph_nodes(tmp_path: Path) -> None:
    """Half of the slices show a node, which lies where the mask of the volume has it."""
    frame, _ = ingested("ct_lymph_nodes", tmp_path, 2, settings=Settings(slices=6, size=16))
    assert rows(frame, "anatomy", "modality", "plane") == [("abdomen", "CT", "axial"), ("chest", "CT", "axial")]
    assert frame["labels"].value_counts().to_dict() == {"enlarged lymph nodes": 6, "no enlarged lymph node": 6}
    for row in frame.to_dict("records"):
        mask = mask_of(tmp_path, row)
        assert bool(mask.any()) == (row["labels"] == "enlarged lymph nodes")
        if mask.any():  # to the left of the patient, in front: at the right of the picture, on top
            y, x = np.nonzero(mask)
            assert y.max() < 8 < x.min()


def test_pixels_of_a_node_are_those_of_its_mask(tmp_path: Path) -> None:
    folder = BENCHMARKS["ct_lymph_nodes"](tmp_path / "in", 1)
    from _benchmarks import series

    values = np.full(SHAPE, -500, dtype=np.int16)
    values[1:4, 9:13, 2:5] = 500
    patient = next((folder / "CT Lymph Nodes").iterdir())
    series(next(patient.rglob("abdominal*")), values, patient.name)
    frame, _ = made("ct_lymph_nodes", folder, tmp_path / "out", settings=Settings(slices=6, size=16, window="0/1000"))
    for row in frame.to_dict("records"):
        image = np.asarray(Image.open(tmp_path / "out" / str(row["image"])))
        assert ((image > 127) == (mask_of(tmp_path, row) == 1)).all()


def test_mrnet(tmp_path: Path) -> None:
    frame, _ = ingested("mrnet", tmp_path, 5, settings=Settings(slices=3, size=32))
    assert rows(frame, "split", "labels") == [("train", "ACL tear"), ("train", "meniscal tear"), ("train", "normal"), ("train", "other abnormality"),
                                              ("val", "ACL tear|meniscal tear")]
    assert (len(frame), frame["study"].nunique(), frame["patient"].nunique()) == (45, 5, 5)
    assert rows(frame, "plane", "modality", "anatomy") == [("axial", "MR", "knee"), ("coronal", "MR", "knee"), ("sagittal", "MR", "knee")]


def test_arrays_of_other_numbers_are_windowed_and_others_refused(tmp_path: Path) -> None:
    def read(values: npt.NDArray[Any]) -> list[Any]:
        np.save(tmp_path / "x.npy", values, allow_pickle=True)
        return list(mrnet_layout.pictures(Record("k", "p", (tmp_path / "x.npy",), {"plane": "axial"}), Settings(2, 16)))

    assert read(np.random.default_rng(0).normal(size=(4, 16, 16)))[0].window.startswith("percentiles")
    for values in (np.zeros((4, 4)), np.array([{}, {}]), np.zeros((0, 4, 4)), np.full((2, 4, 4), np.nan), np.full((2, 4, 4), "x")):
        with pytest.raises(UnusableError):
            read(values)


def test_chaos(tmp_path: Path) -> None:
    """Masks are those of their images, though files are named from the head on and slices are ordered from the foot on."""
    frame, card = ingested("chaos", tmp_path, 2)
    assert rows(frame, "modality", "labels") == [
        ("CT", ""), ("CT", "liver"), ("MR", ""), ("MR", "liver|right kidney|left kidney|spleen")]
    assert (frame["study"].nunique(), frame["patient"].nunique()) == (8, 4)
    assert card["catalog"]["structures"] == {1: "liver", 2: "right kidney", 3: "left kidney", 4: "spleen"}  # type: ignore[index]
    for _, study in frame[frame["modality"] == "MR"].groupby("study"):
        first = mask_of(tmp_path, study.sort_values("id").iloc[0].to_dict())
        assert first[7].tolist() == [0] * 12 + [4, 3, 2, 1]
        shown = [bool(mask_of(tmp_path, r).any()) for r in study.sort_values("id").to_dict("records")]
        assert shown == [True] * 8 + [False] * 4


def test_amos(tmp_path: Path) -> None:
    frame, card = ingested("amos", tmp_path, 4)
    shown = "spleen|right kidney|left kidney|liver|stomach|pancreas"
    assert rows(frame, "modality", "split", "labels") == sorted((m, s, x) for m in ("CT", "MR") for s in ("train", "val") for x in ("", shown))
    assert card["not_wanted"] == {"a scan without labels": 1}
    assert set(frame["window"].str.split(":").str[0]) == {"soft tissue", "percentiles 0.5 to 99.5"}


def test_ct_org(tmp_path: Path) -> None:
    """The right kidney is at the left of the picture, whatever way the volume is stored."""
    frame, card = ingested("ct_org", tmp_path, 10)
    shown = "liver|bladder|lungs|left kidney|bones|right kidney"
    assert rows(frame, "split", "labels") == sorted((s, x) for s in ("train", "test") for x in ("", shown))
    assert card["by_split"] == {"test": 96, "train": 24}
    mask = mask_of(tmp_path, frame[frame["labels"] != ""].iloc[0].to_dict())
    left, right = (np.nonzero(mask == v)[1].mean() for v in (4, 7))
    assert right < np.nonzero(mask == 5)[1].mean() < left


def test_a_label_that_is_none_of_the_set_s_is_left_out(tmp_path: Path) -> None:
    nifti(tmp_path / "volume-1.nii.gz", scan(0))
    nifti(tmp_path / "labels-1.nii.gz", np.full(SHAPE, 9, dtype=np.uint8))
    (record,) = ct_org_layout.records(sorted(tmp_path.iterdir()), tmp_path, ALL)
    with pytest.raises(UnusableError, match="none of the set's structures"):
        list(ct_org_layout.pictures(record, ALL))


def test_totalsegmentator(tmp_path: Path) -> None:
    frame, card = ingested("totalsegmentator", tmp_path, 3)
    assert rows(frame, "anatomy", "labels") == [
        ("abdomen", "liver"), ("chest", "lungs"), ("head", "brain"), ("pelvis", "bladder|bones of the pelvis")]
    assert card["by_split"] == {"train": 12, "val": 12, "test": 12}
    assert card["catalog"]["official_split"] is True  # type: ignore[index]


WRONG = [
    ("medmnist", "pathmnist.npz", b"", "of MedMNIST, pneumoniamnist, chestmnist"), ("medmnist", "pneumoniamnist.npz", b"x", "no file of arrays"),
    ("medimeta", "x.png", b"", "no folder organs_axial, organs_coronal or organs_sagittal"),
    ("rsna_pneumonia", "x.dcm", b"", "no file stage_2_train_labels.csv"), ("covid_ct", "x.png", b"", "no file COVID-CT-MetaInfo.xlsx"),
    ("ct_ich", "hemorrhage_diagnosis_raw_ct.csv", b"PatientNumber,SliceNumber,No_Hemorrhage,Fracture_Yes_No\n49,one,0,0\n",
     "hemorrhage_diagnosis_raw_ct.csv:2  PatientNumber, SliceNumber, No_Hemorrhage, Fracture_Yes_No: must be numbers"),
    ("mrnet", "train-acl.csv", b"0000,2\n", "no file train-abnormal.csv"), ("chaos", "x.dcm", b"", "no folder Ground with masks"),
    ("totalsegmentator", "meta.csv", b"image_id,split\n", "no column 'image_id'"), ("br35h", "no.txt", b"", "no file that ends in .png"),
    ("ct_org", "volume.nii.gz", b"", "no file that ends in .nii"), ("amos", "x.nii.gz", b"", "no file that ends in .nii"),
]


@pytest.mark.parametrize(("layout", "name", "data", "said"), WRONG, ids=[f"{w[0]} {w[1]}" for w in WRONG])
def test_what_is_not_in_a_set_s_form_is_said(tmp_path: Path, layout: str, name: str, data: bytes, said: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(data)
    with pytest.raises(InputError, match=said):
        made(layout, tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_tables_that_disagree_are_said(tmp_path: Path) -> None:
    folder = BENCHMARKS["rsna_pneumonia"](tmp_path / "in", 3)
    whole = (folder / "stage_2_train_labels.csv").read_text()
    for there, instead, said in ((",1\n", ",0\n", "Target: 0 disagrees with the class"), (",1\n", ",2\n", "Target: '2' must be 0 or 1"),
                                (",8.0,", ",,", "x, y, width, height: must be the box of a target, not '4.0', '2.0', '', '10.0'")):
        (folder / "stage_2_train_labels.csv").write_text(whole.replace(there, instead))
        with pytest.raises(InputError, match=f"stage_2_train_labels.csv:4  {said}"):
            made("rsna_pneumonia", folder, tmp_path / "out")
    kinds = folder / "stage_2_detailed_class_info.csv"
    kinds.write_text(kinds.read_text().replace("Normal", "Fine", 1))
    with pytest.raises(InputError, match=r"stage_2_detailed_class_info\.csv:2  class: 'Fine' must be one of Normal, No Lung"):
        made("rsna_pneumonia", folder, tmp_path / "out")


def test_an_archive_that_declares_too_much_is_not_opened(tmp_path: Path) -> None:
    folder = BENCHMARKS["medmnist"](tmp_path / "in", 4)
    with pytest.raises(InputError, match="declares an array of more than 1e-06 GiB"):
        made("medmnist", folder, tmp_path / "out", settings=Settings(gigabytes=1e-6))
