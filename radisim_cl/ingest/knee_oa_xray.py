"""Knee Osteoarthritis Severity Grading: `train/0/9003175L.png`, a folder a Kellgren-Lawrence grade in `train`, `val` and `test`.

Chen 2018, Mendeley Data 56rmx5bjcr (of the Osteoarthritis Initiative). A patient has two knees; the `auto_test` folder repeats pictures and is not
read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from radisim_cl.ingest import folders
from radisim_cl.ingest._flat import ENDINGS as ENDINGS
from radisim_cl.ingest._flat import pictures as pictures
from radisim_cl.ingest._protocol import About, Record, Settings

ABOUT = About("Knee Osteoarthritis Severity Grading", "https://data.mendeley.com/datasets/56rmx5bjcr/1", "CC BY 4.0")
GRADES = {str(k): f"KL grade {k} ({words})" for k, words in enumerate(("no osteoarthritis", "doubtful", "minimal", "moderate", "severe"))}


def records(files: Iterable[Path], folder: Path, settings: Settings) -> Iterator[Record]:
    """One a knee."""
    for record in folders.records(files, folder, settings):
        name = re.fullmatch(r"(\d+)[LR].*", record.files[0].stem)
        grade = GRADES.get(record.facts["labels"], "")
        facts = {**record.facts, "labels": grade, "modality": "DR", "anatomy": "knee"}
        yield replace(record, patient=name[1] if name else record.patient, facts=facts,
                      unusable="" if grade and name else "a folder that is no grade, or a file that names no patient",
                      unwanted="" if record.facts["split"] else "in no folder of a split")
