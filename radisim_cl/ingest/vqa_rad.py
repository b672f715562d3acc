"""VQA-RAD: clinicians' questions and answers about images of MedPix: `VQA_RAD Dataset Public.json` beside a folder of JPEGs; or `qa.csv` with its
columns.

Lau et al. 2018, Scientific Data 5:180251; osf.io/89kps. An image's caption is its questions with their answers. The set's own split is by question,
so images have none. By its paper, heads are CT or MR, chests are radiographs, and abdomens are CT.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from radisim_cl.errors import InputError
from radisim_cl.ingest import _captions
from radisim_cl.ingest._flat import ENDINGS as ENDINGS
from radisim_cl.ingest._flat import pictures as pictures
from radisim_cl.ingest._protocol import TRAIN, About, Record, Settings
from radisim_cl.ingest._tables import Files, objects, rows, text, the

ABOUT = About("VQA-RAD", "https://osf.io/89kps", "CC0 1.0", splits=TRAIN)
ORGANS = {"HEAD": ("head", ""), "CHEST": ("chest", "DR"), "ABD": ("abdomen", "CT")}
"""Region, and modality where there is only one."""


def records(files: Iterable[Path], folder: Path, settings: Settings) -> Iterator[Record]:
    """One an image.

    Raises:
        InputError: no table, or a row without an image or of an organ that is none.
    """
    table = the(folder, "VQA_RAD Dataset Public.json", "VQA_RAD_Dataset_Public.json", "qa.csv")
    asked = objects(table) if table.suffix == ".json" else rows(table, ("image", "image_organ", "question", "answer"))
    images, said = Files(files, folder), dict[str, list[str]]()
    organs: dict[str, str] = {}
    for i, row in enumerate(asked):
        name, organ = text(row, "image_name", "image"), text(row, "image_organ").upper()
        if not name or organ not in ORGANS:
            raise InputError(f"{table}: question {i + 1}: image_name must name a file and image_organ be one of {', '.join(ORGANS)}, not {organ!r}")
        question, answer = text(row, "question"), text(row, "answer")
        if question and answer:
            said.setdefault(name, []).append(f"{question.rstrip(' ?.')}? {answer.rstrip('.')}.")
        organs[name] = organ
    for name, organ in organs.items():
        caption, image = " ".join(dict.fromkeys(said.get(name, ()))), images.named(name)
        region, modality = ORGANS[organ]
        facts = {"caption": caption, "anatomy": region, "modality": modality or _captions.told("kind", caption)}
        yield Record(name, name, (image,) if image else (), facts, unusable="" if image else "an image that is not there")
