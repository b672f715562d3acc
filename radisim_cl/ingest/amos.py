"""AMOS: `amos22/imagesTr/amos_0001.nii.gz` and `labelsTr/amos_0001.nii.gz`; `Va` likewise, and `imagesTs`, whose labels are not public.

Ji et al. 2022, arXiv:2206.08023; zenodo.org/records/7262581. Numbers to 500 are CT, from 501 on MR.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from radisim_cl.ingest import nifti
from radisim_cl.ingest._protocol import HELD, About, Record, Settings
from radisim_cl.ingest._tables import Files
from radisim_cl.ingest.nifti import ENDINGS as ENDINGS

STRUCTURES = {1: "spleen", 2: "right kidney", 3: "left kidney", 4: "gallbladder", 5: "oesophagus", 6: "liver", 7: "stomach", 8: "aorta",
              9: "vena cava", 10: "pancreas", 11: "right adrenal gland", 12: "left adrenal gland", 13: "duodenum", 14: "bladder",
              15: "prostate or uterus"}
ABOUT = About("AMOS", "https://zenodo.org/records/7262581", "CC BY 4.0", structures=STRUCTURES, splits=HELD)
pictures = nifti.masked(STRUCTURES)
SPLITS = {"imagesTr": "train", "imagesVa": "val", "imagesTs": "test"}
_LAST_CT = 500


def records(files: Iterable[Path], folder: Path, settings: Settings) -> Iterator[Record]:
    """One a scan."""
    found = Files(files, folder)
    for file in (f for f in found.by_path.values() if f.parent.name in SPLITS):
        path, number = file.relative_to(folder), re.search(r"(\d+)\.nii", file.name)
        mask = found.by_path.get((path.parent.parent / path.parent.name.replace("images", "labels") / path.name).as_posix())
        modality = "MR" if number and int(number[1]) > _LAST_CT else "CT"
        yield Record(path.as_posix(), f"amos {path.name}", (file,), {"modality": modality, "anatomy": "abdomen", "split": SPLITS[file.parent.name]},
                     (mask,) if mask else (), unusable="" if number else "a scan without a number", unwanted="" if mask else "a scan without labels")
