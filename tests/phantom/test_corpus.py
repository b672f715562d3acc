"""The corpora on disk: the same from any machine and in any order, whole or absent, and true in what they say."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from radisim_cl.bench.items import items, pseudonym
from radisim_cl.corpus.corpora import Corpora, matches
from radisim_cl.corpus.splits import positions
from radisim_cl.errors import InputError
from radisim_cl.phantom import make
from radisim_cl.phantom.exams import Exam, body
from radisim_cl.phantom.patients import Patient, generator
from radisim_cl.phantom.sections import NORMAL
from radisim_cl.phantom.sources import SOURCES
from radisim_cl.phantom.sources._base import CODES, STRUCTURES, Source, graded, meeting, modality, spared
from radisim_cl.specs.benchmark import OrdinalSubtask, load_benchmark
from radisim_cl.specs.catalog import SYNTHETIC, CatalogSpec, PhantomSpec, load_catalog
from radisim_cl.specs.curriculum import load
from radisim_cl.stats import overlap

ROOT = Path(__file__).parents[2]
SPEC = PhantomSpec(size=32, scale=0.012)
FEW = ("chaos", "ct_ich", "openi")
"""Of which a phantom is made where all sources would take too long."""
ENSURE = """
import sys
from pathlib import Path
from radisim_cl.errors import InputError
from radisim_cl.phantom import make
from radisim_cl.specs.catalog import PhantomSpec
if __name__ == "__main__":
    make.SOURCES = {{name: make.SOURCES[name] for name in {few!r}}}
    {before}
    try:
        print(make.ensure(PhantomSpec.model_validate_json({spec!r}), processes={processes}))
    except InputError as e:
        print(e)
        sys.exit(2)
"""


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """$RADISIM_CACHE of this session."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def corpus(cache: Path) -> Path:
    """A small phantom, made by one process."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("RADISIM_CACHE", str(cache))
        return make.ensure(SPEC, processes=1)


@pytest.fixture(scope="session")
def corpora(corpus: Path) -> Corpora:
    """The small phantom through its own catalog and benchmark."""
    catalog = load_catalog("phantom", ROOT).model_copy(update={"root": str(corpus)})
    return Corpora(catalog, load_benchmark("radiologist-24", ROOT).version)


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def script(tmp_path: Path, processes: int = 2, before: str = "pass", few: tuple[str, ...] = FEW) -> list[str]:
    """A command that makes a phantom of a few sources."""
    path = tmp_path / "ensure.py"
    path.write_text(ENSURE.format(few=few, before=before, spec=SPEC.model_dump_json(), processes=processes))
    return [sys.executable, str(path)]


def environment(cache: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "RADISIM_CACHE": str(cache), **more}


# The same bytes


def test_two_processes_make_the_same_files(corpus: Path, tmp_path: Path) -> None:
    make.make(SPEC, tmp_path / "two", processes=2)
    assert content(tmp_path / "two") == content(corpus)


def test_patients_may_be_made_in_any_order(corpus: Path, tmp_path: Path) -> None:
    for name in ("pmc_oa", "lits_organs", "mrnet", "institution"):
        for sub in ("images", "masks"):
            (tmp_path / name / sub).mkdir(parents=True)
        for i in reversed(range(8)):
            make.one(SPEC, SOURCES[name], i, tmp_path / name)
        found = content(tmp_path / name)
        assert len(found) >= 8
        assert all((corpus / name / k).read_bytes() == v for k, v in found.items())


REDUCED = """
import json, sys
from pathlib import Path
from radisim_cl.phantom import make
from radisim_cl.specs.catalog import PhantomSpec
spec, out = PhantomSpec.model_validate_json(sys.argv[1]), Path(sys.argv[2])
rows = {}
for name, source in make.SOURCES.items():
    for sub in ("images", "masks"):
        (out / name / sub).mkdir(parents=True)
    rows[name] = [row for i in range(3) for row in make.one(spec, source, i, out / name)]
print(json.dumps(rows))
"""


def test_other_machines_make_the_same_corpus_to_a_rounding(corpus: Path, tmp_path: Path) -> None:
    """Without the wide vector units, numpy's sines differ in a last bit: now and then a pixel rounds to the next grey level, or an edge moves
    by one of a pixel's positions; ids, labels and captions are the same."""
    off = {"NPY_DISABLE_CPU_FEATURES": " ".join(import_module("numpy._core._multiarray_umath").__cpu_dispatch__)}
    probe = "import numpy as np; print(np.sin(np.linspace(-20, 20, 100_000, dtype=np.float32)).tobytes().hex())"
    sines = [subprocess.run([sys.executable, "-c", probe], env=environment(tmp_path, **e), capture_output=True, text=True, timeout=60).stdout
             for e in ({}, off)]
    if sines[0] == sines[1]:
        pytest.skip("this machine has one way only to compute a sine")
    made = subprocess.run([sys.executable, "-c", REDUCED, SPEC.model_dump_json(), str(tmp_path / "reduced")], env=environment(tmp_path, **off),
                          capture_output=True, text=True, timeout=300)
    assert made.returncode == 0, made.stderr[-2000:]
    pixels = different = far = mask_pixels = mask_different = 0
    for name, rows in json.loads(made.stdout).items():
        frame = pd.read_parquet(corpus / name / "manifest.parquet")
        mine = frame[frame["patient"].isin({r["patient"] for r in rows})]
        assert mine["id"].tolist() == [r["id"] for r in rows]
        for column in set(mine.columns) - {"caption"}:  # captions of the whole are spoilt later, by position
            assert mine[column].tolist() == [r[column] for r in rows], (name, column)
        for path in (tmp_path / "reduced" / name).rglob("*.png"):
            ours = np.asarray(Image.open(corpus / path.relative_to(tmp_path / "reduced"))).astype(int)
            gap = np.abs(ours - np.asarray(Image.open(path)).astype(int))
            if path.parent.name == "masks":
                mask_pixels, mask_different = mask_pixels + gap.size, mask_different + int((gap > 0).sum())
            else:
                pixels, different, far = pixels + gap.size, different + int((gap > 0).sum()), far + int((gap > 1).sum())
    assert pixels > 50_000
    print(f"{different} of {pixels} pixels differ, {far} by more than one level; {mask_different} of {mask_pixels} pixels of masks")
    assert different < 2e-3 * pixels
    assert far < 2e-4 * pixels
    assert mask_different < 1e-3 * mask_pixels


def test_another_seed_has_other_patients(corpus: Path, tmp_path: Path) -> None:
    other = SPEC.model_copy(update={"seed": 1})
    assert make.digest(other) != make.digest(SPEC)
    for name in ("br35h", "openi"):
        (tmp_path / name / "images").mkdir(parents=True)
        for i in range(6):
            make.one(other, SOURCES[name], i, tmp_path / name)
            assert replace(Patient.draw(1, f"{name}-{i:05d}"), seed=0) != Patient.draw(0, f"{name}-{i:05d}")
        for path in (tmp_path / name).rglob("*.png"):
            before = corpus / path.relative_to(tmp_path)
            assert not before.is_file() or before.read_bytes() != path.read_bytes()


# What is in them


def test_every_source_of_the_catalog_and_no_other(corpora: Corpora, corpus: Path) -> None:
    assert set(corpora.catalog.corpora) == set(SOURCES) == {p.name for p in corpus.iterdir()}
    for name, spec in corpora.catalog.corpora.items():
        assert dict(corpora[name].structures) == (STRUCTURES if "mask" in SOURCES[name].columns else {}), name
        assert spec.manifest == f"{name}/manifest.parquet"


def test_columns_are_those_declared(corpus: Path) -> None:
    for name, source in SOURCES.items():
        frame = pd.read_parquet(corpus / name / "manifest.parquet")
        assert set(frame.columns) == set(source.columns), name
        assert (corpus / name / "masks").is_dir() == ("mask" in source.columns)
        card = yaml.safe_load((corpus / name / "card.yaml").read_text())
        assert card["notice"] == SYNTHETIC
        assert (card["pairs"], card["patients"]) == (len(frame), frame["patient"].nunique())
        assert card["columns"] == list(frame.columns)
    assert {"mask", "labels"} & set(SOURCES["pmc_oa"].columns) == set()
    assert {"mask", "caption"} & set(SOURCES["radimagenet"].columns) == set()
    assert {n for n, s in SOURCES.items() if "mask" in s.columns} == {"institution", "amos", "chaos", "ct_org"}
    assert {"caption"} & {c for n in ("chexpert", "mrnet", "br35h", "amos", "totalsegmentator") for c in SOURCES[n].columns} == set()


def test_ids_are_unique_and_files_are_what_rows_say(corpora: Corpora) -> None:
    every: list[str] = []
    for name in SOURCES:
        frame, folder = corpora[name].frame, corpora[name].folder
        every += frame["id"].tolist()
        assert frame["id"].str.startswith(name).all()
        assert {p.name for p in (folder / "images").iterdir()} == {Path(p).name for p in frame["image"]}
        for row in frame.index[:4]:
            with Image.open(corpora[name].image(row).path) as picture:
                assert picture.mode == "L"
                assert picture.size == (SOURCES[name].size or SPEC.size,) * 2
        for row in frame.index[frame["mask"] != ""]:
            mask = corpora[name].mask(row)
            assert mask is not None
            values = set(np.unique(np.asarray(Image.open(mask.path))).tolist())
            assert values <= {0, *STRUCTURES}
            assert values - {0, 1}, "some structure is in the picture"
    assert len(set(every)) == len(every)


def test_patients_stay_in_one_split(corpora: Corpora) -> None:
    splits: dict[str, set[str]] = {}
    for name in SOURCES:
        frame = corpora[name].frame
        assert (frame.groupby("patient")["split"].nunique() == 1).all()
        for patient, split in zip(frame["patient"], frame["split"], strict=True):
            splits.setdefault(patient, set()).add(split)
    assert all(len(s) == 1 for s in splits.values())
    shared = [set(corpora[n].frame["patient"]) for n in ("lits_organs", "ct_org")]
    assert shared[0] == shared[1]
    held = {n for n, s in corpora.catalog.corpora.items() if s.splits["*"].get("report")}
    trained = {n for n, s in corpora.catalog.corpora.items() if s.splits == {"*": {"train": 1}}}
    assert held | trained == set(SOURCES)
    assert {p for n in held for p in corpora[n].frame["patient"]} & {p for n in trained for p in corpora[n].frame["patient"]} == set()
    assert 0 <= positions(corpora.catalog.name, ["lits-00000"]).item() < 1


def test_planes_of_one_ct_and_its_masks_are_of_the_same_patients(corpora: Corpora) -> None:
    """Whose answers are resampled together: they have one name, whatever the subtask and the source."""
    spec, asked = load_benchmark("radiologist-24", ROOT), ("anat.ct_axial", "anat.ct_sagittal", "anat.ct_coronal", "loc.ct_org")
    patients = [np.array([pseudonym(spec, p) for p in items(s, corpora, "report")["patient"]]) for s in spec.subtasks if s.id in asked]
    assert len(patients) == 4
    assert len({frozenset(p) for p in patients}) == 1
    assert (overlap(patients) > 0.8).all()


@pytest.mark.parametrize("curriculum", ["radiologist", "radisim3"])
def test_every_entry_of_a_curriculum_finds_pairs(corpora: Corpora, curriculum: str) -> None:
    for stage in load(ROOT / "curricula" / f"{curriculum}.yaml").stages:
        for entry in stage.data.mixture:
            frame = corpora[entry.source].frame
            found = frame[(frame["split"] == "train") & matches(frame, entry.where)]
            assert len(found), (stage.name, entry.source, entry.where)
            assert (found["caption" if entry.captions == "own" else "labels"] != "").any() or entry.captions in ("modality", "anatomy")
            if entry.captions in ("modality", "anatomy"):
                assert (found[entry.captions] != "").all()


def test_every_subtask_finds_its_items_and_classes_cover_all_labels(corpora: Corpora) -> None:
    for subtask in load_benchmark("radiologist-24", ROOT).subtasks:
        for part in subtask.items:
            frame = corpora[part.source].frame
            found = frame[matches(frame, part.where)]
            assert len(found) >= 4, subtask.id
            if subtask.protocol == "ground":
                assert set(subtask.structures) <= set(corpora[part.source].structures.values())
                assert (found["mask"] != "").all()
            elif subtask.protocol != "retrieve":
                known = {v for c in subtask.classes.values() for v in c.values}
                # Volumes of mod.t1c leave angiograms out; everything else has a class for each label.
                assert set(found[subtask.column]) <= known | {""}, subtask.id


# Sides


def sided(source: Source, patients: int) -> Iterator[tuple[str, str, np.ndarray, np.ndarray]]:
    """Plane, what is said, and the pixels' columns and x in mm where the named structure is, for pictures that name a sided one."""
    for i in range(patients):
        name = f"{source.prefix or source.name}-{i:05d}"
        for shot in source.make(Patient.draw(0, name, source.sex), generator(0, "source", source.name, i), 32):
            cut = shot.picture.cut
            if cut is None:
                continue
            of_body = np.array([p.structure for p in cut.body.parts] + [""])
            said = f"{shot.labels} {shot.caption}"
            for words in re.findall(r"(?:left|right) (?:kidney|lung|femur)", said):
                where = of_body[cut.index] == words
                if where.any():
                    columns = np.broadcast_to(np.arange(where.shape[1]), where.shape)
                    yield shot.picture.exam.plane, words, columns[where] - columns[cut.index >= 0].mean(), cut.x[where]
            for lesion in shot.picture.lesions:
                if re.match("(left|right) ", lesion.place) and lesion.place in said:
                    of_lesion = np.array([any(p is q for q in lesion.parts) for p in cut.body.parts] + [False])
                    where = of_lesion[cut.index]
                    columns = np.broadcast_to(np.arange(where.shape[1]), where.shape)
                    yield shot.picture.exam.plane, lesion.place, columns[where] - columns[cut.index >= 0].mean(), cut.x[where]


@pytest.mark.parametrize("source", ["lits_organs", "institution", "pmc_oa", "eurorad", "ct_ich"])
def test_what_is_called_left_lies_left(source: str) -> None:
    seen = 0
    for plane, words, columns, x in sided(SOURCES[source], 30 if source in ("pmc_oa", "eurorad", "institution") else 12):
        side = 1 if words.startswith("left") else -1
        assert side * x.mean() > 0, (words, "in the patient")
        if plane != "sagittal" and source != "lits_organs":  # organs are cut out, so that the body is not in the middle
            assert side * columns.mean() > 0, (plane, words, "left is at the right of the picture")
        seen += 1
    assert seen >= 3


@pytest.mark.parametrize("source", ["institution", "amos", "chaos", "ct_org"])
def test_kidneys_in_masks_are_on_their_side(corpora: Corpora, source: str) -> None:
    codes, found = {name: code for code, name in STRUCTURES.items()}, 0
    for row in corpora[source].frame.index[corpora[source].frame["mask"] != ""]:
        file = corpora[source].mask(row)
        assert file is not None
        mask = np.asarray(Image.open(file.path))
        middle = np.nonzero(mask)[1].mean()
        for name, side in (("left kidney", 1), ("right kidney", -1), ("spleen", 1)):
            columns = np.nonzero(mask == codes[name])[1]
            if len(columns) > 2:
                assert side * (columns.mean() - middle) > 0, (corpora[source].frame.at[row, "id"], name)
                found += 1
    assert found > 2


# Captions that are wrong or missing, on purpose


def test_the_asked_share_of_captions_is_wrong_or_missing() -> None:
    spec = PhantomSpec(wrong_captions=0.1, missing_captions=0.05)
    for source in (SOURCES["pmc_oa"], SOURCES["eurorad"], SOURCES["institution"]):
        rows = [{"caption": str(i)} for i in range(20_000)]
        wrong, missing = make._spoil(source, spec, rows)
        told = [r["caption"] for r in rows]
        assert sum(t not in (str(i), "") for i, t in enumerate(told)) == wrong == pytest.approx(2000 * source.noise, rel=0.1, abs=1e-9)
        assert told.count("") == missing == pytest.approx(1000 * source.noise, rel=0.15, abs=1e-9)
    rows = [{"caption": str(i)} for i in range(50)]
    assert make._spoil(SOURCES["pmc_oa"], PhantomSpec(wrong_captions=0, missing_captions=0), rows) == (0, 0)
    assert [r["caption"] for r in rows] == [str(i) for i in range(50)]
    assert make._spoil(SOURCES["pmc_oa"], spec, [{"caption": "one"}])[0] == 0, "one row has no other to take a caption from"


def test_cards_count_what_is_wrong(corpus: Path, tmp_path: Path) -> None:
    for name in ("pmc_oa", "mimic_cxr", "institution"):
        frame = pd.read_parquet(corpus / name / "manifest.parquet")
        (tmp_path / name / "images").mkdir(parents=True)
        (tmp_path / name / "masks").mkdir()
        truth = [row["caption"] for i in range(frame["patient"].nunique()) for row in make.one(SPEC, SOURCES[name], i, tmp_path / name)]
        told = yaml.safe_load((corpus / name / "card.yaml").read_text())["captions"]
        assert int((frame["caption"] == "").sum()) == told["missing"]
        changed = sum(t not in (f, "") and f != "" for t, f in zip(truth, frame["caption"], strict=True))
        assert told["wrong"] - 2 <= changed <= told["wrong"], "another picture may have the same caption"


# Whole or absent


def children(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def eventually(what: object, seconds: float = 60) -> bool:
    assert callable(what)
    for _ in range(int(seconds * 20)):
        if what():
            return True
        time.sleep(0.05)
    return False


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks at processes through /proc")
def test_killed_in_the_middle_it_is_absent_and_made_again(tmp_path: Path, corpus: Path) -> None:
    many = (*FEW, "pmc_oa", "mrnet", "lits_organs", "radimagenet", "mimic_cxr")
    place = tmp_path / "cache"
    killed = subprocess.Popen(script(tmp_path, few=many), env=environment(place), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert eventually(lambda: len(list(place.glob(".phantom-*.tmp/*/images/*.png"))) > 5)
    helpers = children(killed.pid)
    killed.kill()
    killed.wait()
    assert len(helpers) >= 2
    assert eventually(lambda: not any(alive(p) for p in helpers), 30), "the pool ends with the process that it works for"
    assert list(place.glob("phantom-*/*")) == []
    (left,) = place.glob(".phantom-*.tmp")
    (left / "chaos" / "images" / "stray.png").write_bytes(b"torn")
    done = subprocess.run(script(tmp_path, 1), env=environment(place), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert list(place.glob(".phantom-*.tmp")) == []
    found = content(Path(done.stdout.strip()))
    assert {k: v for k, v in content(corpus).items() if k.split("/")[0] in FEW} == found


def test_two_processes_that_need_it_make_it_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    before = f"real = make.make; make.make = lambda *a: (open({str(log)!r}, 'a').write('made\\n'), real(*a))"
    command = script(tmp_path, 1, before, FEW[:1])
    both = [subprocess.Popen(command, env=environment(tmp_path / "cache"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(2)]
    said = [p.communicate(timeout=300) for p in both]
    assert [p.returncode for p in both] == [0, 0], said
    assert said[0][0] == said[1][0]
    assert log.read_text() == "made\n"


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    """A limit on the size of a file stands in for a full disk."""
    for processes in (1, 2):
        command = script(tmp_path, processes, "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))", FEW[:1])
        done = subprocess.run(command, env=environment(tmp_path / "cache", PYTHONDONTWRITEBYTECODE="1"), capture_output=True, text=True, timeout=300)
        assert done.returncode == 2, done.stderr
        assert "RADISIM_CACHE" in done.stdout
        assert str(tmp_path / "cache") in done.stdout
        assert [p.suffix for p in (tmp_path / "cache").iterdir()] in ([".lock"], [])


@pytest.mark.parametrize("place", ["/dev/null/cache", "/proc/cache"])
def test_a_cache_that_cannot_be_written_is_told(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RADISIM_CACHE", place)
    with pytest.raises(InputError, match=f"{place}.*RADISIM_CACHE"):
        make.ensure(SPEC)


def test_without_a_home_for_it_the_command_ends_with_2(cli: CLI) -> None:
    done = cli("phantom", "make", RADISIM_CACHE="/dev/null/cache")
    assert done.returncode == 2
    assert "RADISIM_CACHE" in done.stderr
    assert "Traceback" not in done.stderr


# The command line


class CLI:
    """`radisim-cl ARGS` in a folder with a catalog of the small phantom."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder, self.cache = folder, cache

    def start(self, *args: str, **more: str) -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, "-m", "radisim_cl", *args], cwd=self.folder, env=environment(self.cache) | more, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
                                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))  # a shell's background jobs ignore it

    def __call__(self, *args: str, **more: str) -> subprocess.CompletedProcess[str]:
        started = self.start(*args, **more)
        out, err = started.communicate(timeout=300)
        return subprocess.CompletedProcess(args, started.returncode, out, err)


@pytest.fixture
def cli(tmp_path: Path, cache: Path) -> CLI:
    (tmp_path / "catalogs").mkdir()
    small = yaml.safe_load((ROOT / "catalogs" / "phantom.yaml").read_text()) | {"phantom": json.loads(SPEC.model_dump_json())}
    (tmp_path / "catalogs" / "mini.yaml").write_text(yaml.safe_dump(small))
    return CLI(tmp_path, cache)


def test_make_says_what_there_is_and_where(cli: CLI, corpus: Path) -> None:
    done = cli("phantom", "make", "--catalog", "mini")
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    for words in (str(corpus), "Synthetic", "say nothing about", *SOURCES):
        assert words in said.replace(" ", "") or words in said
    pairs = sum(len(pd.read_parquet(corpus / name / "manifest.parquet")) for name in SOURCES)
    assert f"{pairs:,}" in done.stdout
    assert "drawing" not in done.stderr, "it was there already"


def test_make_refuses_a_catalog_of_real_data(cli: CLI) -> None:
    real = {"name": "real", "corpora": {"x": {"manifest": "x.csv"}}}
    (cli.folder / "catalogs" / "real.yaml").write_text(yaml.safe_dump(real))
    done = cli("phantom", "make", "--catalog", "real")
    assert done.returncode == 2
    assert "is not of the phantom" in done.stderr


def test_an_interrupted_make_leaves_nothing_and_no_traceback(cli: CLI, tmp_path: Path) -> None:
    place = tmp_path / "elsewhere"
    started = cli.start("phantom", "make", "--catalog", "phantom", RADISIM_CACHE=str(place))
    assert eventually(lambda: len(list(place.glob(".phantom-*.tmp/*/images/*.png"))) > 3)
    os.killpg(started.pid, signal.SIGINT)  # as a terminal does
    _, err = started.communicate(timeout=300)
    assert started.returncode == 130
    assert "Traceback" not in err
    assert [p.suffix for p in place.iterdir()] in ([".lock"], [])


def test_a_sheet_is_an_image(cli: CLI) -> None:
    done = cli("phantom", "sheet", "--out", "x.png", "--seed", "3")
    assert done.returncode == 0, done.stderr
    with Image.open(cli.folder / "x.png") as picture:
        assert picture.size[0] > 800
        assert len(set(picture.convert("L").resize((64, 64)).tobytes())) > 30


@pytest.mark.parametrize(("out", "words"), [("x.bmp", "use .png, .pdf or .svg"), ("x", "ends in 'nothing'"), ("nowhere/x.png", "no folder nowhere")])
def test_a_sheet_that_cannot_be_written_is_refused(cli: CLI, out: str, words: str) -> None:
    done = cli("phantom", "sheet", "--out", out)
    assert done.returncode == 2
    assert words in done.stderr


def test_a_catalog_of_real_data_has_no_notice() -> None:
    real = CatalogSpec.model_validate({"name": "real", "corpora": {"x": {"manifest": "x.csv"}}})
    assert real.notice == ""
    assert load_catalog("phantom", ROOT).notice == SYNTHETIC


@pytest.mark.parametrize(("region", "technique", "finding"), [("head", "T1C", "glioma"), ("head", "brain", "intracranial haemorrhage"),
                                                              ("knee", "PD", "ACL tear"), ("chest", "lung", "COVID-19 pneumonia")])
def test_normal_pictures_are_of_the_exam_and_the_height_that_would_show_the_finding(region: str, technique: str, finding: str) -> None:
    """Else technique, plane or height would tell who is ill: compared with pictures of the same patients with the finding."""
    kind, plane = modality("CT" if technique in ("brain", "lung") else "MR"), "sagittal" if region == "knee" else "axial"
    exam = Exam(region, kind, technique, plane, (finding,), finding)  # type: ignore[arg-type]
    heights: dict[bool, list[float]] = {True: [], False: []}
    for i in range(12):
        patient = Patient.draw(5, f"spared-{i}", None)
        for ill in heights:
            picture = (meeting if ill else spared)(exam, patient, generator(5, "spared", i, ill), 32)
            assert bool(picture.lesions) == ill
            assert (picture.exam.technique, picture.exam.plane) == (technique, plane)
            assert picture.cut is not None
            heights[ill].append(float(np.mean((picture.cut.x, picture.cut.y, picture.cut.z)[NORMAL[picture.exam.plane]])))
    reach = max(body(Patient.draw(5, "spared-0", None), region, (finding,)).lesions[0].extent)
    assert np.median(np.abs(np.subtract(heights[True], heights[False]))) < reach


@pytest.mark.parametrize("shares", [(0.42, 0.33, 0.25), (1, 1, 1), (1, 0, 0), (0, 5, 5)], ids=str)
def test_grades_come_in_their_shares(shares: tuple[float, float, float]) -> None:
    rng, n = generator(5, "grades"), 3000
    found = Counter(graded(rng, shares) for _ in range(n))
    for grade, share in enumerate(shares, start=1):
        expected = share / sum(shares)
        assert found[f"meningioma grade {grade}"] / n == pytest.approx(expected, abs=4 * (expected * (1 - expected) / n) ** 0.5)


def test_what_is_asked_about_is_taught() -> None:
    """Every grade that the benchmark asks about stands in the labels of the institution, and in captions of the teaching cases."""
    labels: set[str] = set()
    captions = ""
    for i in range(60):
        rng = {name: generator(5, "source", name, i) for name in ("institution", "eurorad")}
        labels |= {s.labels for s in SOURCES["institution"].make(Patient.draw(5, f"institution-{i:05d}", None), rng["institution"], 32)}
        captions += "\n".join(s.caption for s in SOURCES["eurorad"].make(Patient.draw(5, f"eurorad-{i:05d}", None), rng["eurorad"], 32))
    asked = next(s for s in load_benchmark("radiologist-24", ROOT).subtasks if s.id == "grade.meningioma")
    assert isinstance(asked, OrdinalSubtask)
    assert {v for c in asked.classes.values() for v in c.values} <= labels
    assert all(re.search(rf"grade {grade}\b", captions) for grade in asked.classes)


def test_the_institution_outlines_findings() -> None:
    """A mask has what the label says, and nothing that a normal picture would not have."""
    codes = {name: code for code, name in STRUCTURES.items()}
    findings = [code for code in codes.values() if code >= codes["glioma"]]
    seen: set[str] = set()
    for i in range(60):
        shots = SOURCES["institution"].make(Patient.draw(5, f"institution-{i:05d}", None), generator(5, "source", "institution", i), 32)
        for shot in (s for s in shots if s.level != "localization"):
            label = shot.labels.partition("@")[0].partition(" grade ")[0]
            assert shot.picture.cut is not None
            mask = shot.picture.cut.labels(CODES)
            assert shot.masked
            assert (codes[label] in mask) if label in codes else not np.isin(mask, findings).any(), label
            seen.add(label)
    assert {"normal", "meningioma", "glioma"} <= seen
