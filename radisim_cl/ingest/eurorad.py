"""Eurorad: teaching cases, exported as JSON: one file a case, or lists of them, beside the images.

eurorad.org offers no export of its own; the fields are those of a case page, so named:

    {"case_id": 18806, "title": ..., "section": ..., "final_diagnosis": ...,
     "figures": [{"number": 1, "caption": ..., "subfigures": [{"label": "a", "caption": ..., "file": "18806_1_a.jpg"}]}]}

A subfigure without a caption of its own has what its figure's says of its letter. The diagnosis is the case's, so a caption's level is that of its
words alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from radisim_cl.errors import InputError
from radisim_cl.ingest import _captions
from radisim_cl.ingest._flat import ENDINGS as ENDINGS
from radisim_cl.ingest._levels import level
from radisim_cl.ingest._protocol import TRAIN, About, Record, Settings
from radisim_cl.ingest._tables import Files, objects, text
from radisim_cl.ingest.pmc_oa import pictures as pictures

ABOUT = About("Eurorad", "https://www.eurorad.org", "CC BY-NC-SA 4.0", splits=TRAIN)


def records(files: Iterable[Path], folder: Path, settings: Settings) -> Iterator[Record]:
    """One a subfigure; the patient is the case.

    Raises:
        InputError: no JSON, or a case without a number or list of figures.
    """
    images, tables = Files(files, folder), sorted(folder.rglob("*.json"))
    if not tables:
        raise InputError(f"{folder}: no file that ends in .json; give the folder that holds the cases")
    for table in tables:
        for i, case in enumerate(objects(table, "cases")):
            where, number = f"{table}[{i}]", text(case, "case_id", "id")
            if not number:
                raise InputError(f"{where}  case_id: must be the number of the case")
            for j, figure in enumerate(_listed(case, "figures", where)):
                panels = _captions.panels(text(figure, "caption"))
                for k, shown in enumerate(_listed(figure, "subfigures", f"{where}.figures[{j}]")):
                    yield _record(f"{number}/{j}/{k}", number, case, figure, shown, panels, images)


def _record(key: str, number: str, case: dict[str, Any], figure: dict[str, Any], shown: dict[str, Any], panels: dict[str, str],
            images: Files) -> Record:
    letter, name = text(shown, "label").lower(), text(shown, "file", "filename")
    caption = text(shown, "caption") or panels.get(letter) or ("" if panels else text(figure, "caption"))
    kind, unwanted = _captions.modality(caption)
    if _captions.panels(caption):
        unwanted = "a figure of several panels, by its caption"
    image = images.named(name.rpartition("/")[2]) if name else None
    region = _captions.told("region", caption) or _captions.told("region", f"{text(case, 'section')} {text(case, 'title')}")
    facts = {"caption": caption, "modality": kind, "anatomy": region, "plane": _captions.told("plane", caption),
             "level": level(caption), "labels": text(case, "final_diagnosis").replace("|", "/").replace("@", " ")}
    return Record(key, f"eurorad {number}", (image,) if image else (), facts, study=f"eurorad {number}",
                  unusable="no caption" if not caption else "" if image else "an image that is not there", unwanted=unwanted if caption else "")


def _listed(found: dict[str, Any], key: str, where: str) -> list[dict[str, Any]]:
    value = found.get(key)
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise InputError(f"{where}  {key}: must be a list of objects")
    return value
