"""TotalSegmentator CT: `s0000/ct.nii.gz`, `s0000/segmentations/liver.nii.gz` and a hundred others, and `meta.csv`, whose cells semicolons part.

Wasserthal et al. 2023, Radiology: Artificial Intelligence 5(5); zenodo.org/records/10047292. Of its structures, those that the benchmark's vocabulary
has are read, some put together (lungs of five lobes, bones). A slice's region is that whose organs cover most of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from radisim_cl.ingest import nifti
from radisim_cl.ingest._protocol import OFFICIAL, About, Picture, Record, Settings
from radisim_cl.ingest._tables import Files, rows, the
from radisim_cl.ingest.nifti import ENDINGS as ENDINGS

FILES = {"liver": "liver", "spleen": "spleen", "left kidney": "kidney_left", "right kidney": "kidney_right", "stomach": "stomach",
         "pancreas": "pancreas", "aorta": "aorta", "vena cava": "inferior_vena_cava", "bladder": "urinary_bladder", "lungs": "lung_.*",
         "heart": "heart.*", "gallbladder": "gallbladder", "brain": "brain",
         "bones": "skull|sternum|(vertebrae_|rib_|clavicula_|scapula_|humerus_).*", "bones of the pelvis": "sacrum|(hip|femur)_.*"}
"""By structure, the files of which it is made, the later over the earlier."""
STRUCTURES = dict(enumerate(FILES, 1))
REGIONS = {"head": ("brain",), "chest": ("lungs", "heart"), "pelvis": ("bladder", "bones of the pelvis"),
           "abdomen": ("liver", "spleen", "left kidney", "right kidney", "stomach", "pancreas", "gallbladder")}
ABOUT = About("TotalSegmentator CT", "https://zenodo.org/records/10047292", "CC BY 4.0", structures=STRUCTURES, splits=OFFICIAL)


def records(files: Iterable[Path], folder: Path, settings: Settings) -> Iterator[Record]:
    """One a scan.

    Raises:
        InputError: no `meta.csv`, or one without `image_id` and `split`.
    """
    found, table = Files(files, folder), the(folder, "meta.csv")
    inside: dict[str, list[Path]] = {}
    for path, file in found.by_path.items():
        if file.parent.name == "segmentations":
            inside.setdefault(path.split("/")[-3], []).append(file)
    for row in rows(table, ("image_id", "split"), ";"):
        name = row["image_id"]
        scan = found.under(table.parent, f"{name}/ct.nii.gz")
        yield Record(name, f"totalsegmentator {name}", (scan,) if scan else (), {"modality": "CT", "split": row["split"]},
                     tuple(inside.get(name, ())), unusable="" if scan else "an image that is not there")


def pictures(record: Record, settings: Settings) -> Iterator[Picture]:
    """Slices with their masks and regions; errors as of NIfTI."""
    volume = nifti.read(record.files[0], settings)
    labels = np.zeros(volume.values.shape, dtype=np.uint8)
    for value, structure in STRUCTURES.items():
        for file in record.masks:
            if re.fullmatch(FILES[structure], file.name.partition(".")[0]):
                labels[nifti.labels(file, volume, settings) > 0] = value
    for picture in nifti.named(nifti.cut(volume, record, settings, labels), STRUCTURES):
        assert picture.mask is not None
        covered = dict(zip(STRUCTURES.values(), np.bincount(picture.mask.ravel(), minlength=len(STRUCTURES) + 1)[1:].tolist(), strict=True))
        areas = {region: sum(covered[s] for s in some) for region, some in REGIONS.items()}
        region = max(areas, key=areas.__getitem__)
        yield replace(picture, facts={**picture.facts, "anatomy": region if areas[region] else ""})
