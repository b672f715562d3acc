"""MedIMeta's organ slices of LiTS: `organs_axial/`, `organs_coronal/` and `organs_sagittal/`, each with `annotations.csv`, `info.yaml` and
`images/*.tiff`.

Woerner et al. 2024; zenodo.org/records/7884735, github.com/StefanoWoerner/medimeta-pytorch. `annotations.csv` has `filepath`, `tasks/organ label` and
the split; `info.yaml` names the labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from radisim_cl.errors import InputError
from radisim_cl.ingest._flat import ENDINGS as ENDINGS
from radisim_cl.ingest._flat import pictures as pictures
from radisim_cl.ingest._protocol import OFFICIAL, PLANES, About, Record, Settings
from radisim_cl.ingest._tables import Files, rows, text

ABOUT = About("LiTS organ slices of MedIMeta", "https://zenodo.org/records/7884735", "that of its info.yaml", splits=OFFICIAL,
              values={"labels": {"left femoral head": "left femur", "right femoral head": "right femur"}})
TASK = "tasks/organ label"
_MOST = 2**14
"""Bytes of an `info.yaml`, whose own is of two thousand; the parser takes the square of what is nested."""


def records(files: Iterable[Path], folder: Path, settings: Settings) -> Iterator[Record]:
    """One a slice. The three planes are of the same patients.

    Raises:
        InputError: no such folder, or a label that `info.yaml` does not name.
    """
    images, homes = Files(files, folder), sorted(p for p in (folder, *folder.rglob("organs_*")) if (p / "annotations.csv").is_file())
    if not homes:
        raise InputError(f"{folder}: no folder organs_axial, organs_coronal or organs_sagittal with annotations.csv")
    for home in homes:
        plane = next((p for p in PLANES if home.name.endswith(p)), "")
        (names, licence), split = _info(home / "info.yaml"), _splits(home)
        for line, row in enumerate(rows(home / "annotations.csv", ("filepath", TASK)), 2):
            if row[TASK] not in names:
                raise InputError(f"{home / 'annotations.csv'}:{line}  {TASK}: {row[TASK]!r} is not among those of info.yaml: {', '.join(names)}")
            image = images.under(home, row["filepath"])
            patient = row.get("patient_id") or row.get("original_filepath") or row["filepath"]
            facts = {"modality": "CT", "anatomy": "abdomen", "plane": plane, "labels": names[row[TASK]], "licence": licence,
                     "split": split.get(row["filepath"]) or row.get("original_split", "")}
            yield Record(f"{home.name}/{row['filepath']}", f"lits {patient}", (image,) if image else (), facts,
                         unusable="" if image else "an image that is not there")


def _info(file: Path) -> tuple[dict[str, str], str]:
    """The names of the labels by their numbers, and the licence."""
    try:
        if file.stat().st_size > _MOST:
            raise ValueError
        found: Any = yaml.safe_load(file.read_text())
        return {text({"name": k}, "name"): text({"name": v}, "name") for k, v in found["tasks"][0]["labels"].items()}, text(found, "license")
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        raise InputError(f"{file}: must have the names of labels under tasks[0].labels") from None


def _splits(home: Path) -> dict[str, str]:
    """By file, the split that MedIMeta made; empty where it is not distributed."""
    found: dict[str, str] = {}
    for split in ("train", "val", "test"):
        if (home / "splits" / f"{split}.txt").is_file():
            found |= dict.fromkeys((home / "splits" / f"{split}.txt").read_text(errors="replace").split("\n"), split)
    return found
