"""RadImageNet: `radiology_ai/<modality>/<anatomy>/<pathology>/*.png`, and `RadiologyAI_train.csv`, `_val` and `_test` with `filename` and `label`.

Mei et al. 2022, Radiology: Artificial Intelligence 4(5), doi:10.1148/ryai.210315; github.com/BMEII-AI/RadImageNet. Captions are worded from labels,
by the template set of the catalog. Patients are not told: each picture is one of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from radisim_cl.errors import InputError
from radisim_cl.ingest._flat import ENDINGS as ENDINGS
from radisim_cl.ingest._flat import pictures as pictures
from radisim_cl.ingest._protocol import TRAIN, About, Record, Settings
from radisim_cl.ingest._tables import Files, rows

ABOUT = About("RadImageNet", "https://www.radimagenet.com", "research use only", "RadImageNet's research use agreement", splits=TRAIN)
MODALITIES = {"ct": "CT", "mr": "MR", "xr": "DR", "us": ""}
REGIONS = {"abd": "abdomen", "lung": "chest", "af": "ankle", "brain": "head"}
"""Where the folder has another word than ours."""


def records(files: Iterable[Path], folder: Path, settings: Settings) -> Iterator[Record]:
    """One a row of the tables.

    Raises:
        InputError: no table, or a path that is not of this form.
    """
    tables = {split: found[0] for split in ("train", "val", "test") if (found := sorted(folder.rglob(f"RadiologyAI_{split}.csv")))}
    if not tables:
        raise InputError(f"{folder}: no file RadiologyAI_train.csv; give the folder that holds it")
    images = Files(files, folder)
    for split, table in tables.items():
        for line, row in enumerate(rows(table, ("filename",)), 2):
            parts = row["filename"].split("/")
            if len(parts) < 4 or parts[-4].lower() not in MODALITIES:
                raise InputError(f"{table}:{line}  filename: {row['filename']!r} must end in <modality>/<anatomy>/<pathology>/<file>, "
                                 f"with a modality of {', '.join(MODALITIES)}")
            modality, anatomy, label = MODALITIES[parts[-4].lower()], parts[-3].lower(), parts[-2].lower().replace("_", " ").replace("-", " ")
            image = images.at(row["filename"])
            yield Record(row["filename"], row["filename"], (image,) if image else (),
                         {"modality": modality, "anatomy": REGIONS.get(anatomy, anatomy), "labels": label, "split": split},
                         unusable="" if image else "an image that is not there", unwanted="" if modality else "ultrasound")
