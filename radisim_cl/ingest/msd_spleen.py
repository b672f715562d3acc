"""The Medical Segmentation Decathlon's `Task09_Spleen`: scans with labels.

Antonelli et al. 2022, Nature Communications 13:4128; medicaldecathlon.com. A slice is labelled with what its mask shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from radisim_cl.ingest import _msd, nifti
from radisim_cl.ingest._protocol import About, Record, Settings
from radisim_cl.ingest.nifti import ENDINGS as ENDINGS

ABOUT = About("Medical Segmentation Decathlon, task 9: spleen", "http://medicaldecathlon.com", _msd.LICENCE, structures={1: "spleen"})
pictures = nifti.masked(ABOUT.structures)


def records(files: Iterable[Path], folder: Path, settings: Settings) -> Iterator[Record]:
    """One a scan."""
    return _msd.records(files, folder, {"modality": "CT", "anatomy": "abdomen"})
