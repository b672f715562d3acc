"""Corpora from NIfTI and DICOM: what a radiologist would see, nothing private, and the same whatever interrupts it."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import yaml
from _made import CANARY, SHAPE, body, dicom, nifti
from conftest import REAL, World, real
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.uid import JPEGLSLossless, generate_uid

from radisim_cl import cli
from radisim_cl.errors import InputError
from radisim_cl.ingest import _corpus
from radisim_cl.ingest import dicom as dicom_layout
from radisim_cl.ingest import nifti as nifti_layout
from radisim_cl.ingest._corpus import ingest
from radisim_cl.ingest._protocol import PLANES, Picture, Plane, Record, Settings, UnusableError, spread
from radisim_cl.ingest._site import Site
from radisim_cl.ingest._tables import Table

SITE = Site("a secret of the site")
ONE = Settings(slices=1, size=20)


def made(layout: str, folder: Path, out: Path, **changes: object) -> tuple[pd.DataFrame, dict[str, object]]:
    asked: dict[str, object] = {"settings": Settings(slices=3, size=20), "site": SITE} | changes
    card = ingest(layout, folder, out, **asked)  # type: ignore[arg-type]
    return pd.read_parquet(out / "manifest.parquet"), card


def read(module: object, *files: Path, asked: Settings = ONE, **facts: str) -> list[Picture]:
    return list(module.pictures(Record("key", "patient", files[:1], facts, files[1:]), asked))  # type: ignore[attr-defined]


@pytest.mark.parametrize("codes", ["RAS", "LPS", "LAS", "PSR", "SAL", "ILA"])
@pytest.mark.parametrize(("plane", "seen"), [("axial", {"left": 1000, "top": 600}), ("coronal", {"left": 1000, "top": 300}),
                                             ("sagittal", {"left": 600, "top": 300})])
def test_a_volume_is_shown_as_it_is_looked_at_however_it_is_stored(tmp_path: Path, codes: str, plane: Plane, seen: dict[str, int]) -> None:
    """The patient's right at the left, the front on top in axial planes and at the left in sagittal ones, the head on top."""
    (picture,) = read(nifti_layout, nifti(tmp_path / "v.nii.gz", body(), codes), asked=Settings(1, 20, plane, "500/1000"))
    wide, high = [n for i, n in enumerate(SHAPE) if i != PLANES.index(plane)]
    assert picture.pixels.shape == (round(high * 20 / max(wide, high)), round(wide * 20 / max(wide, high)))
    bright = {"left": picture.pixels[:, :2].max(), "right": picture.pixels[:, -2:].max(),
              "top": picture.pixels[:2].max(), "bottom": picture.pixels[-2:].max()}
    expected = {"right": 0, "bottom": 0} | {side: value * 255 / 1000 for side, value in seen.items()}
    assert bright == pytest.approx(expected, abs=3)
    assert picture.plane == plane


def test_pixels_are_square_whatever_the_voxels_are(tmp_path: Path) -> None:
    (picture,) = read(nifti_layout, nifti(tmp_path / "v.nii", body(), spacing=(1, 1, 3)), asked=Settings(1, 60, "coronal"))
    assert picture.pixels.shape == (60, 12)


def test_windows_are_those_of_the_region_the_file_or_the_values(tmp_path: Path) -> None:
    """-160 and 240 HU are black and white in soft tissue, 0 and 80 in a brain; each in words."""
    ramp = np.repeat(np.linspace(-160, 240, 9)[:, None, None], 4, 1).repeat(4, 2)
    file = nifti(tmp_path / "v.nii", ramp)
    (soft,) = read(nifti_layout, file, asked=Settings(1, 9), modality="CT", anatomy="abdomen")
    assert soft.pixels[0].tolist() == pytest.approx(np.linspace(255, 0, 9), abs=1)
    assert soft.window == "soft tissue: centre 40, width 400 HU"
    (brain,) = read(nifti_layout, file, asked=Settings(1, 9), modality="CT", anatomy="head")
    assert brain.pixels[0].tolist() == pytest.approx(np.clip(np.linspace(240, -160, 9) / 80, 0, 1) * 255, abs=1)
    (mr,) = read(nifti_layout, file, modality="MR")
    assert mr.window.startswith("percentiles 0.5 to 99.5")
    (own,) = read(dicom_layout, dicom(tmp_path / "d.dcm", ramp[:, :, 0], WindowCenter=[40, 300], WindowWidth=[200, 1500]))
    assert own.window == "the file's own: centre 40, width 200"
    (rescaled,) = read(dicom_layout, dicom(tmp_path / "e.dcm", ramp[:, :, 0] + 1024, RescaleSlope=1, RescaleIntercept=-1024))
    assert rescaled.pixels[:, 0].min() == 0
    assert rescaled.pixels[:, 0].max() == 255


def test_a_mask_is_cut_and_resized_with_its_image(tmp_path: Path) -> None:
    image, mask = nifti(tmp_path / "v.nii", body(), "LPS"), nifti(tmp_path / "m.nii", (body() / 100).astype(np.uint8), "LPS")
    (picture,) = read(nifti_layout, image, mask, asked=Settings(1, 32, "axial", "500/1000"))
    assert picture.mask is not None
    assert set(np.unique(picture.mask)) == {0, 6, 10}
    assert (picture.mask[picture.pixels == 255] == 10).all()
    with pytest.raises(UnusableError, match="does not lie on its image"):
        read(nifti_layout, image, nifti(tmp_path / "n.nii", body().astype(np.uint8), spacing=(1, 1, 2)))
    with pytest.raises(UnusableError, match="not whole numbers"):
        read(nifti_layout, image, nifti(tmp_path / "o.nii", body() / 7, "LPS"))


def test_a_mask_is_not_taken_for_a_slice_of_a_series(tmp_path: Path) -> None:
    image = dicom(tmp_path / "d.dcm", np.eye(8))
    with pytest.raises(UnusableError, match="a mask that cannot be decoded"):
        read(dicom_layout, image, nifti(tmp_path / "m.nii", body().astype(np.uint8)))


def unusable(kind: str, folder: Path) -> tuple[object, Path]:
    """A file that cannot be used."""
    file, pixels, values = folder / "x", np.zeros((8, 8)), body()
    match kind:
        case "not a volume":
            file.with_suffix(".nii").write_text("x" * 400)
            return nifti_layout, file.with_suffix(".nii")
        case "shorter":
            whole = nifti(folder / "w.nii", values).read_bytes()
            (folder / "x.nii").write_bytes(whole[:-100])
            return nifti_layout, folder / "x.nii"
        case "not finite":
            values[0, 0, :] = np.nan
        case "4 dimensions":
            values = values[..., None].repeat(2, -1)
        case "an affine":
            raw = bytearray(nifti(folder / "w.nii", values).read_bytes())
            raw[280:328] = bytes(48)
            (folder / "x.nii").write_bytes(raw)
            return nifti_layout, folder / "x.nii"
        case "declares more":
            raw = bytearray(nifti(folder / "w.nii", values).read_bytes())
            raw[42:48] = np.array([30000, 30000, 30000], "<i2").tobytes()
            (folder / "x.nii").write_bytes(raw)
            return nifti_layout, folder / "x.nii"
        case "not DICOM":
            file.write_bytes(b"\0" * 300)
            return dicom_layout, file
        case "no pixels":
            return dicom_layout, dicom(file, pixels, PixelData=None)
        case "which no installed decoder reads":
            return dicom_layout, dicom(file, pixels, syntax=JPEGLSLossless)
        case "modality not given":
            return dicom_layout, dicom(file, pixels, Modality=None)
        case "modality US":
            return dicom_layout, dicom(file, pixels, Modality="US")
        case "colour":
            return dicom_layout, dicom(file, pixels, SamplesPerPixel=3)
    nib.save(nib.Nifti1Image(values, np.eye(4)), folder / "x.nii")
    return nifti_layout, folder / "x.nii"


@pytest.mark.parametrize("kind", ["not a volume", "shorter", "not finite", "4 dimensions", "an affine", "declares more", "not DICOM", "no pixels",
                                  "which no installed decoder reads", "modality not given", "modality US", "colour"])
def test_what_cannot_be_used_is_said_without_a_name(tmp_path: Path, kind: str) -> None:
    module, file = unusable(kind, tmp_path)
    with pytest.raises(UnusableError, match=kind) as told:
        read(module, file)
    assert str(tmp_path) not in str(told.value)
    assert CANARY not in str(told.value)


@pytest.mark.parametrize(("direction", "plane"), [((1, 0, 0, 0, 1, 0), "axial"), ((-1, 0, 0, 0, -1, 0), "axial"), ((0, 1, 0, 1, 0, 0), "axial"),
                                                  ((1, 0, 0, 0, 0, -1), "coronal"), ((0, 0, 1, -1, 0, 0), "coronal"),
                                                  ((0, 1, 0, 0, 0, -1), "sagittal"), ((0.99, 0.1, 0, -0.1, 0.99, 0), "axial")], ids=str)
def test_a_slice_is_turned_as_it_is_looked_at(tmp_path: Path, direction: tuple[float, ...], plane: str) -> None:
    """A corner that is towards the patient's right and front (sagittal: front and head) is at the upper left, and rows keep their distance."""
    across, down = np.array(direction[:3]), np.array(direction[3:])
    towards = {"axial": (-1, -1, 0), "coronal": (-1, 0, 1), "sagittal": (0, -1, 1)}[plane]
    corner = [0 if axis @ towards < 0 else -1 for axis in (down, across)]
    pixels = np.zeros((10, 30))
    pixels[corner[0], corner[1]] = 4000
    (picture,) = read(dicom_layout, dicom(tmp_path / "d", pixels, ImageOrientationPatient=list(direction), PixelSpacing=[3, 1],
                                          WindowCenter=2000, WindowWidth=4000), asked=Settings(1, 30))
    assert picture.plane == plane
    assert picture.pixels.shape == (30, 30)
    assert picture.pixels[:4, :4].max() > 200


def test_monochrome1_is_inverted_and_says_so(tmp_path: Path) -> None:
    pixels = np.linspace(0, 1000, 64).reshape(8, 8)
    first, second = (read(dicom_layout, dicom(tmp_path / kind, pixels, PhotometricInterpretation=kind, Modality="DX"))[0]
                     for kind in ("MONOCHROME2", "MONOCHROME1"))
    assert (first.pixels == 255 - second.pixels).all()
    assert second.window.endswith("inverted, as MONOCHROME1 asks for")
    assert first.facts == {"modality": "DR", "anatomy": "abdomen"}


def test_padding_is_as_dark_as_what_is_darkest(tmp_path: Path) -> None:
    pixels = np.full((8, 8), 100.0)
    pixels[:, 4:], pixels[0] = 900, -2000
    (picture,) = read(dicom_layout, dicom(tmp_path / "d", pixels, PixelPaddingValue=-2000, Modality="MR"), asked=Settings(1, 8))
    assert sorted(set(picture.pixels.ravel().tolist())) == [0, 255]


def test_spacing_that_is_nought_is_not_believed(tmp_path: Path) -> None:
    assert read(dicom_layout, dicom(tmp_path / "d", np.eye(8), PixelSpacing=[0, 0]))[0].pixels.shape == (20, 20)


def test_slices_lie_in_the_order_of_their_places_and_frames_are_slices(tmp_path: Path) -> None:
    numbers = [5, 1, 4, 2, 3]
    for k, n in enumerate(numbers):
        dicom(tmp_path / f"{k}", np.full((8, 8), 100 * n), ImageOrientationPatient=[1, 0, 0, 0, 1, 0], ImagePositionPatient=[0, 0, n],
              WindowCenter=250, WindowWidth=500, InstanceNumber=k)
    (record,) = dicom_layout.records(sorted(tmp_path.iterdir()), tmp_path, ONE)
    assert [int(p.pixels[0, 0]) for p in dicom_layout.pictures(record, Settings(5, 20))] == [51, 102, 153, 204, 255]
    frames = read(dicom_layout, dicom(tmp_path / "many", np.arange(40).reshape(10, 2, 2) * 100), asked=Settings(3, 20))
    assert len(frames) == 3


@pytest.mark.parametrize(("depth", "wanted", "expected"), [(7, 7, [0, 1, 2, 3, 4, 5, 6]), (3, 7, [0, 1, 2]), (70, 7, [5, 15, 25, 35, 45, 55, 65]),
                                                        (1, 1, [0])])
def test_slices_are_spread_evenly(depth: int, wanted: int, expected: list[int]) -> None:
    assert spread(depth, wanted) == expected


def series(folder: Path, studies: int = 3) -> Path:
    """Series of four slices with a name in every tag."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for s in range(studies):
        uid = generate_uid()
        for k in range(4):
            dicom(folder / f"{CANARY}-{s}-{k}.dcm", rng.integers(-200, 300, (16, 16)), SeriesInstanceUID=uid, PatientID=f"{CANARY}-{s // 2}",
                  ImageOrientationPatient=[1, 0, 0, 0, 1, 0], ImagePositionPatient=[0, 0, k])
    return folder


def test_nothing_private_leaves_and_ids_are_those_of_the_site(tmp_path: Path) -> None:
    frame, card = made("dicom", series(tmp_path / "in"), tmp_path / "out")
    assert (len(frame), frame["study"].nunique(), frame["patient"].nunique()) == (9, 3, 2)
    for file in (tmp_path / "out").rglob("*"):
        if file.is_file():
            assert CANARY.encode() not in file.read_bytes()
            assert CANARY not in file.name
    same, _ = made("dicom", tmp_path / "in", tmp_path / "again")
    pd.testing.assert_frame_equal(frame, same)
    other, _ = made("dicom", tmp_path / "in", tmp_path / "other", site=Site("another secret"))
    assert not set(frame["patient"]) & set(other["patient"])
    assert card["pairs"] == 9
    assert card["left_out"] == {}
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert names == ["card.yaml", "checks.parquet", "images", "ingest.json", "manifest.parquet", "masks"]


@pytest.mark.parametrize("jobs", [1, 2])
def test_cut_off_and_called_again_it_makes_the_same_corpus(tmp_path: Path, jobs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = made("dicom", series(tmp_path / "in", 5), tmp_path / "whole")
    one = _corpus._one

    def cut(task: object, left: list[int] = [2]) -> None:  # noqa: B006
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        one(task)  # type: ignore[arg-type]

    monkeypatch.setattr(_corpus, "_one", cut)
    with pytest.raises(KeyboardInterrupt):
        made("dicom", tmp_path / "in", tmp_path / "out")
    assert len(list((tmp_path / "out" / "parts").iterdir())) == 2
    monkeypatch.setattr(_corpus, "_one", one)
    frame, _ = made("dicom", tmp_path / "in", tmp_path / "out", jobs=jobs)
    pd.testing.assert_frame_equal(frame, whole)
    for name in whole["image"]:
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    monkeypatch.setattr(_corpus, "_one", cut)  # nothing is left to do
    made("dicom", tmp_path / "in", tmp_path / "out")


def test_a_table_says_which_files_and_what_is_known_of_them(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a1", "a2", "b1"):
        nifti(tmp_path / "in" / f"{name}.nii.gz", body())
    nifti(tmp_path / "in" / "m.nii.gz", (body() > 0).astype(np.uint8))
    table = tmp_path / "t.csv"
    pd.DataFrame({"path": ["a1.nii.gz", "a2.nii.gz", "b1.nii.gz", "m.nii.gz"], "modality": ["MR", "MR", "CT", "mask"], "finding": ["x", "y", "z", ""],
                  "seg": ["m.nii.gz", "", "", ""], "licence": ["CC0", "", "", ""]}).to_csv(table, index=False)
    known = Table.read(table, {"labels": "finding", "mask": "seg"}, {"modality": ["CT", "MR"]})
    frame, card = made("nifti", tmp_path / "in", tmp_path / "out", table=known, licence="CC BY", site=Site("s", r"^([ab])"))
    assert (frame["patient"].nunique(), frame["study"].nunique()) == (2, 3)
    assert set(zip(frame["labels"], frame["modality"], frame["licence"], frame["mask"] != "", strict=True)) == {
        ("x", "MR", "CC0", True), ("y", "MR", "CC BY", False), ("z", "CT", "CC BY", False)}
    assert card["by_modality"] == {"MR": 6, "CT": 3}


def test_more_than_a_budget_left_out_stops_and_counts_by_reason(tmp_path: Path) -> None:
    series(tmp_path / "in", 3)
    dicom(tmp_path / "in" / "bad", np.eye(4), PixelData=None, SeriesInstanceUID="9")
    with pytest.raises(InputError, match=r"1 of 4 records cannot be used \(1 x no pixels\), and 5.0% may be left out"):
        made("dicom", tmp_path / "in", tmp_path / "out")
    _, card = made("dicom", tmp_path / "in", tmp_path / "out", most_unusable=0.25)
    assert card["left_out"] == {"no pixels": 1}


@pytest.mark.parametrize(("args", "said"), [
    (("--out", "in/corpus"), "lies in in, which would then hold its own copies"), (("--out", "full"), "not empty and no corpus"),
    (("--out", "o", "--plane", "axail"), "Did you mean 'axial'"), (("--out", "o", "--window", "40"), "neither `auto` nor centre/width"),
    (("--out", "o", "--patient", "("), "not a regular expression"), (("--out", "o", "--patient", "a"), "exactly one group"),
    (("--out", "o", "--column", "a=b"), "give it with --table"), (("--out", "o", "--table", "t.csv"), "no column 'path'"),
    (("--out", "o", "--table", "u.csv"), "1 of 1 files of the table are not under in"),
    (("--out", "o", "--table", "u.csv", "--column", "lables=path"), "Did you mean 'labels'"),
    (("--out", "o", "--table", "u.csv", "--where", "path"), "needs an equals sign"),
    (("--out", "o", "--table", "v.csv"), "1 rows name a file that an earlier row names too"),
    (("--out", "o", "--patient", "^(x)"), "does not match 1 of 1 patients"),
], ids=lambda x: " ".join(x) if isinstance(x, tuple) else "")
def test_what_is_asked_for_wrongly_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
                                           args: tuple[str, ...], said: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RADISIM_SALT", "0123456789abcdef")
    series(Path("in"), 1)
    Path("full").mkdir()
    for name, text in {"full/x": "", "t.csv": "paths\nx\n", "u.csv": "path\nx\n", "v.csv": "path\nx\nx\n"}.items():
        Path(name).write_text(text)
    monkeypatch.setattr(sys, "argv", ["radisim-cl", "ingest", "dicom", "in", *args])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not Path("o/manifest.parquet").exists()


def test_without_a_secret_nothing_is_written(world: World) -> None:
    series(world.root / "in", 1)
    done = world.cli("ingest", "dicom", "in", "--out", "o", RADISIM_SALT="")
    assert done.returncode == 2
    assert "export RADISIM_SALT" in done.stderr
    assert not (world.root / "o").exists()


def test_remains_of_another_ingestion_are_not_mixed_with(tmp_path: Path) -> None:
    made("dicom", series(tmp_path / "in"), tmp_path / "out")
    with pytest.raises(InputError, match="other settings or files"):
        made("dicom", tmp_path / "in", tmp_path / "out", settings=Settings(slices=2))


@given(st.binary(max_size=400), st.integers(0, 600))
@settings(max_examples=60)
def test_no_bytes_crash_a_reader(noise: bytes, at: int) -> None:
    """Whole files with noise somewhere in them: read, or unusable; nothing else."""
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for module, file in ((nifti_layout, nifti(folder / "v.nii", body())), (dicom_layout, dicom(folder / "d.dcm", np.eye(8)))):
            raw = file.read_bytes()
            file.write_bytes(raw[:at] + noise + raw[at + len(noise):])
            for record in module.records([file], folder, ONE):
                try:
                    pictures = list(module.pictures(record, Settings(2, 16, gigabytes=0.01)))
                except UnusableError:
                    continue
                assert all(p.pixels.dtype == np.uint8 for p in pictures)


@real
def test_the_open_samples_become_volumes(tmp_path: Path) -> None:
    """All of seven volumes of four patients; a series of 20 slices, 8 other files, one of them without a modality."""
    folder = Path(REAL or "")
    table = Table.read(folder / "nifti_volumes" / "manifest.csv", {}, {"modality": ["CT", "MR"]})
    frame, _ = made("nifti", folder / "nifti_volumes", tmp_path / "nifti", settings=Settings(), table=table,
                    site=Site("s", "^(stroke|ts_example_ct|ts_example_mr|mni152)"))
    assert (len(frame), frame["study"].nunique(), frame["patient"].nunique()) == (49, 7, 4)
    frame, card = made("dicom", folder / "dicom_samples", tmp_path / "dicom", settings=Settings(), most_unusable=0.2)
    assert frame["study"].value_counts().iloc[0] == 7
    assert card["left_out"] == {"modality not given; a table can say it": 1}
    assert all(np.asarray(Image.open(tmp_path / "dicom" / name)).std() > 5 for name in frame["image"])
    assert json.loads((tmp_path / "dicom" / "ingest.json").read_text())["layout"] == "dicom"
    assert yaml.safe_load((tmp_path / "dicom" / "card.yaml").read_text())["by_modality"]["DR"] == 3
    shutil.rmtree(tmp_path / "nifti")
