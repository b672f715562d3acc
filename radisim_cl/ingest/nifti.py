"""NIfTI volumes (`.nii`, `.nii.gz`): one file a study, cut in one plane after its affine says where the patient's right is."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

from radisim_cl.ingest import _grey
from radisim_cl.ingest._protocol import PLANES, F, Picture, Record, Settings, UnusableError, spread

logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)  # it corrects headers, and says so once a file

ENDINGS = (".nii", ".nii.gz")


def records(files: Sequence[Path], folder: Path) -> Iterator[Record]:
    """One a file."""
    for file in files:
        name = file.relative_to(folder).as_posix()
        yield Record(name, name, (file,), {})


def pictures(record: Record, settings: Settings) -> Iterator[Picture]:
    """Slices from the patient's right, front or foot on.

    Raises:
        UnusableError: not a volume of finite numbers in a known orientation, or a mask that does not lie on it.
    """
    image = _load(record.files[0], settings)
    values = _numbers(image)
    labels = _labels(record.mask, image, settings) if record.mask else None
    axis = PLANES.index(settings.plane)
    at, zooms = spread(values.shape[axis], settings.slices), np.delete(np.linalg.norm(image.affine[:3, :3], axis=0), axis)[::-1].tolist()
    centre, width, how = _grey.window(values.take(at, axis), record.facts.get("modality", ""), record.facts.get("anatomy", ""),
                                      settings.window, None)
    for k in at:
        mask = None if labels is None else _grey.label_map(_seen(labels, k, axis), settings.size, zooms)
        yield Picture(_grey.eight_bits(_seen(values, k, axis), centre, width, settings.size, zooms), mask, settings.plane, {}, how)


def _seen(volume: npt.NDArray[Any], k: int, axis: int) -> npt.NDArray[Any]:
    """A slice as it is looked at: axes of the volume rise to the right, front and head, those of a picture to the left, back and foot."""
    return np.ascontiguousarray(volume.take(k, axis).T[::-1, ::-1])


def _load(file: Path, settings: Settings) -> Any:
    try:
        with warnings.catch_warnings(action="ignore"):
            image: Any = nib.load(file)
        shape = tuple(int(n) for n in image.shape)
        if len([n for n in shape if n > 1]) > 3 or len(shape) < 3:
            raise UnusableError(f"{len(shape)} dimensions; a volume has 3")
        if np.prod(shape, dtype=float) * 8 > settings.gigabytes * 2**30:
            raise UnusableError(f"declares more than {settings.gigabytes:g} GiB")
        if not np.isfinite(image.affine).all() or abs(np.linalg.det(image.affine[:3, :3])) < 1e-9:
            raise UnusableError("an affine that says nothing about orientation")
        return nib.as_closest_canonical(image)
    except UnusableError:
        raise
    except Exception as e:  # the library raises what it likes at bytes that it did not expect
        raise UnusableError("not NIfTI") from e


def _numbers(image: Any) -> F:
    try:
        values: F = np.asarray(image.dataobj, dtype=np.float64)
    except Exception as e:
        raise UnusableError("shorter than its header says, or of another type") from e
    return values.reshape(values.shape[:3])


def _labels(file: Path, image: Any, settings: Settings) -> npt.NDArray[np.uint8]:
    mask = _load(file, settings)
    if mask.shape[:3] != image.shape[:3] or not np.allclose(mask.affine, image.affine, atol=1e-2):
        raise UnusableError("a mask that does not lie on its image")
    labels = _numbers(mask)
    if not np.isin(labels, np.arange(256)).all():
        raise UnusableError("a mask whose values are not whole numbers from 0 to 255")
    return labels.astype(np.uint8)
