"""Kaggle's brain tumour MRI sets: `Training/` and `Testing/`, each with a folder a class.

kaggle.com/datasets/masoudnickparvar/brain-tumor-mri-dataset (`glioma`, `meningioma`, `notumor`, `pituitary`) and sartajbhuvaji's, which it holds
(`glioma_tumor`, `no_tumor`, ...). Patients are not told: each picture is one of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from radisim_cl.ingest import folders
from radisim_cl.ingest._flat import ENDINGS as ENDINGS
from radisim_cl.ingest._flat import pictures as pictures
from radisim_cl.ingest._protocol import TESTED, About, Record, Settings

ABOUT = About("Brain Tumor MRI Dataset", "https://www.kaggle.com/datasets/masoudnickparvar/brain-tumor-mri-dataset", "CC0, as Kaggle states",
              splits=TESTED)
CLASSES = {"glioma": "glioma", "glioma tumor": "glioma", "meningioma": "meningioma", "meningioma tumor": "meningioma", "notumor": "normal",
           "no tumor": "normal", "pituitary": "pituitary tumour", "pituitary tumor": "pituitary tumour"}


def records(files: Iterable[Path], folder: Path, settings: Settings) -> Iterator[Record]:
    """One a picture."""
    for record in folders.records(files, folder, settings):
        label = CLASSES.get(record.facts["labels"].lower(), "")
        yield replace(record, facts={**record.facts, "labels": label, "modality": "MR", "anatomy": "head"},
                      unusable="" if label else "a folder that is none of the set's classes")
