"""CT-ICH: `ct_scans/049.nii`, `masks/049.nii`, and `hemorrhage_diagnosis_raw_ct.csv` with a row a slice.

Hssayeni et al. 2020, Data 5(1):14; physionet.org/content/ct-ich/1.3.1. Slices are numbered from 1 in the order in which they are stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from radisim_cl.errors import InputError
from radisim_cl.ingest import nifti
from radisim_cl.ingest._protocol import HELD, About, Picture, Record, Settings
from radisim_cl.ingest._tables import Files, rows, the
from radisim_cl.ingest.nifti import ENDINGS as ENDINGS

ABOUT = About("CT-ICH", "https://physionet.org/content/ct-ich/1.3.1/", "PhysioNet Restricted Health Data License 1.5.0",
              "PhysioNet Restricted Health Data Use Agreement 1.5.0", {1: "intracranial haemorrhage"}, HELD, {"labels": {"skull fracture": "normal"}})
COLUMNS = ("PatientNumber", "SliceNumber", "No_Hemorrhage", "Fracture_Yes_No")


def records(files: Iterable[Path], folder: Path, settings: Settings) -> Iterator[Record]:
    """One a scan.

    Raises:
        InputError: no table, or a row whose numbers are none.
    """
    found, table, slices = Files(files, folder), the(folder, "hemorrhage_diagnosis_raw_ct.csv"), dict[int, dict[int, str]]()
    for line, row in enumerate(rows(table, COLUMNS), 2):
        try:
            patient, number, none, fracture = (int(float(row[c] or 0)) for c in COLUMNS)
        except (ValueError, OverflowError):
            raise InputError(f"{table}:{line}  {', '.join(COLUMNS)}: must be numbers") from None
        slices.setdefault(patient, {})[number] = "intracranial haemorrhage" if not none else "skull fracture" if fracture else "normal"
    for patient, labels in slices.items():
        scan, mask = (found.under(table.parent, f"{kind}/{patient:03d}.nii") for kind in ("ct_scans", "masks"))
        yield Record(f"{patient:03d}", f"ct-ich {patient:03d}", (scan,) if scan else (), {"modality": "CT", "anatomy": "head"},
                     (mask,) if mask else (), slices=tuple(labels[k] for k in sorted(labels)), unusable="" if scan else "an image that is not there")


def pictures(record: Record, settings: Settings) -> Iterator[Picture]:
    """Axial slices, each with its own label; errors as of NIfTI."""
    for picture in nifti.pictures(record, replace(settings, plane="axial")):
        yield picture if picture.mask is None else replace(picture, mask=(picture.mask > 0).astype(np.uint8))
