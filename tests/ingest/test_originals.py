"""The open sample from its originals: every set in the layout in which its makers distribute it, field by field; then the curriculum, planned."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from _made import body, nifti, png
from _originals import ORIGINALS, SAMPLE, itk
from _sources import NAME
from PIL import Image
from test_ingest import SITE, made, read
from test_pictures import nothing_private
from test_sources import rows

from radisim_cl.errors import InputError
from radisim_cl.ingest import nifti as volumes
from radisim_cl.ingest._corpus import ingest
from radisim_cl.ingest._protocol import Settings
from radisim_cl.ingest._tables import Table
from radisim_cl.runs.planning import plan
from radisim_cl.specs.curriculum import load

FEW = Settings(slices=12, size=16)


def ingested(name: str, tmp_path: Path, n: int = 4) -> tuple[pd.DataFrame, dict[str, object]]:
    return made(name, ORIGINALS[name](tmp_path / "in", n), tmp_path / "out", settings=FEW)


@pytest.mark.parametrize("name", ORIGINALS)
def test_nothing_private_leaves_an_original(name: str, tmp_path: Path) -> None:
    frame, card = ingested(name, tmp_path)
    nothing_private(tmp_path / "out", NAME)
    assert card["left_out"] == {}
    assert set(frame["licence"]) - {""}
    assert card["patients"] == 4


def test_shenzhen_and_knees(tmp_path: Path) -> None:
    frame, _ = ingested("shenzhen_cxr", tmp_path / "a")
    assert frame[["modality", "anatomy", "labels"]].value_counts().to_dict() == {("DR", "chest", "normal"): 2, ("DR", "chest", "tuberculosis"): 2}
    frame, card = ingested("knee_oa_xray", tmp_path / "b")
    assert rows(frame, "split", "labels") == [("test", "KL grade 3 (moderate)"), ("train", "KL grade 0 (no osteoarthritis)"),
                                              ("train", "KL grade 1 (doubtful)"), ("val", "KL grade 2 (minimal)")]
    assert (len(frame), card["not_wanted"]) == (8, {"in no folder of a split": 1})


def test_covid_chestxray(tmp_path: Path) -> None:
    frame, card = ingested("covid_chestxray", tmp_path)
    assert rows(frame, "labels") == [("",), ("COVID-19",), ("Pneumocystis",), ("normal",)]
    assert set(frame["caption"]) == {"Bilateral peripheral opacities."}
    assert set(frame["licence"]) == {"CC BY"}
    assert card["not_wanted"] == {"no radiograph from the front": 2}


HEART = "left ventricle|right ventricle|left atrium|right atrium|aorta|pulmonary artery|superior vena cava|inferior vena cava"


@pytest.mark.parametrize(("name", "modality", "anatomy", "labels", "values"), [
    ("hvsmr", "MR", "heart", HEART, 8),
    ("msd_hippocampus", "MR", "hippocampus", "anterior hippocampus|posterior hippocampus", 2), ("msd_spleen", "CT", "abdomen", "spleen", 1),
    ("avt", "CT", "abdomen", "aorta", 1)])
def test_volumes_with_labels(name: str, modality: str, anatomy: str, labels: str, values: int, tmp_path: Path) -> None:
    """Slices from the lower eight of twelve show the structures; first the patient's right, which is at the left."""
    frame, card = ingested(name, tmp_path)
    assert rows(frame, "modality", "anatomy", "plane") == [(modality, anatomy, "axial")]
    assert frame["labels"].value_counts().to_dict() == {labels: 32, "": 16}
    assert list(card["catalog"]["structures"].values()) == labels.split("|")  # type: ignore[index]
    mask = np.asarray(Image.open(tmp_path / "out" / frame["mask"][frame["labels"] != ""].iloc[0]))
    assert set(np.unique(mask)) == set(range(values + 1))
    assert mask[8, -1] == 1, "the first structure lies furthest to the right of the volume's axis, and so at the picture's edge"


def test_spider_is_cut_sagittally_and_its_numbers_are_put_together(tmp_path: Path) -> None:
    frame, card = ingested("spider", tmp_path)
    assert rows(frame, "plane", "labels", "caption") == [
        ("sagittal", "lumbar vertebrae", "Sagittal T1-weighted MR of the lumbar spine."),
        ("sagittal", "lumbar vertebrae", "Sagittal T2-weighted MR of the lumbar spine.")]
    assert frame.groupby("patient")["study"].nunique().tolist() == [1] * 4
    assert card["not_wanted"] == {"a series of isotropic voxels": 4}
    found = {int(v) for name in frame["mask"] for v in np.unique(np.asarray(Image.open(tmp_path / "out" / name)))}
    assert found == {0, 1, 2, 3}


def test_mammograms_have_their_circles(tmp_path: Path) -> None:
    (tmp_path / "in").parent.mkdir(exist_ok=True)
    frame, _ = made("mias", ORIGINALS["mias"](tmp_path / "in", 4), tmp_path / "out", settings=Settings(size=32))
    assert frame["labels"].value_counts().to_dict() == {"normal": 4, "benign mass": 2, "malignant mass": 2}
    assert frame.groupby("patient").size().tolist() == [2] * 4
    row = frame[frame["labels"] == "benign mass"].iloc[0]
    mask = np.asarray(Image.open(tmp_path / "out" / row["mask"]))
    y, x = np.nonzero(mask)
    assert (y.mean(), x.mean(), len(y)) == (24 - 1 - 4, 10, 29)
    assert set(mask[mask > 0]) == {2}
    (tmp_path / "in" / "Info.txt").write_text("mdb001 G CIRC\n")
    with pytest.raises(InputError, match=r"Info\.txt:1  'mdb001 G CIRC'"):
        made("mias", tmp_path / "in", tmp_path / "again")


@pytest.mark.parametrize("ending", [".mha", ".nrrd"])
def test_a_volume_of_itk_is_that_of_nifti(tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Settings(3, 20, "axial", "500/1000")
    ours = read(volumes, itk(tmp_path / f"v{ending}", body().astype(np.int16)), asked=asked)
    for a, b in zip(ours, read(volumes, nifti(tmp_path / "v.nii", body().astype(np.int16)), asked=asked), strict=True):
        np.testing.assert_array_equal(a.pixels, b.pixels)
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(InputError, match=r"python -m pip install 'radisim-cl\[itk\]'"):
        read(volumes, tmp_path / f"v{ending}")


def test_the_open_sample_is_planned_over_its_originals_with_nothing_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kidney stones come with a table."""
    for name, (layout, maker) in SAMPLE.items():
        (tmp_path / name).mkdir(exist_ok=True)
        ingest(layout, maker(tmp_path / name / "in", 30), tmp_path / "corpora" / name, Settings(slices=3, size=16), SITE)
    stones = {}
    (tmp_path / "stones").mkdir()
    for k in range(40):
        png(tmp_path / "stones" / f"{k}.png", 880_000 + k)
        Image.fromarray((np.arange(24 * 32).reshape(24, 32) < 99).astype(np.uint8)).save(tmp_path / "stones" / f"{k}.mask.png")
        side = ("left", "right")[k % 2]
        stones[f"{k}.png"] = {"patient": f"stone {k}", "modality": "CT", "anatomy": "abdomen", "labels": f"kidney stone@{side}-lower",
                              "mask": f"{k}.mask.png", "licence": "CC BY 4.0"}
    ingest("images", tmp_path / "stones", tmp_path / "corpora" / "kidney_stone_ct", Settings(size=16), SITE, Table(stones))
    monkeypatch.setenv("RADISIM_OPEN", str(tmp_path / "corpora"))
    made_ = plan(load("open_sample", (), "smoke", "open_originals"))
    assert {s.id: s.missing for s in made_.subtasks if s.missing} == {}
    assert all(entry.available > 0 for stage in made_.stages for entry in stage.entries)
