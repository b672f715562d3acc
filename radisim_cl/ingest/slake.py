"""SLAKE: questions and answers in English and Chinese: `train.json`, `validate.json` and `test.json` beside `imgs/xmlab1/source.jpg`.

Liu et al. 2021, arXiv:2102.09542; med-vqa.com/slake. An image's caption is its English questions with their answers; the split is the set's own, by
image. Its masks are coloured drawings and are not read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from radisim_cl.errors import InputError
from radisim_cl.ingest._flat import ENDINGS as ENDINGS
from radisim_cl.ingest._flat import pictures as pictures
from radisim_cl.ingest._protocol import TRAIN, About, Record, Settings
from radisim_cl.ingest._tables import Files, objects, text, the

ABOUT = About("SLAKE", "https://www.med-vqa.com/slake/", "CC BY 4.0", splits=TRAIN)
MODALITIES = {"CT": "CT", "MRI": "MR", "X-Ray": "DR"}
REGIONS = {"Brain": "head", "Brain_Tissue": "head", "Brain_Face": "head", "Lung": "chest", "Chest_lung": "chest", "Chest_heart": "chest",
           "Chest_mediastinal": "chest", "Abdomen": "abdomen", "Pelvic Cavity": "pelvis", "Neck": "neck"}


def records(files: Iterable[Path], folder: Path, settings: Settings) -> Iterator[Record]:
    """One an image.

    Raises:
        InputError: no table, or a row of a modality that is none.
    """
    images, home = Files(files, folder), the(folder, "train.json", "validate.json", "test.json").parent
    for name, split in {"train": "train", "validate": "val", "test": "test"}.items():
        said, facts = dict[str, list[str]](), dict[str, dict[str, str]]()
        for i, row in enumerate(objects(home / f"{name}.json") if (home / f"{name}.json").is_file() else []):
            shown, modality = text(row, "img_name"), text(row, "modality")
            if not shown or modality not in MODALITIES:
                raise InputError(f"{home / name}.json[{i}]: img_name must name a file and modality be one of {', '.join(MODALITIES)}, "
                                 f"not {modality!r}")
            place = text(row, "location")
            facts[shown] = {"modality": MODALITIES[modality], "anatomy": REGIONS.get(place, place.lower()), "split": split}
            if text(row, "q_lang") == "en" and text(row, "answer"):
                said.setdefault(shown, []).append(f"{text(row, 'question').rstrip(' ?.')}? {text(row, 'answer').rstrip('.')}.")
        for shown, known in facts.items():
            image = images.under(home, f"imgs/{shown}")
            yield Record(shown, shown, (image,) if image else (), {**known, "caption": " ".join(dict.fromkeys(said.get(shown, ())))},
                         unusable="" if image else "an image that is not there")
