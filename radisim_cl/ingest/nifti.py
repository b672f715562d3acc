"""NIfTI volumes (`.nii`, `.nii.gz`), with SimpleITK also `.mha` and `.nrrd`: one file a study, cut in one plane.

The affine says where the patient's right is.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

from radisim_cl.errors import InputError
from radisim_cl.ingest import _grey, _itk
from radisim_cl.ingest._protocol import PLANES, About, F, Picture, Record, Settings, UnusableError, spread

logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)  # it corrects headers, and says so once a file

ABOUT = About()
ENDINGS = (".nii", ".nii.gz", *_itk.ENDINGS)
Labels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Volume:
    """Values whose axes rise to the patient's right, front and head.

    Attributes:
        values: (x, y, z).
        affine: (4, 4), from places of `values` to millimetres.
        rising: whether slices are stored from the foot on; None where they are not stored in axial planes.
    """

    values: F
    affine: F
    rising: bool | None

    @property
    def spacing(self) -> F:
        """(3,) distances along the axes, in the affine's unit."""
        out: F = np.linalg.norm(self.affine[:3, :3], axis=0)
        return out


def records(files: Iterable[Path], folder: Path, settings: Settings) -> Iterator[Record]:
    """One a file."""
    for file in files:
        name = file.relative_to(folder).as_posix()
        yield Record(name, name, (file,))


def pictures(record: Record, settings: Settings) -> Iterator[Picture]:
    """Slices from the patient's left, back or foot on.

    Raises:
        UnusableError: not a volume of finite numbers in a known orientation, or a mask that does not lie on it.
    """
    volume = read(record.files[0], settings)
    yield from cut(volume, record, settings, labels(record.masks[0], volume, settings) if record.masks else None)


def cut(volume: Volume, record: Record, settings: Settings, mask: Labels | None, at: Sequence[int] | None = None) -> Iterator[Picture]:
    """Slices of a volume in the plane that is asked for.

    Args:
        volume: from `read`.
        record: for its modality and region, which choose the window, and the labels of its slices.
        settings: how pictures are made.
        mask: (x, y, z) label map.
        at: places that are wanted; None: evenly spread.

    Raises:
        UnusableError: labels of slices that are not stored in this plane or number, or values that cannot be shown.
    """
    axis = PLANES.index(settings.plane)
    at = spread(volume.values.shape[axis], settings.slices) if at is None else at
    spacing = np.delete(volume.spacing, axis)[::-1].tolist()
    centre, width, how = _grey.window(volume.values.take(at, axis), record.facts.get("modality", ""), record.facts.get("anatomy", ""),
                                      settings.window, None)
    told = _told(volume, record, axis)
    for k in at:
        seen = None if mask is None else _grey.label_map(looked_at(mask, k, axis), settings.size, spacing)
        yield Picture(_grey.eight_bits(looked_at(volume.values, k, axis), centre, width, settings.size, spacing), seen, settings.plane,
                      {"labels": told[k]} if told else {}, how, k)


def _told(volume: Volume, record: Record, axis: int) -> Sequence[str]:
    """Labels of the slices from the foot on."""
    if not record.slices:
        return ()
    if volume.rising is None or axis != 2 or len(record.slices) != volume.values.shape[2]:
        raise UnusableError("another number of slices than of their labels, or stored in another plane")
    return record.slices if volume.rising else record.slices[::-1]


def looked_at(volume: npt.NDArray[Any], k: int, axis: int) -> npt.NDArray[Any]:
    """A slice as it is looked at: axes of the volume rise to the right, front and head, those of a picture to the left, back and foot."""
    return np.ascontiguousarray(volume.take(k, axis).T[::-1, ::-1])


def read(file: Path, settings: Settings) -> Volume:
    """A volume in its canonical orientation.

    Raises:
        UnusableError: not NIfTI, not three dimensions, too large, or an affine that says nothing.
    """
    image, stored = _load(file, settings)
    head = [k for k, (axis, _) in enumerate(stored) if axis == 2]
    return Volume(_numbers(image), np.asarray(image.affine, dtype=np.float64), bool(stored[2][1] > 0) if head == [2] else None)


def labels(file: Path, volume: Volume, settings: Settings) -> Labels:
    """The label map of a volume.

    Raises:
        UnusableError: as `read`, or it does not lie on the volume, or holds other values than 0 to 255.
    """
    image, _ = _load(file, settings)
    found = _numbers(image, None)
    if found.shape != volume.values.shape or not np.allclose(image.affine, volume.affine, atol=1e-2):
        raise UnusableError("a mask that does not lie on its image")
    if found.dtype != np.uint8 and not np.isin(found, np.arange(256)).all():
        raise UnusableError("a mask whose values are not whole numbers from 0 to 255")
    return found.astype(np.uint8)


def named(slices: Iterator[Picture], structures: Mapping[int, str]) -> Iterator[Picture]:
    """Pictures whose labels are the structures that their masks show."""
    for picture in slices:
        shown = [] if picture.mask is None else [structures[v] for v in np.unique(picture.mask).tolist() if v in structures]
        yield replace(picture, facts={**picture.facts, "labels": "|".join(shown)})


def masked(structures: Mapping[int, str]) -> Callable[[Record, Settings], Iterator[Picture]]:
    """`pictures` of a layout whose masks have these numbers: slices with their masks, which say their labels."""
    return lambda record, settings: named(pictures(record, settings), structures)


def _load(file: Path, settings: Settings) -> tuple[Any, npt.NDArray[Any]]:
    """The image in its canonical orientation, and (3, 2) axes and signs in which it is stored."""
    try:
        with warnings.catch_warnings(action="ignore"):
            image: Any = (_itk.load if file.suffix in _itk.ENDINGS else _nibabel)(file, settings.gigabytes)
        shape = tuple(int(n) for n in image.shape)
        if len([n for n in shape if n > 1]) > 3 or len(shape) < 3:
            raise UnusableError(f"{len(shape)} dimensions; a volume has 3")
        if np.prod(shape, dtype=float) * 8 > settings.gigabytes * 2**30:
            raise UnusableError(f"declares more than {settings.gigabytes:g} GiB")
        if not np.isfinite(image.affine).all() or abs(np.linalg.det(image.affine[:3, :3])) < 1e-9:
            raise UnusableError("an affine that says nothing about orientation")
        return nib.as_closest_canonical(image), nib.io_orientation(image.affine)
    except (UnusableError, InputError):
        raise
    except Exception as e:  # the library raises what it likes at bytes that it did not expect
        raise UnusableError("not a volume of its format") from e


def _nibabel(file: Path, gigabytes: float) -> Any:
    """The image, unless it says to have more before its values: the library reads all of that, whatever it is."""
    with nib.openers.Opener(str(file)) as f:
        head = f.read(nib.Nifti2Header.sizeof_hdr)
    kinds: list[Any] = [kind for kind in (nib.Nifti1Header, nib.Nifti2Header) if kind.may_contain_header(head)]
    if max((float(kind(head[:kind.sizeof_hdr], check=False)["vox_offset"]) for kind in kinds), default=0) > gigabytes * 2**30:
        raise UnusableError(f"declares more than {gigabytes:g} GiB")
    return nib.load(file)


def _numbers(image: Any, kind: type[np.float64] | None = np.float64) -> npt.NDArray[Any]:
    """(x, y, z) values, as they are stored where no kind is asked for."""
    try:
        values = np.asarray(image.dataobj, dtype=kind)
    except Exception as e:
        raise UnusableError("shorter than its header says, or of another type") from e
    return values.reshape(values.shape[:3])
