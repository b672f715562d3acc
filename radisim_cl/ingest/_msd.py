"""A task of the Medical Segmentation Decathlon: `imagesTr/x_001.nii.gz` and `labelsTr/x_001.nii.gz`; `imagesTs` has no labels and is not read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from radisim_cl.ingest._protocol import Record
from radisim_cl.ingest._tables import Files

LICENCE = "CC BY-SA 4.0"


def records(files: Iterable[Path], folder: Path, facts: Mapping[str, str]) -> Iterator[Record]:
    """One a scan of the training set; a patient has one.

    Args:
        files: of the task.
        folder: that they are in.
        facts: of all scans.
    """
    found = Files(files, folder)
    for path, file in found.by_path.items():
        if file.parent.name == "imagesTr":
            mask = found.under(file.parent.parent, f"labelsTr/{file.name}")
            yield Record(path, file.name.partition(".")[0], (file,), facts, (mask,) if mask else (),
                         unusable="" if mask else "a scan without its labels")
