"""MedMNIST: `pneumoniamnist.npz`, or `pneumoniamnist_224.npz`, with `train_images`, `train_labels` and so on for `val` and `test`.

Yang et al. 2023, Scientific Data 10:41; medmnist.com. Its radiological sets are read: PneumoniaMNIST, ChestMNIST and the three of organs. Patients
are not told: each picture is one of its own.
"""

from __future__ import annotations

import functools
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from radisim_cl.errors import InputError
from radisim_cl.ingest import _flat
from radisim_cl.ingest._protocol import OFFICIAL, About, Picture, Record, Settings

ABOUT = About("MedMNIST", "https://medmnist.com", "CC BY 4.0", splits=OFFICIAL)
ENDINGS = (".npz",)
_ORGANS = ("bladder", "left femur", "right femur", "heart", "left kidney", "right kidney", "liver", "left lung", "right lung", "pancreas", "spleen")
_CHEST = ("atelectasis", "cardiomegaly", "effusion", "infiltration", "mass", "nodule", "pneumonia", "pneumothorax", "consolidation", "edema",
          "emphysema", "fibrosis", "pleural thickening", "hernia")
SETS: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {
    "pneumoniamnist": ({"modality": "DR", "anatomy": "chest"}, ("normal", "pneumonia")),
    "chestmnist": ({"modality": "DR", "anatomy": "chest"}, _CHEST),
    **{f"organ{letter}mnist": ({"modality": "CT", "anatomy": "abdomen", "plane": plane}, _ORGANS)
       for letter, plane in (("a", "axial"), ("c", "coronal"), ("s", "sagittal"))},
}
"""By the file's name: what is known of all its pictures, and the names of its labels."""


def records(files: Iterable[Path], folder: Path, settings: Settings) -> Iterator[Record]:
    """One a picture.

    Raises:
        InputError: a set that is not of radiology, or a file that is not of this form.
    """
    for file in files:
        name = file.stem.partition("_")[0].lower()
        if name not in SETS:
            raise InputError(f"{file}: of MedMNIST, {', '.join(SETS)} are read; move other files away")
        facts, names = SETS[name]
        _declared(file, settings)
        for split in ("train", "val", "test"):
            for k, row in enumerate(_array(file, f"{split}_labels")):
                key = f"{name}/{split}/{k}"
                yield Record(key, key, (file,), {**facts, "split": split, "labels": _named(row, names, file)}, at=(k,))


def _named(row: npt.NDArray[Any], names: Sequence[str], file: Path) -> str:
    found = np.atleast_1d(row).ravel().tolist()
    if len(found) == 1 and found[0] in range(len(names)):
        return names[int(found[0])]
    if names is _CHEST and len(found) == len(names) and set(found) <= {0, 1}:  # the only one with several labels
        return "|".join(name for name, there in zip(names, found, strict=True) if there) or "normal"
    raise InputError(f"{file}: a label {found[:20]} that is none of {', '.join(names)}")


def _declared(file: Path, settings: Settings) -> None:
    try:
        with zipfile.ZipFile(file) as packed:
            largest = max((m.file_size for m in packed.infolist()), default=0)
    except Exception as e:  # zipfile raises what it likes at bytes that it did not expect
        raise InputError(f"{file}: no file of arrays: {e}") from None
    if largest > settings.gigabytes * 2**30:
        raise InputError(f"{file}: declares an array of more than {settings.gigabytes:g} GiB")


@functools.lru_cache(maxsize=1)
def _array(file: Path, name: str) -> npt.NDArray[Any]:
    try:
        with np.load(file, allow_pickle=False) as packed:
            found: npt.NDArray[Any] = np.asarray(packed[name])  # a member that is no array comes as bytes
    except Exception as e:  # numpy, zip and zlib raise what they like at bytes that they did not expect
        raise InputError(f"{file}: no array {name!r} that can be read") from e
    if found.ndim < 1 or (name.endswith("images") and (found.dtype != np.uint8 or found.ndim not in (3, 4))):
        raise InputError(f"{file}: array {name!r} is of another form than MedMNIST's: {found.dtype}, {found.ndim} dimensions")
    return found


def pictures(record: Record, settings: Settings) -> Iterator[Picture]:
    """The picture, in the size that it has.

    Raises:
        InputError: images that are not 8-bit, or fewer than labels.
    """
    images = _array(record.files[0], f"{record.facts['split']}_images")
    if record.at[0] >= len(images):
        raise InputError(f"{record.files[0]}: has {len(images)} images and more labels in its {record.facts['split']} split")
    yield _flat.picture(images[record.at[0]], settings, record.facts.get("plane", ""))
