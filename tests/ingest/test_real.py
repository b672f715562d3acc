"""Real images in the layouts in which their sets are distributed: what goes in comes out, pixel by pixel, under the right label and split."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from conftest import REAL, real
from PIL import Image
from test_ingest import SITE, made

from radisim_cl.ingest._protocol import Settings
from radisim_cl.specs.catalog import CorpusSpec

SPLITS = ("train", "val", "test")


def sample(name: str) -> tuple[Path, pd.DataFrame]:
    """A set of the open sample: its folder, and its manifest with pictures by their place in it."""
    folder = Path(REAL or "") / name
    return folder, pd.read_csv(folder / "manifest.csv", dtype=str, keep_default_na=False)


def grey(file: Path) -> npt.NDArray[np.uint8]:
    return np.asarray(Image.open(file).convert("L"))


def in_order(frame: pd.DataFrame, keys: Iterable[str]) -> pd.DataFrame:
    """Rows of a corpus of pictures in the order of their native keys."""
    return frame.set_index("study").loc[[SITE.pseudonym("study", key) for key in keys]]


def counts(frame: pd.DataFrame, label: str) -> dict[tuple[str, str], int]:
    """How many pictures of each split have each label."""
    return frame.groupby(["split", label]).size().to_dict()  # type: ignore[return-value]


@real
def test_pneumoniamnist_goes_through_its_own_array_file(tmp_path: Path) -> None:
    """624 radiographs to test, 524 to validate and 400 to train, 28 x 28, with the labels of the source."""
    folder, source = sample("pneumoniamnist")
    arrays: dict[str, npt.NDArray[np.uint8]] = {}
    for split in SPLITS:
        rows = source[source["split"] == split]
        arrays[f"{split}_images"] = np.stack([grey(folder / name) for name in rows["image"]])
        arrays[f"{split}_labels"] = (rows["label"] == "pneumonia").to_numpy()[:, None].astype(np.uint8)
    (tmp_path / "in").mkdir()
    np.savez_compressed(tmp_path / "in" / "pneumoniamnist.npz", **arrays)  # type: ignore[arg-type]

    frame, card = made("medmnist", tmp_path / "in", tmp_path / "out", settings=Settings())

    assert counts(frame, "labels") == counts(source, "label")
    assert card["by_split"] == {"train": 400, "val": 524, "test": 624}
    for split in SPLITS:
        keys = [f"pneumoniamnist/{split}/{k}" for k in range(len(arrays[f"{split}_images"]))]
        found = in_order(frame, keys)
        assert (found["labels"] == "pneumonia").tolist() == (arrays[f"{split}_labels"][:, 0] == 1).tolist()
        assert (np.stack([grey(tmp_path / "out" / name) for name in found["image"]]) == arrays[f"{split}_images"]).all()
    assert {c: card[c] for c in ("title", "licences", "pairs", "patients", "left_out", "not_wanted", "by_modality", "windows")} == {
        "title": "MedMNIST", "licences": ["CC BY 4.0"], "pairs": 1548, "patients": 1548, "left_out": {}, "not_wanted": {},
        "by_modality": {"DR": 1548}, "windows": {"8 bits, as they were": 1548}}
    assert CorpusSpec.model_validate(card["catalog"]).official_split


@pytest.mark.parametrize(("names", "every"), [(("glioma_tumor", "meningioma_tumor", "no_tumor", "pituitary_tumor"), 1),
                                              (("glioma", "meningioma", "notumor", "pituitary"), 9)], ids=["as the sample", "as all"])
@real
def test_brain_tumours_go_through_their_own_folders(tmp_path: Path, names: tuple[str, ...], every: int) -> None:
    """558 slices to train and 221 to test, in `Training/glioma_tumor/` and so on; some in the folders of the set that holds them all."""
    folder, source = sample("brain_tumor_mri")
    source, home = source[::every], dict(zip(("glioma", "meningioma", "no tumour", "pituitary tumour"), names, strict=True))
    places = [f"{'Training' if row['split'] == 'train' else 'Testing'}/{home[row['label']]}/{Path(row['image']).name}"
              for row in source.to_dict("records")]
    for image, place in zip(source["image"], places, strict=True):
        (tmp_path / "in" / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / image, tmp_path / "in" / place)

    frame, card = made("brain_tumor_mri", tmp_path / "in", tmp_path / "out", settings=Settings())

    labels = source["label"].replace("no tumour", "normal")
    assert counts(frame, "labels") == counts(source.assign(label=labels), "label")
    found = in_order(frame, places)
    assert (found["labels"].tolist(), found["split"].tolist()) == (labels.tolist(), source["split"].tolist())
    for image, name in zip(source["image"], found["image"], strict=True):
        assert (grey(tmp_path / "out" / name) == grey(folder / image)).all()
    assert {c: card[c] for c in ("title", "licences", "pairs", "left_out", "by_modality", "by_split")} == {
        "title": "Brain Tumor MRI Dataset", "licences": ["CC0, as Kaggle states"], "pairs": len(source), "left_out": {},
        "by_modality": {"MR": len(source)}, "by_split": source["split"].value_counts().to_dict()}
    found_twice = card["duplicates"]
    assert isinstance(found_twice, dict)
    assert list(found_twice.values()) == [0, 0, *[14 if every == 1 else 1] * 3], "pictures that the set itself has twice, saved anew"
    assert every > 1 or card["by_split"] == {"train": 558, "test": 221}
    assert CorpusSpec.model_validate(card["catalog"]).official_split


@real
def test_the_questions_of_vqa_rad_are_its_captions(tmp_path: Path) -> None:
    """215 pictures with what `qa.csv` asks about them and answers, in its order; region by its organ; pixels as they were."""
    folder, _ = sample("vqa_rad")
    asked = pd.read_csv(folder / "qa.csv", dtype=str, keep_default_na=False)
    frame, card = made("vqa_rad", folder, tmp_path / "out", settings=Settings())
    found = in_order(frame, sorted(set(asked["image"])))
    for (name, rows), row in zip(asked.groupby("image"), found.to_dict("records"), strict=True):
        said = [f"{' '.join(q.split()).rstrip(' ?.')}? {' '.join(a.split()).rstrip('.')}."
                for q, a in zip(rows["question"], rows["answer"], strict=True) if q and a]
        assert row["caption"] == " ".join(dict.fromkeys(said))
        assert row["anatomy"] == {"HEAD": "head", "CHEST": "chest", "ABD": "abdomen"}[rows["image_organ"].iloc[-1]]
        assert (grey(tmp_path / "out" / row["image"]) == grey(folder / "images" / str(name))).all()
    assert (len(frame), card["left_out"], card["licences"]) == (215, {}, ["CC0 1.0"])
