"""SPIDER, lumbar spines: `images/1_t2.mha` and `masks/1_t2.mha`. Needs SimpleITK.

van der Graaf et al. 2024, Scientific Data 11:264; zenodo.org/records/10159290. Sagittal slices of T1 and T2; series with isotropic voxels
(`_t2_SPACE`) are not read. Masks number vertebrae from 1 (whole) and 101 (in part), discs from 201, and the canal 100.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from radisim_cl.ingest import nifti
from radisim_cl.ingest._protocol import About, Picture, Record, Settings
from radisim_cl.ingest._tables import Files

ABOUT = About("SPIDER", "https://zenodo.org/records/10159290", "CC BY 4.0",
              structures={1: "lumbar vertebrae", 2: "spinal canal", 3: "intervertebral discs"})
ENDINGS = (".mha",)
STRUCTURES = np.zeros(256, dtype=np.uint8)
"""By the set's number, ours."""
STRUCTURES[1:100], STRUCTURES[100], STRUCTURES[101:201], STRUCTURES[201:] = 1, 2, 1, 3
SERIES = {"t1": "T1-weighted", "t2": "T2-weighted"}


def records(files: Iterable[Path], folder: Path, settings: Settings) -> Iterator[Record]:
    """One a series."""
    found = Files(files, folder)
    for path, file in found.by_path.items():
        patient, _, series = file.stem.partition("_")
        if file.parent.name != "images":
            continue
        mask = found.under(file.parent.parent, f"masks/{file.name}")
        facts = {"modality": "MR", "anatomy": "lumbar spine", "labels": "lumbar vertebrae",
                 "caption": f"Sagittal {SERIES.get(series, '')} MR of the lumbar spine."}
        yield Record(path, f"spider {patient}", (file,), facts, (mask,) if mask else (), study=f"spider {patient}",
                     unusable="" if mask else "a scan without its labels", unwanted="" if series in SERIES else "a series of isotropic voxels")


def pictures(record: Record, settings: Settings) -> Iterator[Picture]:
    """Sagittal slices with their masks; errors as of NIfTI."""
    for picture in nifti.pictures(record, replace(settings, plane="sagittal")):
        yield replace(picture, mask=None if picture.mask is None else STRUCTURES[picture.mask])
