"""CheXpert: `train.csv`, `valid.csv` (and `test.csv`) with `Path`, views and fourteen observations, beside
`train/patient00001/study1/view1_frontal.jpg`.

Irvin et al. 2019, arXiv:1901.07031; stanfordmlgroup.github.io/competitions/chexpert, in both sizes. Of the tables, paths and observations are read;
sex and age are not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from radisim_cl.errors import InputError
from radisim_cl.ingest._chexpert import OBSERVATIONS, findings
from radisim_cl.ingest._flat import ENDINGS as ENDINGS
from radisim_cl.ingest._flat import pictures as pictures
from radisim_cl.ingest._protocol import TRAIN, About, Record, Settings
from radisim_cl.ingest._tables import Files, rows, the

ABOUT = About("CheXpert", "https://stanfordmlgroup.github.io/competitions/chexpert/", "research use only",
              "Stanford University Dataset Research Use Agreement", splits=TRAIN)


def records(files: Iterable[Path], folder: Path, settings: Settings) -> Iterator[Record]:
    """One a view.

    Raises:
        InputError: no table, or a row that is not of this form.
    """
    images, home = Files(files, folder), the(folder, "train.csv", "valid.csv", "test.csv").parent
    for name, split in {"train": "train", "valid": "val", "test": "test"}.items():
        table = home / f"{name}.csv"
        if not table.is_file():
            continue
        for line, row in enumerate(rows(table, ("Path", *OBSERVATIONS)), 2):
            parts = row["Path"].split("/")
            if len(parts) < 3:
                raise InputError(f"{table}:{line}  Path: must end in <patient>/<study>/<view>.jpg")
            labels, unwanted = findings(row, settings, f"{table}:{line}")
            image = images.at(row["Path"])
            yield Record(row["Path"], parts[-3], (image,) if image else (), {"modality": "DR", "anatomy": "chest", "labels": labels, "split": split},
                         study="/".join(parts[-3:-1]), unusable="" if image else "an image that is not there", unwanted=unwanted)
