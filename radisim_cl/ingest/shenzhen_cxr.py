"""Shenzhen No. 3 Hospital's chest radiographs: `CXR_png/CHNCXR_0001_0.png`, where 0 is normal and 1 tuberculosis.

Jaeger et al. 2014, Quantitative Imaging in Medicine and Surgery 4(6); data.lhncbc.nlm.nih.gov. A patient has one picture.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from radisim_cl.ingest._flat import pictures as pictures
from radisim_cl.ingest._protocol import About, Record, Settings

ABOUT = About("Shenzhen chest X-ray set", "https://data.lhncbc.nlm.nih.gov/public/Tuberculosis-Chest-X-ray-Datasets/index.html",
              "public domain, as quoted; the U.S. National Library of Medicine asks for attribution")
ENDINGS = (".png",)
CLASSES = {"0": "normal", "1": "tuberculosis"}


def records(files: Iterable[Path], folder: Path, settings: Settings) -> Iterator[Record]:
    """One a picture of the set; masks of lungs, which others have added, have other names."""
    for file in files:
        name = re.fullmatch(r"(CHNCXR_\d+)_([01])", file.stem)
        if name:
            yield Record(file.stem, name[1], (file,), {"modality": "DR", "anatomy": "chest", "labels": CLASSES[name[2]]})
