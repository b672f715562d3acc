"""AVT, CT angiographies of the aortic vessel tree from three centres: `Dongyang/D1/D1.nrrd` and `D1.seg.nrrd`. Needs SimpleITK.

Radl et al. 2022, Data in Brief 40:107801; doi.org/10.6084/m9.figshare.14806362. A slice is labelled with what its mask shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from radisim_cl.ingest import nifti
from radisim_cl.ingest._protocol import About, Record, Settings
from radisim_cl.ingest._tables import Files

ABOUT = About("AVT", "https://doi.org/10.6084/m9.figshare.14806362", "CC BY 4.0", structures={1: "aorta"})
pictures = nifti.masked(ABOUT.structures)
ENDINGS = (".nrrd",)


def records(files: Iterable[Path], folder: Path, settings: Settings) -> Iterator[Record]:
    """One a scan; a patient has one."""
    found = Files(files, folder)
    for path, file in found.by_path.items():
        if not file.name.endswith(".seg.nrrd"):
            mask = found.under(file.parent, f"{file.stem}.seg.nrrd")
            yield Record(path, f"avt {path}", (file,), {"modality": "CT", "anatomy": "abdomen"}, (mask,) if mask else (),
                         unusable="" if mask else "a scan without its labels")
