"""HVSMR-2.0: hearts with congenital disease: `cropped_norm/pat0_cropped_norm.nii.gz` and `pat0_cropped_seg.nii.gz`.

Pace et al. 2024, Scientific Data 11:721; doi.org/10.6084/m9.figshare.25226363. A slice is labelled with what its mask shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from radisim_cl.ingest import nifti
from radisim_cl.ingest._protocol import About, Record, Settings
from radisim_cl.ingest._tables import Files
from radisim_cl.ingest.nifti import ENDINGS as ENDINGS

ABOUT = About("HVSMR-2.0", "https://doi.org/10.6084/m9.figshare.25226363", "CC BY 4.0", structures=dict(enumerate((
    "left ventricle", "right ventricle", "left atrium", "right atrium", "aorta", "pulmonary artery", "superior vena cava", "inferior vena cava"), 1)))
pictures = nifti.masked(ABOUT.structures)
SCAN, MASK = "_cropped_norm.nii.gz", "_cropped_seg.nii.gz"


def records(files: Iterable[Path], folder: Path, settings: Settings) -> Iterator[Record]:
    """One a patient."""
    found = Files(files, folder)
    for path, file in found.by_path.items():
        if file.name.endswith(SCAN):
            patient = file.name.removesuffix(SCAN)
            mask = found.under(file.parent, patient + MASK)
            yield Record(path, f"hvsmr {patient}", (file,), {"modality": "MR", "anatomy": "heart"}, (mask,) if mask else (),
                         unusable="" if mask else "a scan without its labels")
