"""SLAKE: questions and answers in English and Chinese: `train.json`, `validate.json` and `test.json` beside `imgs/xmlab1/source.jpg`.

Liu et al. 2021, arXiv:2102.09542; med-vqa.com/slake. An image's caption is its English questions with their answers; the split is the set's own, by
image. `mask.png` lies beside an image, with the numbers of `mask.txt`, such as `70:Liver`, in its first channel; those of some radiographs have
shades instead and are left out. The layout of masks is known from public code that trains on them.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from radisim_cl.corpus.blobs import Blob
from radisim_cl.errors import InputError
from radisim_cl.ingest import _flat
from radisim_cl.ingest._flat import ENDINGS as ENDINGS
from radisim_cl.ingest._protocol import TRAIN, About, Picture, Record, Settings, UnusableError
from radisim_cl.ingest._tables import Files, objects, text, the

MODALITIES = {"CT": "CT", "MRI": "MR", "X-Ray": "DR"}
REGIONS = {"Brain": "head", "Brain_Tissue": "head", "Brain_Face": "head", "Lung": "chest", "Chest_lung": "chest", "Chest_heart": "chest",
           "Chest_mediastinal": "chest", "Abdomen": "abdomen", "Pelvic Cavity": "pelvis", "Neck": "neck"}
_MASK, _LEGEND = "mask.png", "mask.txt"


def records(files: Iterable[Path], folder: Path, settings: Settings) -> Iterator[Record]:
    """One an image.

    Raises:
        InputError: no table, or a row of a modality that is none.
    """
    images, home = Files(files, folder), _home(folder)
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
            image, mask = images.under(home, f"imgs/{shown}"), images.under(home, f"imgs/{Path(shown).parent}/{_MASK}")
            yield Record(shown, shown, (image,) if image else (), {**known, "caption": " ".join(dict.fromkeys(said.get(shown, ())))},
                         (mask,) if mask else (), unusable="" if image else "an image that is not there")


def pictures(record: Record, settings: Settings) -> Iterator[Picture]:
    """The image of a record, with its mask if that has structures; errors as of any picture."""
    values = _flat.decoded(Blob(record.files[0]), settings)
    yield _flat.picture(values, settings, mask=_mask(record.masks[0], values.shape) if record.masks else None)


def legend(folder: Path) -> dict[int, str]:
    """By pixel value of the masks, the structure; a name that stands at several values, at the first.

    Raises:
        InputError: masks and no `mask.txt`, or a line of it that is none.
    """
    home = _home(folder)
    table = home / _LEGEND
    if not table.is_file() and not any(home.glob(f"imgs/*/{_MASK}")):
        return {}
    return {value: name for value, name in _names(table).items() if _first(table)[value] == value}


ABOUT = About("SLAKE", "https://www.med-vqa.com/slake/", "CC BY 4.0", legend=legend, splits=TRAIN)


def _home(folder: Path) -> Path:
    return the(folder, "train.json", "validate.json", "test.json").parent


def _mask(file: Path, shape: tuple[int, ...]) -> npt.NDArray[np.uint8] | None:
    """(h, w) numbers of structures; None where no more than half of what is drawn has one."""
    values = _flat.label_map(file, shape, colours=True)
    table = next((home / _LEGEND for home in file.parents if (home / _LEGEND).is_file()), None)
    if table is None:  # a table can name any file for a mask
        raise UnusableError("a mask whose numbers are named nowhere")
    named = _first(table)[values]
    return named if 2 * np.count_nonzero(named) > np.count_nonzero(values) else None


@functools.cache
def _first(table: Path) -> npt.NDArray[np.uint8]:
    """(256,) By pixel value, the first that has the same name; 0 where it has none."""
    first, out = dict[str, int](), np.zeros(256, dtype=np.uint8)
    for value, name in _names(table).items():
        out[value] = first.setdefault(name, value)
    return out


@functools.cache
def _names(table: Path) -> dict[int, str]:
    if not table.is_file():
        raise InputError(f"{table}: not there, and the images have masks of which it says what they show; it is in the set's archive, and an empty "
                         "one goes without masks")
    found = dict[int, str]()
    for n, line in enumerate(table.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        value, _, name = (part.strip() for part in line.partition(":"))
        if line.strip() and not (value.isascii() and value.isdigit() and int(value) < 256 and name):
            raise InputError(f"{table}:{n}  {line!r}: not a pixel value and a structure, as in 70:Liver")
        if line.strip() and int(value):  # 0 is where nothing is
            found[int(value)] = name.lower()
    return found
