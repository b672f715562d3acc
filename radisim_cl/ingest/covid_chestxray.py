"""The COVID-19 image data collection: `metadata.csv` beside `images/`.

Cohen et al. 2020, arXiv:2006.11988; github.com/ieee8023/covid-chestxray-dataset. Radiographs from the front; a caption is the clinical note, a label
the last part of the finding (`Pneumonia/Viral/COVID-19`); the licence is each image's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from radisim_cl.ingest import _captions
from radisim_cl.ingest._flat import ENDINGS as ENDINGS
from radisim_cl.ingest._flat import pictures as pictures
from radisim_cl.ingest._protocol import TRAIN, About, Record, Settings
from radisim_cl.ingest._tables import Files, rows, the

ABOUT = About("COVID-19 image data collection", "https://github.com/ieee8023/covid-chestxray-dataset", splits=TRAIN)
VIEWS = ("PA", "AP", "AP Supine", "AP Erect")
FINDINGS = {"No Finding": "normal", "todo": "", "Unknown": ""}


def records(files: Iterable[Path], folder: Path, settings: Settings) -> Iterator[Record]:
    """One a row of the table.

    Raises:
        InputError: no table, or one without its columns.
    """
    images, home = Files(files, folder), the(folder, "metadata.csv")
    for row in rows(home, ("patientid", "finding", "view", "modality", "folder", "filename", "license", "clinical_notes")):
        image = images.under(home.parent, f"{row['folder']}/{row['filename']}")
        wanted = row["modality"] == "X-ray" and row["view"] in VIEWS
        finding = FINDINGS.get(row["finding"], row["finding"].rpartition("/")[2])
        facts = {"modality": "DR", "anatomy": "chest", "labels": finding, "caption": _captions.plain(row["clinical_notes"]),
                 "licence": row["license"]}
        yield Record(f"{row['folder']}/{row['filename']}", f"covid-chestxray {row['patientid']}", (image,) if image else (), facts,
                     unusable="" if image else "an image that is not there", unwanted="" if wanted else "no radiograph from the front")
