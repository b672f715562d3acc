"""DICOM files, in any folders: the slices of a series make a study, ordered by where they lie.

Of the tags, Modality, BodyPartExamined and what describes the pixels are read; identifiers are used to group, and hashed. Nothing else leaves.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.pixels.processing import apply_rescale
from pydicom.uid import DeflatedExplicitVRLittleEndian

from radisim_cl.ingest import _flat, _grey
from radisim_cl.ingest._protocol import PLANES, About, F, Picture, Record, Settings, UnusableError, spread

# What it says of a file quotes it.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
logging.getLogger("pydicom").setLevel(logging.CRITICAL)
warnings.filterwarnings("ignore", module="pydicom")

ABOUT = About()
ENDINGS = ("", ".dcm", ".dicom", ".ima")
MODALITIES = {"CT": "CT", "MR": "MR", "CR": "DR", "DX": "DR", "DR": "DR", "RG": "DR", "MG": "DR"}
REGIONS = {"BRAIN": "head", "SKULL": "head", "THORAX": "chest", "LSPINE": "lumbar spine", "ABDOMENPELVIS": "abdomen"}
"""Where BodyPartExamined has another word than ours."""
_HEADER = ["PatientID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SeriesNumber",
           "ImagePositionPatient", "ImageOrientationPatient", "InstanceNumber"]


def records(files: Iterable[Path], folder: Path, settings: Settings) -> Iterator[Record]:
    """One a series, or where its number was taken out, one a study or frame of reference.

    A file that is not DICOM is a record of its own, which cannot be read.
    """
    series: dict[str, list[tuple[float, str, Path, str]]] = {}
    for file in files:
        name = file.relative_to(folder).as_posix()
        try:
            head = _read(file, settings, stop_before_pixels=True, specific_tags=_HEADER)
            study = str(head.get("StudyInstanceUID") or head.get("FrameOfReferenceUID") or name)
            key, place = str(head.get("SeriesInstanceUID") or f"{study} {head.get('SeriesNumber') or ''}"), _place(head)
            patient = str(head.get("PatientID") or study)
        except Exception:  # the library raises what it likes at bytes that it did not expect
            key, patient, place = name, name, 0.0
        series.setdefault(key, []).append((place, name, file, patient))
    for key, slices in series.items():
        slices.sort(key=lambda s: s[:2])
        yield Record(key, slices[0][3], tuple(s[2] for s in slices))


def pictures(record: Record, settings: Settings, at: Sequence[int] | None = None) -> Iterator[Picture]:
    """The image, or slices of the series in the order in which they lie; masks are images, one of each file.

    Args:
        record: from `records`.
        settings: how pictures are made.
        at: places in the series that are wanted; None: evenly spread.

    Raises:
        UnusableError: no pixels, a syntax that no installed decoder knows, colour, no modality, or a mask or outline that is not of its image.
    """
    if record.masks and len(record.masks) != len(record.files):
        raise UnusableError("another number of masks than of images")
    places = spread(len(record.files), settings.slices) if at is None else at
    frames = [(k, *f) for k in places for f in _frames(record.files[k], record, settings)]
    frames = [frames[k] for k in spread(len(frames), settings.slices)] if at is None else frames
    for k, values, head in frames:
        facts = {"modality": _modality(head, record), "anatomy": _anatomy(head)}
        region = record.facts.get("anatomy") or facts["anatomy"]
        centre, width, how = _grey.window(values if _own(head) else np.stack([v for _, v, _ in frames if v.shape == values.shape]),
                                          facts["modality"], region, settings.window, _own(head))
        seen, plane, spacing = _oriented(values, head)
        labels = _flat.label_map(record.masks[k], values.shape) if record.masks else _flat.drawn(record.outlines, values.shape)
        mask = None if labels is None else _grey.label_map(_oriented(labels, head)[0], settings.size, spacing)
        grey = _grey.eight_bits(seen, centre, width, settings.size, spacing)
        if head.PhotometricInterpretation == "MONOCHROME1":
            grey, how = 255 - grey, f"{how}; inverted, as MONOCHROME1 asks for"
        yield Picture(grey, mask, plane, facts, how, k, str(head.get("BurnedInAnnotation", "")).strip().upper() == "YES")


def _frames(file: Path, record: Record, settings: Settings) -> Iterator[tuple[F, Any]]:
    """Measured values of up to `settings.slices` frames of a file, each with the file's tags."""
    try:
        head = _read(file, settings)
    except UnusableError:
        raise
    except Exception as e:
        raise UnusableError("not DICOM") from e
    try:
        yield from _decoded(head, record, settings)
    except UnusableError:
        raise
    except Exception as e:
        raise UnusableError("tags that contradict each other") from e


def _decoded(head: Any, record: Record, settings: Settings) -> Iterator[tuple[F, Any]]:
    if not any(tag in head for tag in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise UnusableError("no pixels")
    if head.get("SamplesPerPixel", 1) != 1:
        raise UnusableError("colour")
    frames = int(head.get("NumberOfFrames") or 1)
    if float(head.Rows) * float(head.Columns) * frames * 8 > settings.gigabytes * 2**30:
        raise UnusableError(f"declares more than {settings.gigabytes:g} GiB")
    _modality(head, record)
    try:
        stored = head.pixel_array
    except Exception as e:
        raise UnusableError(f"pixels in {head.file_meta.get('TransferSyntaxUID', 'no')!s}, which no installed decoder reads") from e
    values = np.asarray(apply_rescale(stored, head), dtype=np.float64).reshape(frames, int(head.Rows), int(head.Columns))
    if (padding := head.get("PixelPaddingValue")) is not None and (inside := stored.reshape(values.shape) != padding).any():
        values = np.where(inside, values, values[inside].min())
    for k in spread(frames, settings.slices):
        yield values[k], head


def _read(file: Path, settings: Settings, **how: Any) -> Any:
    """A data set. One that is deflated is unpacked before anything of it can be read, and may hold 1,032 times its size (zlib.net/zlib_tech.html)."""
    if (file.stat().st_size * 1032 > settings.gigabytes * 2**30
            and pydicom.filereader.read_file_meta_info(file).get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian):
        raise UnusableError(f"deflated, and may declare more than {settings.gigabytes:g} GiB")
    return pydicom.dcmread(file, **how)


def _modality(head: Any, record: Record) -> str:
    told = record.facts.get("modality", "")
    found = told or MODALITIES.get(str(head.get("Modality", "")), "")
    if not found:
        raise UnusableError(f"modality {str(head.get('Modality', '')) or 'not given'}; a table can say it")
    return found


def _anatomy(head: Any) -> str:
    part = str(head.get("BodyPartExamined", "")).strip().upper()
    return REGIONS.get(part, part.lower())


def _own(head: Any) -> tuple[float, float] | None:
    """The first window of the file."""
    def first(value: Any) -> Any:
        return value[0] if isinstance(value, pydicom.multival.MultiValue) else value

    centre, width = first(head.get("WindowCenter")), first(head.get("WindowWidth"))
    return None if centre is None or width is None else (float(centre), float(width))


def place(file: Path, settings: Settings) -> float:
    """Where a slice lies, as series are ordered; 0 where the file cannot be read."""
    try:
        return _place(_read(file, settings, stop_before_pixels=True, specific_tags=_HEADER))
    except Exception:  # the library raises what it likes at bytes that it did not expect
        return 0.0


def _axes(head: Any) -> tuple[F, F] | None:
    """Unit vectors, towards the patient's left, back and head, in which columns and rows rise."""
    direction = head.get("ImageOrientationPatient")
    if direction is None or len(direction) != 6:
        return None
    both = np.array(direction, dtype=np.float64)
    square = np.linalg.norm(np.cross(both[:3], both[3:])) > 0.5
    return (both[:3], both[3:]) if square else None


def _place(head: Any) -> float:
    """Where a slice lies along the normal of its series, from the right, front or foot on; its number where it does not say."""
    axes, position = _axes(head), head.get("ImagePositionPatient")
    if axes is None or position is None:
        return float(head.get("InstanceNumber") or 0)
    normal = np.cross(*axes)
    return float(normal @ np.array(position, dtype=np.float64) * np.sign(normal[np.abs(normal).argmax()]))


def _oriented(values: npt.NDArray[Any], head: Any) -> tuple[npt.NDArray[Any], str, tuple[float, float]]:
    """The pixels as they are looked at, the plane, and the distances of rows and columns.

    Columns rise towards the left of the patient, or in a sagittal plane towards the back; rows towards the back, or the foot.
    """
    distance = [float(d) for d in head.get("PixelSpacing") or head.get("ImagerPixelSpacing") or ()]
    spacing = (distance[0], distance[1]) if len(distance) == 2 and min(distance) > 0 else (1.0, 1.0)
    axes = _axes(head)
    if axes is None:
        return values, "", spacing
    across, down = (int(np.abs(a).argmax()) for a in axes)
    plane = PLANES[3 - across - down] if across != down else ""
    if not plane:
        return values, "", spacing
    signs = {across: np.sign(axes[0][across]), down: np.sign(axes[1][down])}
    if across > down:
        values, spacing, across, down = values.T, spacing[::-1], down, across
    rows = signs[down] * (-1 if down == 2 else 1)
    return np.ascontiguousarray(values[::int(rows), ::int(signs[across])]), plane, spacing
