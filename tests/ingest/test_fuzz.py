"""Files that are broken or mean harm: every layout reads them or refuses them in words, within bounds of memory and time."""

from __future__ import annotations

import gzip
import io
import re
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pydicom
import pytest
from _benchmarks import BENCHMARKS
from _bounds import bounded
from _made import body, declaring, dicom, jpeg, nifti, png, shard
from _originals import ORIGINALS
from _sources import SOURCES
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import DeflatedExplicitVRLittleEndian

from radisim_cl.errors import InputError
from radisim_cl.ingest import _tables
from radisim_cl.ingest._protocol import Record, Settings, UnusableError, UnwantedError
from radisim_cl.registry import kinds, plugin

FEW = Settings(slices=2, size=16, gigabytes=0.01)


def own(layout: str, folder: Path) -> Path:
    """A file of each kind that the layouts of one's own files read."""
    folder.mkdir(parents=True, exist_ok=True)
    if layout == "nifti":
        nifti(folder / "v.nii", body().astype(np.int16))
        nifti(folder / "w.nii.gz", body().astype(np.int16))
    elif layout == "dicom":
        dicom(folder / "d.dcm", np.eye(8))
    elif layout == "webdataset":
        shard(folder / "0.tar", {"a.png": png(folder / "a.png", 0).read_bytes(), "a.txt": b"CT", "a.json": b'{"patient": "x"}'})
    else:
        png(folder / "train" / "a" / "x.png", 0)
        jpeg(folder / "train" / "a" / "y.jpg", 1)
    return folder


MAKERS: dict[str, Callable[[Path], Path]] = {
    **{name: lambda folder, layout=name: own(layout, folder) for name in ("nifti", "dicom", "webdataset", "images", "folders")},  # type: ignore[misc]
    **{name: lambda folder, make=make: make(folder, 1) for name, make in (SOURCES | BENCHMARKS | ORIGINALS).items()}}  # type: ignore[misc]


def test_every_layout_is_fuzzed() -> None:
    assert set(MAKERS) == set(kinds("radisim_cl.ingest"))


def one_of_each(folder: Path) -> list[Path]:
    """Of files that are told apart by numbers alone, the first; of pictures and masks, one of each ending and folder of masks."""
    found: dict[str, Path] = {}
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        ending = "".join(file.suffixes[-2:]) if file.suffix == ".gz" else file.suffix
        table = ending in (".csv", ".csv.gz", ".json", ".jsonl", ".txt", ".xlsx", ".xml", ".yaml")
        parts = re.sub(r"\d+", "#", file.name) if table else f"{ending} {'Ground' in file.parts} {re.search('mask|label|segm', str(file))}"
        found.setdefault(parts, file)
    return list(found.values())


def spoilt(raw: bytes, name: str, noise: bytes, at: float, inside: bool) -> bytes:
    """Noise over a file's bytes, or over those that are packed in it, from a part of it on."""
    if inside and name.endswith(".gz"):
        return gzip.compress(spoilt(gzip.decompress(raw), "", noise, at, False), 1)
    if inside and name.endswith((".npz", ".xlsx")):
        out = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(raw)) as packed, zipfile.ZipFile(out, "w") as again:
            chosen = packed.namelist()[len(noise) % len(packed.namelist())]
            for member in packed.namelist():
                again.writestr(member, spoilt(packed.read(member), "", noise, at, False) if member == chosen else packed.read(member))
        return out.getvalue()
    place = int(at * len(raw))
    return raw[:place] + noise + raw[place + len(noise):]


def reads_or_refuses(layout: str, folder: Path, file: Path, asked: Settings = FEW) -> str:
    """Records that a layout makes of a folder, and pictures of those that have this file, or of the first; why not, where it refuses."""
    module = plugin("radisim_cl.ingest", layout)
    for value in vars(module).values():
        getattr(value, "cache_clear", lambda: None)()
    try:
        found: list[Record] = list(module.records(sorted(f for f in folder.rglob("*") if f.is_file() and f.name.lower().endswith(module.ENDINGS)),
                                                  folder, asked))
    except InputError as e:
        return str(e)
    assert all(isinstance(v, str) for record in found for v in record.facts.values())
    usable = [r for r in found if not r.unusable and not r.unwanted]
    for record in [r for r in usable if file in (*r.files, *r.masks)] or usable[:1]:
        try:
            for picture in module.pictures(record, asked):
                assert picture.pixels.dtype == np.uint8
                assert max(picture.pixels.shape) <= asked.size
        except (InputError, UnusableError, UnwantedError) as e:
            return str(e)
    return ""


def fuzz(layout: str, folder: Path, examples: int) -> None:
    """Each kind of file of a layout's, spoilt so many times."""
    def spoil(file: Path) -> None:
        raw = file.read_bytes()

        @given(noise=st.binary(min_size=1, max_size=60), at=st.floats(0, 1) | st.floats(0, min(1, 700 / max(1, len(raw)))), inside=st.booleans())
        @settings(max_examples=examples, database=None)
        def check(noise: bytes, at: float, inside: bool) -> None:
            file.write_bytes(spoilt(raw, file.name, noise, at, inside))
            reads_or_refuses(layout, folder, file)

        check()
        file.write_bytes(raw)

    for file in one_of_each(folder):
        spoil(file)


@pytest.mark.parametrize("layout", sorted(MAKERS))
def test_no_bytes_crash_a_layout(layout: str, tmp_path: Path) -> None:
    folder = MAKERS[layout](tmp_path / "in")
    bounded(lambda: fuzz(layout, folder, 8))


def lying(path: Path, members: dict[str, bytes], declared: int) -> None:
    """A zip whose directory says that each of its members has so many bytes."""
    with zipfile.ZipFile(path, "w") as packed:
        for name, data in members.items():
            packed.writestr(name, data)
        for member in packed.infolist():
            member.file_size = declared


def array(shape: tuple[int, ...]) -> bytes:
    """An array that says that it has this shape, and a kilobyte of it."""
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return out.getvalue() + bytes(1000)


def volume(at: slice, value: bytes) -> bytes:
    """A packed NIfTI file with something else in its header."""
    with TemporaryDirectory() as folder:
        raw = bytearray(nifti(Path(folder) / "v.nii", body().astype(np.uint8)).read_bytes())
    raw[at] = value
    return gzip.compress(bytes(raw))


def deflated(file: Path, size: int) -> None:
    """DICOM that is a kilobyte for each megabyte that it becomes."""
    ds = pydicom.dcmread(dicom(file, np.eye(8)))
    ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    ds.add_new(0x00090010, "LO", "x")
    ds.add_new(0x00091010, "OB", bytes(size))
    ds.save_as(file, enforce_file_format=True)


ARRAYS = [f"{split}_{kind}.npy" for split in ("train", "val", "test") for kind in ("images", "labels")]
LAUGHS = "\n".join(["a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha, ha]", *(f"a{k}: &a{k} [{', '.join(10 * [f'*a{k - 1}'])}]" for k in range(1, 12)),
                    "tasks: [{labels: {0: *a11}}]"])
ENTITIES = "<!DOCTYPE a [<!ENTITY e0 'ha'>" + "".join(f"<!ENTITY e{k} '{10 * f'&e{k - 1};'}'>" for k in range(1, 12)) + "]><a>&e11;</a>"
BOMBS: dict[str, tuple[str, str, Callable[[Path], object], str]] = {
    "PNG": ("images", "train/a/x.png", lambda f: f.write_bytes(declaring(f.read_bytes(), 60_000, 60_000)), "declares more than 0.05 GiB"),
    "JPEG": ("folders", "train/a/y.jpg", lambda f: f.write_bytes(declaring(f.read_bytes(), 60_000, 60_000)), "declares more than 0.05 GiB"),
    "NIfTI": ("nifti", "w.nii.gz", lambda f: f.write_bytes(volume(slice(42, 48), np.full(3, 30_000, "<i2").tobytes())), "declares more than"),
    "NIfTI before its values": ("nifti", "w.nii.gz",
                                lambda f: f.write_bytes(volume(slice(108, 112), np.float32(1e9).tobytes())), "declares more than"),
    "DICOM": ("dicom", "d.dcm", lambda f: dicom(f, np.eye(8), Rows=65_535, Columns=65_535), "declares more than"),
    "DICOM of many frames": ("dicom", "d.dcm", lambda f: dicom(f, np.eye(8), NumberOfFrames=2**31 - 1), "declares more than"),
    "deflated DICOM": ("dicom", "d.dcm", lambda f: deflated(f, 2**26), "deflated, and may declare more than"),
    "npz": ("medmnist", "pneumoniamnist.npz",
            lambda f: lying(f, dict.fromkeys(ARRAYS, array((3, 28, 28))), 10**11), "declares an array of more than"),
    "array in an npz": ("medmnist", "pneumoniamnist.npz",
                        lambda f: lying(f, dict.fromkeys(ARRAYS, array((10**11,))), 2000), "no array 'train_labels'"),
    "array": ("mrnet", "MRNet-v1.0/train/axial/0000.npy", lambda f: f.write_bytes(array((10**6, 10**4, 10))), "no array that can be read"),
    "tar": ("webdataset", "0.tar", lambda f: f.write_bytes(tarred(f.read_bytes(), 2**32)), "ends at byte"),
    "CSV": ("mimic_cxr", "mimic-cxr-2.0.0-split.csv.gz", lambda f: f.write_bytes(gzip.compress(b"a" * 2**26)), "holds more than 0.03125 GiB"),
    "XLSX": ("covid_ct", "COVID-CT-MetaInfo.xlsx", lambda f: lying(f, {"xl/workbook.xml": b"x"}, 10**11), "holds more than 0.03125 GiB"),
    "JSON": ("slake", "train.json", lambda f: f.write_text("[" * 100_000), "train.json: no JSON"),
    "JSONL": ("pmc_oa", "pmc_oa.jsonl", lambda f: f.write_text('{"a":' * 100_000), "pmc_oa.jsonl:1: no JSON"),
    "JSON in a tar": ("webdataset", "0.tar", lambda f: shard(f, {"a.png": (f.parent / "a.png").read_bytes(), "a.json": b"[" * 100_000}), "^$"),
    "XML": ("openi", "ecgen-radiology/1.xml", lambda f: f.write_text(ENTITIES), "declares entities"),
    "XML in UTF-16": ("openi", "ecgen-radiology/1.xml", lambda f: f.write_text(ENTITIES, "utf-16"), "declares entities"),
    "XML nested": ("openi", "ecgen-radiology/1.xml", lambda f: f.write_text("<a>" * 100_000 + "</a>" * 100_000), "^$"),
    "YAML": ("medimeta", "organs_axial/info.yaml", lambda f: f.write_text(LAUGHS), "is not among those of info.yaml"),
    "YAML long": ("medimeta", "organs_axial/info.yaml", lambda f: f.write_text("[" * 100_000), "must have the names of labels"),
    "YAML nested": ("medimeta", "organs_axial/info.yaml", lambda f: f.write_text("[" * 2_000), "must have the names of labels"),
}
"""Layout, file, how it is made harmful, and what is said; "^$" where what is harmless of it is read."""


def tarred(raw: bytes, size: int) -> bytes:
    """A tar whose first member declares this many bytes."""
    member = tarfile.TarInfo.frombuf(raw[:512], "utf-8", "strict")
    member.size = size
    return member.tobuf(tarfile.USTAR_FORMAT) + raw[512:]


@pytest.mark.parametrize(("layout", "name", "make", "said"), BOMBS.values(), ids=BOMBS)
def test_what_a_file_declares_is_not_made_room_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str, name: str,
                                                   make: Callable[[Path], object], said: str) -> None:
    folder = MAKERS[layout](tmp_path / "in")
    make(folder / name)
    monkeypatch.setattr(_tables, "_MOST", 2**25)

    def check() -> None:
        assert re.search(said, reads_or_refuses(layout, folder, folder / name, Settings(slices=2, size=16, gigabytes=0.05)))

    bounded(check, megabytes=40)


@pytest.mark.slow
@pytest.mark.parametrize("layout", sorted(MAKERS))
def test_no_bytes_crash_a_layout_however_many(layout: str, tmp_path: Path) -> None:
    folder = MAKERS[layout](tmp_path / "in")
    bounded(lambda: fuzz(layout, folder, 60), seconds=1200)
