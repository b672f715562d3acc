"""Pictures that are pictures already: tables, folders of classes, shards; and what becomes of a corpus that several write at once."""

from __future__ import annotations

import io
import json
import multiprocessing
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import yaml
from _made import CANARY, declaring, jpeg, png, shard
from _sources import SOURCES
from conftest import World
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from test_ingest import SITE, made

from radisim_cl.corpus.corpora import open_corpus
from radisim_cl.errors import InputError, RadisimError
from radisim_cl.ingest import _flat
from radisim_cl.ingest import images as images_layout
from radisim_cl.ingest._corpus import ingest
from radisim_cl.ingest._levels import level
from radisim_cl.ingest._parts import Part
from radisim_cl.ingest._protocol import Picture, Record, Settings, UnusableError
from radisim_cl.ingest._tables import Table, frame, jsonl, objects
from radisim_cl.specs.catalog import CatalogSpec, CorpusSpec

SECRET = "0123456789abcdef"


def seen(file: Path, asked: Settings | None = None) -> Picture:
    (picture,) = _flat.pictures(Record("k", "p", (file,)), asked or Settings(size=64))
    return picture


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_a_table_in_any_form_says_what_is_known_of_pictures(tmp_path: Path, ending: str) -> None:
    for k in range(3):
        png(tmp_path / "in" / "scans" / f"{k}.png", k)
    rows = pd.DataFrame({"File": [f"scans/{k}.png" for k in range(3)], "who": [f"{CANARY}-{k // 2}" for k in range(3)],
                         "text": ["CT of the chest", "severe pneumonia", ""], "modality": "CT", "finding": ["", "pneumonia", "normal"]})
    table = tmp_path / f"t.{ending}"
    match ending:
        case "parquet":
            rows.to_parquet(table)
        case "jsonl":
            rows.to_json(table, orient="records", lines=True)
        case _:
            rows.to_csv(table, index=False, sep="\t" if ending == "tsv" else ",")
    known = Table.read(table, {"path": "File", "patient": "who", "caption": "text", "labels": "finding"}, {})
    frame, card = made("images", tmp_path / "in", tmp_path / "out", table=known, licence="CC0")
    found = {row["caption"]: row for row in frame.to_dict("records")}
    assert [found["severe pneumonia"][c] for c in ("modality", "labels", "licence", "level", "window")] == [
        "CT", "pneumonia", "CC0", "grading", _flat.AS_IT_WAS]
    assert found["CT of the chest"]["patient"] == found["severe pneumonia"]["patient"] != found[""]["patient"]
    assert (card["captions"], card["by_level"]) == (2, {"anatomy": 1, "grading": 1})
    nothing_private(tmp_path / "out")


def nothing_private(out: Path, *names: str) -> None:
    for file in out.rglob("*"):
        for name in (CANARY, *names):
            assert name not in file.name
            assert not file.is_file() or name.encode() not in file.read_bytes(), file


def test_a_folder_is_a_class_and_duplicates_are_counted(tmp_path: Path) -> None:
    for k, name in enumerate(("train/no_tumor", "train/glioma", "Testing/glioma")):
        png(tmp_path / "in" / name / f"{CANARY}.png", k)
    jpeg(tmp_path / "in" / "train" / "glioma" / "b.JPG", 1)
    png(tmp_path / "in" / "Testing" / "glioma" / "again.png", 0)
    frame, card = made("folders", tmp_path / "in", tmp_path / "out")
    assert sorted(zip(frame["split"], frame["labels"], strict=True)) == [
        ("test", "glioma"), ("test", "glioma"), ("train", "glioma"), ("train", "glioma"), ("train", "no tumor")]
    assert card["duplicates"] == {
        "pictures that an earlier one is the same as": 1, "of them between patients": 1, "pictures that look like one of another patient": 1,
        "pairs of such that were compared": 1, "of them the same picture, saved anew": 0}
    assert card["by_split"] == {"train": 3, "test": 2}
    nothing_private(tmp_path / "out")
    png(tmp_path / "in" / "astray.png", 3)
    with pytest.raises(InputError, match="1 x an image that lies in no folder of a class"):
        made("folders", tmp_path / "in", tmp_path / "other")


def test_shards_become_pictures_of_one_size(tmp_path: Path) -> None:
    big = png(tmp_path / "x.png", 1, (90, 120)).read_bytes()
    for s in range(2):
        shard(tmp_path / "in" / f"{s}.tar", {"a.png": big, "a.txt": b"CT of\nthe chest ", "a.json": json.dumps(
            {"patient": CANARY, "modality": "CT", "age": 7, "id": CANARY}).encode(), "b.jpg": big, "b.json": b"not json", "c.txt": b"alone"})
    frame, card = made("webdataset", tmp_path / "in", tmp_path / "out", settings=Settings(size=40), most_unusable=0.5)
    assert card["left_out"] == {"a key without an image": 2}
    assert (len(frame), frame["patient"].nunique(), sorted(set(frame["caption"]))) == (4, 3, ["", "CT of the chest"])
    assert {Image.open(tmp_path / "out" / name).size for name in frame["image"]} == {(40, 30)}
    nothing_private(tmp_path / "out")


@pytest.mark.parametrize(("name", "said"), [("../x.png", "leads out of the folder"), ("/x.png", "leads out of the folder"), ("x.pkl", "runs code")])
def test_a_shard_that_could_do_harm_is_refused(tmp_path: Path, name: str, said: str) -> None:
    shard(tmp_path / "in" / "0.tar", {name: b"x"})
    with pytest.raises(InputError, match=said):
        made("webdataset", tmp_path / "in", tmp_path / "out")
    for data, why in ((b"", "is empty"), (b"x" * 700, "cannot be read as an uncompressed tar")):
        (tmp_path / "in" / "0.tar").write_bytes(data)
        with pytest.raises(InputError, match=why):
            made("webdataset", tmp_path / "in", tmp_path / "out")


def test_eight_bits_stay_as_they_are_and_sixteen_are_windowed(tmp_path: Path) -> None:
    grey = np.arange(48 * 32, dtype=np.uint16).reshape(48, 32)
    Image.fromarray((grey % 256).astype(np.uint8)).save(tmp_path / "8.png")
    assert (seen(tmp_path / "8.png").pixels == grey % 256).all()
    Image.fromarray(grey).save(tmp_path / "16.png")
    deep = seen(tmp_path / "16.png")
    assert deep.window.startswith("percentiles 0.5 to 99.5: ")
    assert (deep.pixels.min(), deep.pixels.max()) == (0, 255)
    assert abs(int(deep.pixels[24, 0]) - 127) <= 2
    Image.fromarray(np.stack([grey % 256] * 3, -1).astype(np.uint8)).save(tmp_path / "rgb.tif")
    assert (seen(tmp_path / "rgb.tif").pixels == grey % 256).all()
    assert seen(tmp_path / "8.png", Settings(size=24)).pixels.shape == (24, 16)
    turned = Image.fromarray((grey % 256).astype(np.uint8))
    exif = Image.Exif()
    exif[274] = 6  # a quarter to the right
    turned.save(tmp_path / "turned.png", exif=exif)
    assert (seen(tmp_path / "turned.png").pixels == np.rot90(grey % 256, -1)).all()


def test_what_is_no_picture_is_said(tmp_path: Path) -> None:
    whole = jpeg(tmp_path / "whole.jpg", 1, (200, 200)).read_bytes()
    bomb = declaring(png(tmp_path / "x.png", 1).read_bytes(), 60_000, 60_000)
    for name, data, said in (("short.jpg", whole[:len(whole) // 2], "no image that can be decoded"),
                             ("bomb.png", bomb, "declares more than 4 GiB"), ("empty.png", b"", "no image that can be decoded")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UnusableError, match=said):
            seen(tmp_path / name)
    with pytest.raises(UnusableError, match="not there"):
        seen(tmp_path / "none.png")
    with pytest.raises(UnusableError, match=r"declares more than 0\.0001 GiB"):
        seen(tmp_path / "whole.jpg", Settings(gigabytes=1e-4))


def test_a_mask_is_resized_with_its_picture(tmp_path: Path) -> None:
    values = np.zeros((60, 80), dtype=np.uint8)
    values[10:30, 20:60] = 7
    Image.fromarray(values).save(tmp_path / "m.png")
    png(tmp_path / "i.png", 1, (60, 80))
    (picture,) = _flat.pictures(Record("k", "p", (tmp_path / "i.png",), masks=(tmp_path / "m.png",)), Settings(size=40))
    assert picture.mask is not None
    assert (picture.mask == values[::2, ::2]).mean() > 0.99
    png(tmp_path / "j.png", 1, (60, 60))
    with pytest.raises(UnusableError, match="not of its image's size"):
        list(_flat.pictures(Record("k", "p", (tmp_path / "j.png",), masks=(tmp_path / "m.png",)), Settings()))


def test_a_caption_that_names_the_patient_is_left_out(tmp_path: Path) -> None:
    png(tmp_path / "in" / "a.png", 0)
    known = Table({"a.png": {"patient": CANARY, "caption": f"CT of {CANARY}"}})
    with pytest.raises(InputError, match="a caption or label that holds the patient's id"):
        made("images", tmp_path / "in", tmp_path / "out", table=known)
    nothing_private(tmp_path / "out")


def test_a_table_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    png(tmp_path / "secret.png", 0)
    png(tmp_path / "in" / "a.png", 0)
    with pytest.raises(InputError, match="1 of 1 files of the table are not under"):
        made("images", tmp_path / "in", tmp_path / "out", table=Table({"../secret.png": {}}))


def test_what_a_layout_tells_can_be_asked_for(tmp_path: Path) -> None:
    for k, name in enumerate(("train/a", "test/a")):
        png(tmp_path / "in" / name / "x.png", k)
    frame, _ = made("folders", tmp_path / "in", tmp_path / "out", where={"split": ["test"]})
    assert frame["split"].tolist() == ["test"]
    with pytest.raises(InputError, match="Did you mean 'split'"):
        made("folders", tmp_path / "in", tmp_path / "other", where={"spilt": ["test"]})


def many(folder: Path, n: int = 12) -> Path:
    for k in range(n):
        png(folder / f"{k:02d}.png", k)
    return folder


def test_parts_make_the_corpus_that_one_process_makes(tmp_path: Path) -> None:
    whole, _ = made("images", many(tmp_path / "in"), tmp_path / "whole")
    for k in (3, 1):
        card = ingest("images", tmp_path / "in", tmp_path / "out", Settings(3, 20), SITE, part=Part(k, 3))
        assert card == {"open": 8 if k == 3 else 4}
        assert not (tmp_path / "out" / "manifest.parquet").exists()
    card = ingest("images", tmp_path / "in", tmp_path / "out", Settings(3, 20), SITE, part=Part(2, 3))
    assert card["pairs"] == 12
    pd.testing.assert_frame_equal(whole, pd.read_parquet(tmp_path / "out" / "manifest.parquet"))
    assert ingest("images", tmp_path / "in", tmp_path / "out", Settings(3, 20), SITE, part=Part(1, 3)) == card


def run_part(folder: Path, out: Path, k: int) -> None:
    ingest("images", folder, out, Settings(3, 20), SITE, part=Part(k, 4))


def test_parts_at_the_same_time_make_one_corpus(tmp_path: Path) -> None:
    whole, _ = made("images", many(tmp_path / "in", 40), tmp_path / "whole")
    tasks = [multiprocessing.get_context("fork").Process(target=run_part, args=(tmp_path / "in", tmp_path / "out", k)) for k in range(1, 5)]
    for task in tasks:
        task.start()
    for task in tasks:
        task.join(60)
    assert [task.exitcode for task in tasks] == [0] * 4
    pd.testing.assert_frame_equal(whole, pd.read_parquet(tmp_path / "out" / "manifest.parquet"))


@pytest.mark.parametrize(("held", "part"), [(".out.lock", Part()), (".out.2-of-3.lock", Part()), (".out.1-of-3.lock", Part(1, 3))])
def test_two_ingestions_exclude_each_other(tmp_path: Path, held: str, part: Part) -> None:
    many(tmp_path / "in", 3)
    with FileLock(tmp_path / held), pytest.raises(RadisimError, match="another ingestion is at work in"):
        ingest("images", tmp_path / "in", tmp_path / "out", Settings(3, 20), SITE, part=part)
    assert ingest("images", tmp_path / "in", tmp_path / "out", Settings(3, 20), SITE, part=Part())["pairs"] == 3


def test_many_records_share_a_file_of_what_was_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = made("images", many(tmp_path / "in"), tmp_path / "whole")
    monkeypatch.setattr("radisim_cl.ingest._corpus._BLOCKS", (3, 3))
    assert ingest("images", tmp_path / "in", tmp_path / "out", Settings(3, 20), SITE, part=Part(1, 3)) == {"open": 2}
    assert len(list((tmp_path / "out" / "parts").iterdir())) == 1
    frame, _ = made("images", tmp_path / "in", tmp_path / "out")
    pd.testing.assert_frame_equal(frame, whole)


def test_the_command_line_writes_shards_and_a_catalog_entry(world: World) -> None:
    many(world.root / "in" / "train" / "normal", 5)
    done = world.cli("ingest", "folders", "in", "--out", "made", "--shard-size", "2kB", "--licence", "CC0", RADISIM_SALT=SECRET)
    assert done.returncode == 0, done.stderr
    entry = yaml.safe_load((world.root / "made" / "card.yaml").read_text())["catalog"]
    files = open_corpus(CatalogSpec(name="x", root=str(world.root), corpora={"c": CorpusSpec.model_validate(entry)}), "c", "")
    packed = CatalogSpec(name="x", root=str(world.root), corpora={"c": CorpusSpec(manifest="made/packed/manifest.parquet")})
    shards = open_corpus(packed, "c", "")
    assert len(list((world.root / "made" / "packed" / "shards").iterdir())) > 1
    assert [files.image(k).read_bytes() for k in range(5)] == [shards.image(k).read_bytes() for k in range(5)]


@pytest.mark.parametrize(("args", "said"), [(("--part", "4/3"), "--part 4/3: is no part of a whole"), (("--part", "0/3"), "no part of a whole"),
                                            (("--shard-size", "big"), "--shard-size big: is no size"),
                                            (("--uncertain", "maybe"), "--uncertain maybe: Known: negative, positive, skip"),
                                            (("--where", "split=x"), "and is wanted")])
def test_what_is_asked_for_wrongly_is_said(world: World, args: tuple[str, ...], said: str) -> None:
    many(world.root / "in" / "train" / "normal", 1)
    done = world.cli("ingest", "folders", "in", "--out", "made", *args, RADISIM_SALT=SECRET)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("name", "data", "said"), [
    ("t.csv", b"", "is empty"), ("t.csv", b"path\n\xff\xfe\n", "not UTF-8"), ("t.csv", b'path\n"a\n', "cannot be read as a table"),
    ("t.csv", b"pth\nx\n", "Did you mean 'pth'"), ("t.jsonl", b'{"path": "x"}\n[1]\n', "t.jsonl:2: must be an object with fields, not list"),
    ("t.jsonl", b'{"path": "x"}\n{\n', "t.jsonl:2: no JSON in UTF-8"), ("t.jsonl", b"\xff", "no JSON in UTF-8"),
    ("t.parquet", b"PAR1", "cannot be read"),
    ("t.xlsx", b"PK", "cannot be unpacked"),
])
def test_a_table_that_cannot_be_read_is_said_with_its_line(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=said.replace("'path'", "'pth'")):
        Table.read(tmp_path / name, {}, {})


@given(st.binary(max_size=300))
@settings(max_examples=150)
def test_no_bytes_crash_a_reader_of_tables(tmp_path_factory: pytest.TempPathFactory, noise: bytes) -> None:
    folder = tmp_path_factory.mktemp("noise")
    for name in ("t.csv", "t.tsv", "t.jsonl", "t.json", "t.parquet", "t.xlsx"):
        (folder / name).write_bytes(noise)
        try:
            if name == "t.json":
                objects(folder / name)
            elif name == "t.jsonl":
                list(jsonl(folder / name))
            else:
                frame(folder / name)
        except InputError:
            continue


@given(noise=st.binary(max_size=200), at=st.integers(0, 400), kind=st.sampled_from(["PNG", "JPEG", "TIFF", "BMP", "WEBP"]))
@settings(max_examples=150)
def test_no_bytes_crash_a_reader_of_pictures(tmp_path_factory: pytest.TempPathFactory, noise: bytes, at: int, kind: str) -> None:
    file = tmp_path_factory.mktemp("noise") / "x.png"
    buffer = io.BytesIO()
    Image.fromarray(np.arange(400, dtype=np.uint8).reshape(20, 20)).save(buffer, kind)
    raw = buffer.getvalue()
    file.write_bytes(raw[:at] + noise + raw[at + len(noise):])
    try:
        pixels: npt.NDArray[np.uint8] = seen(file, Settings(size=16, gigabytes=0.01)).pixels
    except UnusableError:
        return
    assert pixels.dtype == np.uint8
    assert max(pixels.shape) <= 16


@pytest.mark.parametrize(("caption", "labels", "expected"), [
    ("WHO grade II astrocytoma of the left temporal lobe", "", "grading"), ("Severe stenosis of the right carotid artery", "", "grading"),
    ("BI-RADS 4 mass", "", "grading"), ("T2N1 carcinoma", "", "grading"), ("malignant pleural effusion", "", "grading"),
    ("Axial CT shows pulmonary embolism", "", "diagnosis"), ("No acute cardiopulmonary process.", "", "diagnosis"),
    ("Chest radiograph", "Pleural_Effusion", "diagnosis"), ("appendicitis in an axial CT", "", "diagnosis"),
    ("Coronal MRI of the left knee", "", "localization"), ("The arrow points to the common bile duct on MRCP", "", "localization"),
    ("CT at the level of L4/L5", "", "localization"), ("Axial CT of the abdomen", "", "anatomy"), ("brain", "", "anatomy"),
    ("T1-weighted image", "", "modality"), ("X-ray", "", "modality"), ("Flow chart of the study", "", ""), ("", "", ""),
])
def test_a_caption_serves_the_furthest_stage_that_its_words_ask_for(caption: str, labels: str, expected: str) -> None:
    assert level(caption, labels) == expected


def test_layouts_are_modules_of_one_form() -> None:
    from inspect import signature

    from radisim_cl.ingest._protocol import About
    from radisim_cl.registry import kinds, plugin

    for name in kinds("radisim_cl.ingest"):
        module = plugin("radisim_cl.ingest", name)
        assert isinstance(module.ABOUT, About), name
        assert module.ENDINGS, name
        assert list(signature(module.records).parameters) == ["files", "folder", "settings"], name
        assert list(signature(module.pictures).parameters)[:2] == ["record", "settings"], name
        assert module.__doc__, name
    assert About() == images_layout.ABOUT


def test_a_record_that_stands_twice_is_written_once_and_counted(tmp_path: Path) -> None:
    png(tmp_path / "in" / "PMC1_F1.png", 0)
    line = json.dumps({"image": "PMC1_F1.png", "caption": "CT of the chest."})
    (tmp_path / "in" / "train.jsonl").write_text(f"{line}\n{line}\n")
    frame, card = made("pmc_oa", tmp_path / "in", tmp_path / "out", most_unusable=0.5)
    assert (len(frame), card["left_out"]) == (1, {"the key of an earlier record": 1})


@pytest.mark.parametrize(("folder", "said"), [("nowhere", "nowhere is not a folder"), ("pipe:cat x", "pipe:cat x is not a folder"),
                                              ("empty", "empty: no file that ends in .png")])
def test_a_folder_without_pictures_is_said(world: World, folder: str, said: str) -> None:
    (world.root / "empty").mkdir()
    done = world.cli("ingest", "images", folder, "--out", "made", RADISIM_SALT=SECRET)
    assert done.returncode == 2
    assert said in done.stderr
    assert not (world.root / "made").exists()


def test_a_part_that_was_cut_to_nothing_is_done_again(tmp_path: Path) -> None:
    whole, _ = made("images", many(tmp_path / "in", 4), tmp_path / "whole")
    ingest("images", tmp_path / "in", tmp_path / "out", Settings(3, 20), SITE, part=Part(1, 2))
    next((tmp_path / "out" / "parts").iterdir()).write_text("")
    frame, _ = made("images", tmp_path / "in", tmp_path / "out")
    pd.testing.assert_frame_equal(frame, whole)


def test_a_table_chooses_among_what_a_layout_finds(tmp_path: Path) -> None:
    folder = SOURCES["openi"](tmp_path / "in", 3)
    name = "NLMCXR_png/CXR2_IM-0001-1001.png"
    frame, card = made("openi", folder, tmp_path / "out", table=Table({name: {"split": "test"}}))
    assert (frame["split"].tolist(), frame["anatomy"].tolist(), card["left_out"]) == (["test"], ["chest"], {})
