"""CT-ORG: `volume-0.nii.gz` and `labels-0.nii.gz`, ..., in one folder.

Rister et al. 2020, Scientific Data 7:381; doi:10.7937/tcia.2019.tt7f4v7o. Numbers 0 to 20 are the test set. Its kidneys are one structure: they are
told apart here, by the side of the spine on which each voxel lies (the mean of the bones', or of the volume where there are none). Many scans are
those of LiTS.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from radisim_cl.ingest import nifti
from radisim_cl.ingest._protocol import TESTED, About, Picture, Record, Settings, UnusableError
from radisim_cl.ingest._tables import Files
from radisim_cl.ingest.nifti import ENDINGS as ENDINGS

STRUCTURES = {1: "liver", 2: "bladder", 3: "lungs", 4: "left kidney", 5: "bones", 6: "brain", 7: "right kidney"}
ABOUT = About("CT-ORG", "https://doi.org/10.7937/tcia.2019.tt7f4v7o", "CC BY 3.0 (not verified)", structures=STRUCTURES, splits=TESTED)
_KIDNEYS, _BONES, _RIGHT_KIDNEY = 4, 5, 7
_TEST = 21


def records(files: Iterable[Path], folder: Path, settings: Settings) -> Iterator[Record]:
    """One a scan."""
    found = Files(files, folder)
    for file in found.by_path.values():
        if number := re.fullmatch(r"volume-(\d+)\.nii(\.gz)?", file.name):
            mask = found.named(file.name.replace("volume", "labels"))
            yield Record(file.name, f"ct-org {number[1]}", (file,), {"modality": "CT", "split": "test" if int(number[1]) < _TEST else "train"},
                         (mask,) if mask else (), unusable="" if mask else "a scan without labels")


def pictures(record: Record, settings: Settings) -> Iterator[Picture]:
    """Slices with their masks.

    Raises:
        UnusableError: as of NIfTI, or a label that is none of the set's.
    """
    volume = nifti.read(record.files[0], settings)
    labels = nifti.labels(record.masks[0], volume, settings)
    if labels.max() > max(STRUCTURES) - 1:
        raise UnusableError("a mask with a value that is none of the set's structures")
    bones = np.nonzero(labels == _BONES)[0]
    middle = bones.mean() if len(bones) else (labels.shape[0] - 1) / 2
    right = np.arange(labels.shape[0])[:, None, None] > middle  # the first axis rises to the patient's right
    labels[(labels == _KIDNEYS) & right] = _RIGHT_KIDNEY
    yield from nifti.named(nifti.cut(volume, record, settings, labels), STRUCTURES)
