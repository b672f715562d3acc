"""CT Lymph Nodes (TCIA): DICOM series by patient (`ABD_LYMPH_001`, `MED_LYMPH_001`), and `MED_ABD_LYMPH_MASKS/<patient>/<patient>_mask.nii.gz`.

Roth et al. 2014, MICCAI; doi:10.7937/K9/TCIA.2015.AQIIDCNM. Every patient has an enlarged node: half of the slices that are taken show one, half
none. Masks number the nodes; their axes are stored towards the left, the back and the head, those of the series (github.com/constantinpape/torch-em).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from radisim_cl.ingest import dicom, nifti
from radisim_cl.ingest._protocol import HELD, About, Picture, Record, Settings, UnusableError, spread
from radisim_cl.ingest._tables import Files

ABOUT = About("CT Lymph Nodes", "https://doi.org/10.7937/K9/TCIA.2015.AQIIDCNM", "CC BY 3.0", structures={1: "enlarged lymph nodes"}, splits=HELD,
              values={"labels": {"no enlarged lymph node": "normal"}})
ENDINGS = ("", ".dcm", ".nii.gz")
REGIONS = {"ABD": "abdomen", "MED": "chest"}


def records(files: Iterable[Path], folder: Path, settings: Settings) -> Iterator[Record]:
    """One a series."""
    found = Files(files, folder)
    for record in dicom.records([f for f in found.by_path.values() if not f.name.endswith(".nii.gz")], folder, settings):
        mask = found.named(f"{record.patient}_mask.nii.gz")
        yield replace(record, facts={"modality": "CT", "anatomy": REGIONS.get(record.patient[:3], "")}, masks=(mask,) if mask else (),
                      unusable="" if mask else "a series without a mask of its nodes")


def pictures(record: Record, settings: Settings) -> Iterator[Picture]:
    """Slices with and without a node.

    Raises:
        UnusableError: as of DICOM and NIfTI, or a mask that is not of its series.
    """
    nodes = nifti.read(record.masks[0], settings).values > 0
    if nodes.shape[2] != len(record.files):
        raise UnusableError("a mask that does not lie on its image")
    shows = np.array([nodes[:, :, k].any() for k in range(nodes.shape[2])])
    some, none = np.flatnonzero(shows), np.flatnonzero(~shows)
    at = sorted([*some[spread(len(some), -(-settings.slices // 2))].tolist(), *none[spread(len(none), settings.slices // 2)].tolist()])
    for picture in dicom.pictures(replace(record, masks=()), settings, at):
        node = Image.fromarray(nifti.looked_at(nodes, picture.at, 2).astype(np.uint8))
        mask = np.asarray(node.resize(picture.pixels.shape[::-1], Image.Resampling.NEAREST))
        label = "enlarged lymph nodes" if shows[picture.at] else "no enlarged lymph node"
        yield replace(picture, mask=mask, facts={**picture.facts, "labels": label})
