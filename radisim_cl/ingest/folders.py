"""A folder a class, in a folder a split where there are splits: `train/pneumonia/0001.png`, as torchvision's ImageFolder has it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from radisim_cl.ingest._flat import ENDINGS as ENDINGS
from radisim_cl.ingest._flat import pictures as pictures
from radisim_cl.ingest._protocol import About, Record, Settings

ABOUT = About()
SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test", "testing": "test"}
"""By the folder's name in lower case."""


def records(files: Iterable[Path], folder: Path, settings: Settings) -> Iterator[Record]:
    """One a file: its label is its folder's name, with blanks for underscores; its split that of a folder above it."""
    for file in files:
        path = file.relative_to(folder)
        above = [p.lower() for p in path.parts[:-1]]
        split = next((SPLITS[p] for p in above if p in SPLITS), "")
        label = path.parts[-2].replace("_", " ") if above and above[-1] not in SPLITS else ""
        yield Record(path.as_posix(), path.as_posix(), (file,), {"labels": label, "split": split},
                     unusable="" if label else "an image that lies in no folder of a class")
