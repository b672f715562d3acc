"""Volumes and DICOM files whose right, front and head are known: bright blocks in a box."""

from __future__ import annotations

import io
import tarfile
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pydicom
from PIL import Image
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

F = npt.NDArray[np.float64]
CANARY = "Canary^Jane"
SHAPE = (12, 16, 20)


def body() -> F:
    """(12, 16, 20), axes to the right, front and head: 1000 to the right, 600 in front, 300 on top; 0 elsewhere."""
    out = np.zeros(SHAPE)
    out[9:, 6:10, 8:12] = 1000
    out[4:8, 13:, 8:12] = 600
    out[4:8, 6:10, 17:] = 300
    return out


def nifti(path: Path, values: npt.NDArray[Any], codes: str = "RAS", spacing: tuple[float, ...] = (1, 1, 1)) -> Path:
    """Stored along other axes: the same body."""
    wanted = nib.orientations.axcodes2ornt(codes)
    image = nib.Nifti1Image(values, np.diag([*spacing, 1.0]))
    nib.save(image.as_reoriented(nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), wanted)), path)
    return path


def dicom(path: Path, pixels: npt.NDArray[Any], **tags: Any) -> Path:
    """One image, with a name in every tag that takes one."""
    ds = pydicom.Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = tags.pop("syntax", ExplicitVRLittleEndian)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = CTImageStorage
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    ds.PatientName = ds.OtherPatientNames = ds.ReferringPhysicianName = CANARY
    ds.PatientID, ds.StudyDescription, ds.SeriesDescription, ds.InstitutionName = CANARY, CANARY, CANARY, CANARY
    ds.Modality, ds.BodyPartExamined = "CT", "ABDOMEN"
    ds.SeriesInstanceUID, ds.StudyInstanceUID = "1.2.3", "1.2"
    ds.Rows, ds.Columns = pixels.shape[-2:]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    if pixels.ndim == 3:
        ds.NumberOfFrames = len(pixels)
    raw = pixels.astype("<i2").tobytes()
    ds.PixelData = encapsulate([raw]) if ds.file_meta.TransferSyntaxUID.is_encapsulated else raw
    for name, value in tags.items():
        if value is None:
            delattr(ds, name)
        else:
            setattr(ds, name, value)
    ds.save_as(path, enforce_file_format=True)
    return path


def grey(seed: int, shape: tuple[int, int] = (24, 32)) -> npt.NDArray[np.uint8]:
    """(h, w) noise, another for each seed."""
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def png(path: Path, seed: int, shape: tuple[int, int] = (24, 32)) -> Path:
    """A grey picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(grey(seed, shape)).save(path, "PNG")
    return path


def jpeg(path: Path, seed: int, shape: tuple[int, int] = (24, 32)) -> Path:
    """A grey picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(grey(seed, shape)).save(path, "JPEG")
    return path


def declaring(picture: bytes, width: int, height: int) -> bytes:
    """A PNG, JPEG, GIF or lossy WebP whose header says that it has another size."""
    out = bytearray(picture)
    if picture.startswith(b"\x89PNG"):
        out[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
        out[29:33] = zlib.crc32(out[12:29]).to_bytes(4, "big")
    elif picture.startswith(b"GIF"):
        out[6:10] = width.to_bytes(2, "little") + height.to_bytes(2, "little")
    elif picture.startswith(b"RIFF"):
        out[26:30] = width.to_bytes(2, "little") + height.to_bytes(2, "little")
    else:
        at = picture.index(b"\xff\xc0") + 5
        out[at:at + 4] = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return bytes(out)



def shard(path: Path, members: dict[str, bytes]) -> Path:
    """A tar of files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path
