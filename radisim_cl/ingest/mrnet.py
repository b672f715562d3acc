"""MRNet: `train/axial/0000.npy` (and `coronal`, `sagittal`, `valid`), with `train-abnormal.csv`, `train-acl.csv` and `train-meniscus.csv`, which
have no header.

Bien et al. 2018, PLOS Medicine; stanfordmlgroup.github.io/competitions/mrnet. An array is (slices, 256, 256). A study is an examination, and its
slices those of all its planes (`--where plane=sagittal` takes one); labels are of the examination.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from radisim_cl.errors import InputError
from radisim_cl.ingest import _flat, _grey
from radisim_cl.ingest._protocol import HELD, PLANES, About, Picture, Record, Settings, UnusableError, spread
from radisim_cl.ingest._tables import Files, the

ABOUT = About("MRNet", "https://stanfordmlgroup.github.io/competitions/mrnet/", "research use only",
              "Stanford University MRNet Dataset Research Use Agreement", splits=HELD, values={"labels": {"other abnormality": "normal"}})
ENDINGS = (".npy",)


def records(files: Iterable[Path], folder: Path, settings: Settings) -> Iterator[Record]:
    """One a plane of an examination.

    Raises:
        InputError: a table is missing, or a line that is no number and label.
    """
    found, home = Files(files, folder), the(folder, "train-acl.csv", "valid-acl.csv").parent
    for name, split in (("train", "train"), ("valid", "val")):
        if not (home / f"{name}-acl.csv").is_file():
            continue
        abnormal, acl, meniscus = (_labels(the(home, f"{name}-{what}.csv")) for what in ("abnormal", "acl", "meniscus"))
        for exam in acl:
            tears = [label for label, of in (("ACL tear", acl), ("meniscal tear", meniscus)) if of.get(exam)]
            labels = "|".join(tears) or ("other abnormality" if abnormal.get(exam) else "normal")
            for plane in PLANES:
                file = found.under(home, f"{name}/{plane}/{exam}.npy")
                yield Record(f"{name}/{plane}/{exam}", f"mrnet {exam}", (file,) if file else (),
                             {"modality": "MR", "anatomy": "knee", "plane": plane, "labels": labels, "split": split}, study=f"mrnet {exam}",
                             unusable="" if file else "an image that is not there")


def _labels(table: Path) -> dict[str, bool]:
    out = {}
    for line, text in enumerate(table.read_text(errors="replace").splitlines(), 1):
        exam, _, label = text.strip().partition(",")
        if not exam or label not in ("0", "1"):
            raise InputError(f"{table}:{line}: must be a number and 0 or 1, as in 0000,1")
        out[exam] = label == "1"
    return out


def pictures(record: Record, settings: Settings) -> Iterator[Picture]:
    """Slices of the array, which are read one by one.

    Raises:
        UnusableError: no array of three dimensions, or larger than is read.
    """
    try:
        volume: npt.NDArray[Any] = np.load(record.files[0], mmap_mode="r", allow_pickle=False)
    except Exception as e:  # numpy raises what it likes at bytes that it did not expect
        raise UnusableError("no array that can be read") from e
    if volume.ndim != 3 or volume.dtype.kind not in "uif" or 0 in volume.shape:
        raise UnusableError("an array that is no volume of numbers")
    if float(np.prod(volume.shape, dtype=float)) * 8 > settings.gigabytes * 2**30:
        raise UnusableError(f"declares more than {settings.gigabytes:g} GiB")
    at = spread(len(volume), settings.slices)
    if volume.dtype == np.uint8:
        yield from (_flat.picture(np.asarray(volume[k]), settings, record.facts["plane"], at=k) for k in at)
        return
    values = np.asarray(volume[at], dtype=np.float64)
    centre, width, how = _grey.window(values, "MR", "knee", settings.window, None)
    for k, seen in zip(at, values, strict=True):
        yield Picture(_grey.eight_bits(seen, centre, width, settings.size, (1, 1)), None, record.facts["plane"], {}, how, k)
