"""Br35H: `yes/y0.jpg` and `no/no0.jpg`.

kaggle.com/datasets/ahmedhamada0/brain-tumor-detection. The folders `pred` and `Br35H-Mask-RCNN`, which repeat pictures without a class, are not read.
Patients are not told: each picture is one of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from radisim_cl.ingest._flat import ENDINGS as ENDINGS
from radisim_cl.ingest._flat import pictures as pictures
from radisim_cl.ingest._protocol import HELD, About, Record, Settings

ABOUT = About("Br35H, brain tumour detection 2020", "https://www.kaggle.com/datasets/ahmedhamada0/brain-tumor-detection", "not stated", splits=HELD)
CLASSES = {"yes": "tumour", "no": "normal"}


def records(files: Iterable[Path], folder: Path, settings: Settings) -> Iterator[Record]:
    """One a picture in a folder of a class."""
    for file in files:
        name = file.relative_to(folder).as_posix()
        label = CLASSES.get(file.parent.name.lower(), "")
        yield Record(name, name, (file,), {"modality": "MR", "anatomy": "head", "labels": label}, unwanted="" if label else "in no folder of a class")
