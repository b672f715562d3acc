"""RSNA Pneumonia Detection Challenge: `stage_2_train_images/<patientId>.dcm`, `stage_2_train_labels.csv` and `stage_2_detailed_class_info.csv`.

Shih et al. 2019, Radiology: Artificial Intelligence 1(1); kaggle.com/c/rsna-pneumonia-detection-challenge. A target is pneumonia; without one, a
picture is normal or shows something else. A target's row has a box, `x`, `y`, `width`, `height` from the upper left corner on; the mask of a picture
shows all of a patient's. The test images of the challenge have no public labels and are not read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from radisim_cl.errors import InputError
from radisim_cl.ingest._protocol import HELD, About, Outline, Record, Settings
from radisim_cl.ingest._tables import Files, Row, rows, the
from radisim_cl.ingest.dicom import pictures as pictures

ABOUT = About("RSNA Pneumonia Detection Challenge", "https://www.kaggle.com/c/rsna-pneumonia-detection-challenge", "the competition's rules",
              "the rules of the Kaggle competition", structures={1: "pneumonia"}, splits=HELD, values={"labels": {"other abnormality": "normal"}})
ENDINGS = (".dcm",)
_BOX = ("x", "y", "width", "height")
CLASSES = {"Normal": "normal", "No Lung Opacity / Not Normal": "other abnormality", "Lung Opacity": "pneumonia"}


def records(files: Iterable[Path], folder: Path, settings: Settings) -> Iterator[Record]:
    """One a patient.

    Raises:
        InputError: a table is missing, or a class, target or box that is none.
    """
    images, targets, labels = Files(files, folder), the(folder, "stage_2_train_labels.csv"), dict[str, str]()
    boxes: dict[str, list[Outline]] = {}
    kinds = the(folder, "stage_2_detailed_class_info.csv")
    for line, row in enumerate(rows(kinds, ("patientId", "class")), 2):
        if row["class"] not in CLASSES:
            raise InputError(f"{kinds}:{line}  class: {row['class']!r} must be one of {', '.join(CLASSES)}")
        labels[row["patientId"]] = CLASSES[row["class"]]
    for line, row in enumerate(rows(targets, ("patientId", *_BOX, "Target")), 2):
        if row["Target"] not in ("0", "1"):
            raise InputError(f"{targets}:{line}  Target: {row['Target']!r} must be 0 or 1")
        if (row["Target"] == "1") != (labels.get(row["patientId"]) == "pneumonia"):
            raise InputError(f"{targets}:{line}  Target: {row['Target']} disagrees with the class in {kinds.name}")
        if row["Target"] == "1":
            boxes.setdefault(row["patientId"], []).append(_box(row, f"{targets}:{line}"))
    for patient, label in labels.items():
        image = images.named(f"{patient}.dcm")
        yield Record(patient, patient, (image,) if image else (), {"modality": "DR", "anatomy": "chest", "labels": label},
                     outlines=tuple(boxes.get(patient, ())), unusable="" if image else "an image that is not there")


def _box(row: Row, where: str) -> Outline:
    try:
        x, y, width, height = (float(row[name]) for name in _BOX)
    except ValueError:
        x = y = width = height = 0
    if not (width > 0 and height > 0 and max(map(abs, (x, y, width, height))) < 2**16):
        raise InputError(f"{where}  {', '.join(_BOX)}: must be the box of a target, not {', '.join(repr(row[name]) for name in _BOX)}")
    return 1, x, y, width, height
