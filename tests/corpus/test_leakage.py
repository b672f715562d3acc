"""Training pairs that a benchmark asks about: planted copies are found as often as was measured, and other patients' pictures are not."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import REAL, real
from PIL import Image
from rich.console import Console

from radisim_cl.corpus.corpora import Corpus, open_corpus
from radisim_cl.corpus.hashes import FRAMES, Hashes
from radisim_cl.corpus.leakage import CONFIRMED, DISTANCE, SMALL, Candidates, compared, likeness, near
from radisim_cl.errors import InputError
from radisim_cl.phantom import make
from radisim_cl.phantom.sources import SOURCES
from radisim_cl.runs.leakage import Check, check
from radisim_cl.runs.overlaps import Overlap
from radisim_cl.specs.catalog import CatalogSpec, CorpusSpec, PhantomSpec

PATIENTS = 14
"""Of each drawn source, one picture each."""
Change = Callable[[Image.Image], Image.Image]


def scaled(factor: float) -> Change:
    return lambda image: image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.BICUBIC)


def brighter(gain: float, offset: float) -> Change:
    return lambda image: image.point([min(255, max(0, round(gain * grey + offset))) for grey in range(256)])


def cut(x: float, y: float) -> Change:
    """19 of 20 parts of each side; x and y from 0 to 1 say which."""
    def change(image: Image.Image) -> Image.Image:
        width, height = round(0.95 * image.width), round(0.95 * image.height)
        left, top = round(x * (image.width - width)), round(y * (image.height - height))
        return image.crop((left, top, left + width, top + height))
    return change


def jpeg(image: Image.Image) -> Image.Image:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=75)
    return Image.open(io.BytesIO(out.getvalue()))


COPIES: dict[str, Change] = {
    "JPEG": jpeg, "75 %": scaled(0.75), "50 %": scaled(0.5), "brighter": brighter(1.2, 10), "darker": brighter(0.8, -10),
    "cut at a corner": cut(0, 0), "cut all round": cut(0.5, 0.5), "cut elsewhere": cut(0.8, 0.3), "RGB": lambda image: image.convert("RGB"),
    "RGBA": lambda image: image.convert("RGBA"),
}
FOUND, SURE = 0.95, 0.85
"""Shares of copies that are found, and known to be copies, of few pictures; of thousands it was more (docs/design/leakage.md)."""


@dataclass
class Place:
    """A catalog of two corpora, `trained` and `asked`, whose rows say in which split they are, and a benchmark of the second."""

    root: Path
    rows: dict[str, list[dict[str, str]]] = field(default_factory=lambda: {"trained": [], "asked": []})

    def add(self, corpus: str, image: Image.Image | bytes, split: str = "", patient: str = "", **columns: str) -> Path:
        """A row with an image of its own."""
        name = f"images/{corpus}-{len(self.rows[corpus])}.png"
        (self.root / "images").mkdir(exist_ok=True)
        if isinstance(image, bytes):
            (self.root / name).write_bytes(image)
        else:
            image.save(self.root / name)
        row = {"id": name, "patient": patient or name, "image": name, "modality": "CT"} | columns
        self.rows[corpus].append(row | {"split": split or ("train" if corpus == "trained" else "gate")})
        return self.root / name

    def write(self) -> None:
        """The manifests and the YAML files."""
        for name, rows in self.rows.items():
            pd.DataFrame(rows).to_csv(self.root / f"{name}.csv", index=False)
        corpora = {name: {"manifest": f"{name}.csv", "splits": {s: {s: 1} for s in ("train", "tune", "gate", "report")}, "structures": {1: "mass"}}
                   for name in self.rows}
        classes = {v: {"values": [v], "names": [v]} for v in ("CT", "MR")}
        task = {"id": "mod.two", "suite": "modality", "items": [{"source": "asked"}], "column": "modality", "metric": "auc", "classes": classes,
                "templates": ["a {}"]}
        away = task | {"id": "mod.away", "items": [{"source": "elsewhere"}]}
        for file, content in {"catalogs/planted.yaml": {"name": "planted", "root": str(self.root), "corpora": corpora},
                              "benchmarks/planted.yaml": {"name": "planted", "version": "p1", "subtasks": [task, away]}}.items():
            (self.root / file).parent.mkdir(exist_ok=True)
            (self.root / file).write_text(yaml.safe_dump(content))

    def check(self) -> dict[str, Overlap]:
        """What is found, by kind."""
        found = self.whole()
        assert len({o.kind for o in found.found}) == len(found.found)
        return {o.kind: o for o in found.found}

    def whole(self) -> Check:
        """All that is found."""
        self.write()
        return check(["trained"], "planted", "planted")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """An empty place, with a cache of its own, in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RADISIM_CACHE", str(tmp_path / "cache"))
    return Place(tmp_path)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Image.Image]:
    """CTs, MRs and radiographs of the phantom, each of another patient."""
    out: list[Image.Image] = []
    for name in ("radimagenet", "mimic_cxr", "pmc_oa", "internal_mr"):
        folder = tmp_path_factory.mktemp(name)
        for sub in ("images", "masks"):
            (folder / sub).mkdir()
        out += [Image.open(folder / make.one(PhantomSpec(), SOURCES[name], i, folder)[0]["image"]) for i in range(PATIENTS)]
    return out


def data(image: Image.Image) -> bytes:
    """A PNG."""
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def shown(found: Check) -> str:
    """As a terminal shows it, on one line."""
    console = Console(width=200)
    with console.capture() as captured:
        console.print(found.table(5))
    return " ".join(captured.get().split())


# What is found, and how it is told.

def test_a_copy_of_a_file_is_found_and_its_split_named(place: Place, pictures: list[Image.Image]) -> None:
    for i, split in enumerate(("tune", "gate", "report", "report")):
        theirs = place.add("asked", pictures[i], split)
    ours = [place.add("trained", data(pictures[i])) for i in (3, 3, 2)]
    place.add("trained", pictures[5])
    found = place.whole()
    (overlap,) = found.found
    assert overlap.kind == "file", "and not once more as a picture"
    assert overlap.counted().model_dump() == {"source": "trained", "held": "asked", "kind": "file", "pairs": 3, "items": {"report": 2}, "patients": 2}
    assert found.confirmed
    assert f"same file: {ours[0]} ~ {theirs} (report)" in shown(found)


@pytest.mark.parametrize("change", COPIES.values(), ids=list(COPIES))
def test_a_picture_that_was_saved_anew_is_found(place: Place, pictures: list[Image.Image], change: Change) -> None:
    theirs = place.add("asked", pictures[0], "gate")
    place.add("asked", pictures[1], "report")
    ours = place.add("trained", change(pictures[0]))
    place.add("trained", pictures[2])
    found = place.whole()
    (overlap,) = found.found
    assert overlap.counted().model_dump() | {"kind": "picture", "pairs": 1, "items": {"gate": 1}} == overlap.counted().model_dump()
    assert f"same picture: {ours} ~ {theirs} (gate), likeness " in shown(found)


def test_it_does_not_matter_which_of_the_two_was_cut(place: Place, pictures: list[Image.Image]) -> None:
    for image in pictures[:8]:
        place.add("asked", cut(1, 0.2)(image))
        place.add("trained", image)
    assert place.check()["picture"].counted().pairs == 8


def test_a_patient_is_found_whatever_the_pictures_and_is_named_by_a_pseudonym(place: Place, pictures: list[Image.Image]) -> None:
    for i, patient in enumerate(("CANARY-1", "CANARY-2", "somebody")):
        place.add("asked", pictures[i], "report", patient)
        place.add("trained", pictures[i + 4], patient=patient if i < 2 else "else")
        place.add("trained", pictures[i + 8], patient=patient if i < 2 else "else")
    found = place.whole()
    assert [o.counted().model_dump() for o in found.found] == [
        {"source": "trained", "held": "asked", "kind": "patient", "pairs": 4, "items": {"report": 2}, "patients": 2}]
    record = json.dumps(found.record(5))
    assert "CANARY" not in record + shown(found)
    assert len({e["patient"] for e in found.record(5)["overlaps"][0]["examples"]}) == 2


def test_nothing_in_common_is_told_as_such(place: Place, pictures: list[Image.Image]) -> None:
    for i in range(10):
        place.add("asked", pictures[i])
        place.add("trained", pictures[i + 14])
    found = place.whole()
    assert (found.found, found.confirmed, found.unseen) == ([], False, 0)
    assert "10 training pairs of trained against 10 images. Nothing in common" in shown(found)
    assert "Not in the catalog, so not compared: elsewhere." in shown(found)


def test_rows_that_are_not_trained_on_or_not_asked_about_do_not_count(place: Place, pictures: list[Image.Image]) -> None:
    for i, split in enumerate(("tune", "gate", "report")):
        place.add("asked", pictures[i], "gate", f"p{i}")
        place.add("trained", data(pictures[i]), split, f"p{i}")
    place.add("asked", pictures[4], "train", "floor")
    place.add("asked", pictures[5], "gate", "other", modality="DR")
    place.add("trained", data(pictures[4]), patient="floor")
    place.add("trained", data(pictures[5]), patient="other")
    assert place.check() == {}


def test_masks_are_not_pictures(place: Place, pictures: list[Image.Image]) -> None:
    outline = Image.fromarray((np.asarray(pictures[0]) > 99).astype(np.uint8))
    outline.save(place.root / "mask.png")
    place.add("asked", pictures[0], mask="mask.png")
    place.add("asked", pictures[1], mask="images/trained-0.png")
    place.add("trained", pictures[2], mask="mask.png")
    place.add("trained", pictures[3], mask="images/asked-0.png")
    assert place.check() == {}


def test_a_small_picture_is_only_ever_suspected(place: Place, pictures: list[Image.Image]) -> None:
    small = pictures[0].resize((28, 28), Image.Resampling.LANCZOS)
    place.add("asked", small)
    place.add("trained", jpeg(small))
    place.add("trained", brighter(1.1, 0)(small))
    found = place.whole()
    assert [(o.kind, o.counted().pairs) for o in found.found] == [("suspected", 2)]
    assert not found.confirmed
    assert "that is more than suspected" in shown(found)


def test_what_cannot_be_seen_is_counted(place: Place, pictures: list[Image.Image]) -> None:
    place.add("asked", Image.new("L", (96, 96), 7))
    place.add("asked", pictures[0])
    place.add("trained", Image.new("L", (64, 64), 99))
    place.add("trained", data(pictures[1])[:900])
    place.add("trained", b"")
    place.add("trained", pictures[2]).unlink()
    found = place.whole()
    assert (found.found, found.unseen) == ([], 5)
    assert "5 pictures could not be compared" in shown(found)


def test_the_command_line_ends_with_2_only_where_an_overlap_is_confirmed(place: Place, pictures: list[Image.Image]) -> None:
    def run(*args: str) -> subprocess.CompletedProcess[str]:
        place.write()
        command = [sys.executable, "-m", "radisim_cl", "corpus", "check", "trained", "--against", "planted", "--catalog", "planted", *args]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, env=dict(os.environ), cwd=place.root)

    place.add("asked", pictures[0])
    place.add("trained", pictures[1])
    done = run()
    assert (done.returncode, "Nothing in common" in done.stdout) == (0, True), done.stderr
    place.add("trained", jpeg(pictures[0]))
    done = run("--json", "--examples", "1")
    assert done.returncode == 2, done.stderr
    said = json.loads(done.stdout)
    assert (said["benchmark"], said["version"], said["catalog"], said["sources"], said["images"]) == ("planted", "p1", "planted", {"trained": 2}, 1)
    assert [(o["kind"], o["pairs"], len(o["examples"])) for o in said["overlaps"]] == [("picture", 1, 1)]
    assert said["overlaps"][0]["examples"][0]["asked_about"].endswith("asked-0.png")


@pytest.mark.parametrize(("sources", "benchmark", "words"), [
    (["traned"], "planted", "unknown source 'traned' in catalog 'planted'. Did you mean 'trained'?"),
    (["asked"], "planted", "'asked' has no train split"),
    (["trained"], "plantet", "Did you mean 'planted'?"),
    (["trained"], "radiologist-24", "sources of no subtask"),
])
def test_what_cannot_be_checked_is_told(place: Place, pictures: list[Image.Image], sources: list[str], benchmark: str, words: str) -> None:
    place.add("asked", pictures[0])
    place.add("trained", pictures[1])
    place.write()
    with pytest.raises(InputError) as caught:
        check(sources, benchmark, "planted")
    assert words in str(caught.value)


# What is kept.

def corpus(place: Place) -> Corpus:
    place.write()
    return open_corpus(CatalogSpec(name="planted", root=str(place.root), corpora={"trained": CorpusSpec(manifest="trained.csv")}), "trained", "p1")


def test_hashes_are_made_once_for_a_manifest(place: Place, pictures: list[Image.Image]) -> None:
    paths = [place.add("trained", image) for image in pictures[:4]]
    told: list[tuple[str, int, int]] = []
    rows = np.array([3, 0, 1])

    def hashes(c: Corpus) -> list[Any]:
        h = Hashes(c, lambda *progress: told.append(progress))
        return [h.sizes(rows), h.digests(rows), h.looks(rows)]

    first, before = hashes(corpus(place)), corpus(place)
    assert [p[1:] for p in told] == [(3, 3)] * 3
    for path in paths:
        path.write_bytes(data(pictures[5]))
    told.clear()
    for one, other in zip(first, hashes(before), strict=True):
        np.testing.assert_array_equal(one, other)
    assert told == [], "nothing is read again"
    place.rows["trained"][0]["caption"] = "changed"
    assert (hashes(corpus(place))[1][0] != first[1][0]).any(), "another manifest"
    assert (Hashes(before).digests(np.array([2]))[0] == hashes(corpus(place))[1][0]).all(), "a row that was not asked for before"
    assert first[2].shape == (3, len(FRAMES), 2)


def test_a_second_check_compares_nothing_until_something_changes(place: Place, pictures: list[Image.Image], monkeypatch: pytest.MonkeyPatch) -> None:
    for image in pictures[:6]:
        place.add("asked", image)
        place.add("trained", jpeg(image))
    first, calls = place.check(), list[int]()

    def counting(found: Candidates, *args: Any) -> Any:
        calls.append(len(found.train))
        return compared(found, *args)

    monkeypatch.setattr("radisim_cl.runs.overlaps.compared", counting)
    again = place.check()
    assert calls == []
    pd.testing.assert_frame_equal(again["picture"].pairs, first["picture"].pairs)
    place.add("trained", cut(0, 0)(pictures[0]))
    assert place.check()["picture"].counted().pairs == 7
    assert len(calls) == 1


def test_a_cache_that_cannot_be_written_is_told(place: Place, pictures: list[Image.Image], monkeypatch: pytest.MonkeyPatch) -> None:
    place.add("trained", pictures[0])
    monkeypatch.setenv("RADISIM_CACHE", "/dev/null/cache")
    with pytest.raises(InputError, match=r"/dev/null/cache/hashes/trained-.* cannot be kept.*set RADISIM_CACHE"):
        Hashes(corpus(place)).sizes(np.array([0]))


# Candidates and their comparison.

def test_candidates_are_those_of_counting_bits_pair_by_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    train, held = (rng.integers(0, 2**50, (n, len(FRAMES), 2)).astype(np.uint64) for n in (70, 30))
    for i in range(20):  # all of the one is near a part of the other, at distances on both sides of the limit
        part, flips = i % len(FRAMES), rng.choice(50, DISTANCE - 2 + i % 5, replace=False)
        a, b = (train[i, part], held[i, 0]) if i % 2 else (train[i, 0], held[i, part])
        a[:] = b
        a[i % 2] ^= np.uint64(sum(1 << int(f) for f in flips))
    train[60], held[29] = 0, 0
    monkeypatch.setattr("radisim_cl.corpus.leakage._BYTES", 12 * 30 * 16)  # blocks of 16 rows

    def bits(a: Any, b: Any) -> int:
        return sum(int(x ^ y).bit_count() for x, y in zip(a.tolist(), b.tolist(), strict=True))

    expected = {}
    for i in range(60):
        for j in range(29):
            apart = [bits(train[i, 0], held[j, f]) for f in range(len(FRAMES))] + [bits(train[i, f], held[j, 0]) for f in range(1, len(FRAMES))]
            if min(apart) <= DISTANCE:
                expected[i, j] = apart.index(min(apart))
    told: list[int] = []
    found = near(train, held, told.append)
    assert dict(zip(zip(found.train.tolist(), found.held.tolist(), strict=True), found.frame.tolist(), strict=True)) == expected
    assert 10 <= len(expected) <= 16
    assert told == [16, 32, 48, 64, 70]


def test_nothing_is_near_nothing() -> None:
    empty, some = np.zeros((0, len(FRAMES), 2), dtype=np.uint64), np.ones((3, len(FRAMES), 2), dtype=np.uint64)
    for found in (near(empty, some), near(some, empty), near(0 * some, 0 * some)):
        assert len(found.train) == len(found.held) == len(found.frame) == 0
        assert [len(x) for x in compared(found, [], [])] == [0, 0]


def test_likeness_finds_the_part_that_was_cut_and_no_other_body(pictures: list[Image.Image]) -> None:
    for i, image in enumerate(pictures[:20]):
        assert likeness(image, image) == pytest.approx(1)
        assert likeness(cut(0.3, 0.9)(image), image, 3) > CONFIRMED
        assert likeness(image, pictures[i + 20]) < CONFIRMED - 0.05
    assert likeness(Image.new("L", (96, 96), 3), pictures[0]) == 0


def test_copies_are_found_as_often_as_was_measured_and_other_patients_are_not(place: Place, pictures: list[Image.Image]) -> None:
    kinds = list(COPIES)
    half = len(pictures) // 2
    mine, others = pictures[::2], pictures[1::2]
    for image in mine:
        place.add("asked", image, "report")
    for change in COPIES.values():
        for image in mine:
            place.add("trained", change(image))
    for image in others:
        place.add("trained", image)
    found = place.check()

    def share(*which: str) -> dict[str, float]:
        pairs = pd.concat([found[k].pairs for k in which if k in found])
        right = pairs[pairs["row"] % half == pairs["item"]]
        right = right[right["row"] < half * len(kinds)]
        return {kind: float((right["row"] // half == k).sum()) / half for k, kind in enumerate(kinds)}

    assert all(v >= SURE for v in share("picture").values()), share("picture")
    assert all(v >= FOUND for v in share("picture", "suspected").values()), share("picture", "suspected")
    sure = found["picture"].pairs
    assert (sure["row"] % half == sure["item"]).all(), "another patient's picture is never taken for a copy"
    assert (sure["row"] < half * len(kinds)).all()
    assert min(image.size[0] for image in pictures) * 0.5 >= SMALL


@real
def test_the_open_sample_has_the_copies_that_were_seen_in_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Four training images of one data set that it asks about under other ids, and one file; nothing else (docs/open_sample.md)."""
    monkeypatch.setenv("RADISIM_REAL", str(Path(REAL or "").resolve()))
    monkeypatch.chdir(tmp_path)
    found = check(["brain_tumor_mri", "pneumoniamnist", "shenzhen_cxr", "knee_oa_xray", "kidney_stone_ct"], "open_sample", "open_sample")
    assert [(o.source, o.kind, o.counted().pairs) for o in found.found if o.kind != "suspected"] == [
        ("brain_tumor_mri", "picture", 4), ("pneumoniamnist", "file", 1)]
    assert sum(o.counted().pairs for o in found.found if o.kind == "suspected") <= 5


@real
@pytest.mark.parametrize(("kind", "share", "sure"), [
    ("JPEG", 0.98, 0.92), ("50 %", 0.99, 0.97), ("brighter", 0.88, 0.78), ("cut elsewhere", 0.95, 0.93),
])
def test_copies_of_real_images_are_found_as_often_as_was_measured(place: Place, kind: str, share: float, sure: float) -> None:
    paths = [p for name in ("brain_tumor_mri", "shenzhen_cxr", "knee_oa_xray") for p in sorted((Path(REAL or "") / name / "images").iterdir())[::12]]
    for path in paths:
        place.add("asked", Image.open(path).convert("L"))
        place.add("trained", COPIES[kind](Image.open(path).convert("L")))
    found = place.check()
    right = {k: {row for row, item in zip(o.pairs["row"], o.pairs["item"], strict=True) if row == item} for k, o in found.items()}
    assert len(right["picture"]) >= sure * len(paths)
    assert len(set().union(*right.values())) >= share * len(paths)
