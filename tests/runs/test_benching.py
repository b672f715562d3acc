"""`bench` scores what it is given, says what it cannot take, and leaves everything that a reader needs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import World, make_world

from radisim_cl.bench.measure import measure
from radisim_cl.errors import InputError
from radisim_cl.records.scorecard import Scorecard
from radisim_cl.runs.benching import subject
from radisim_cl.runs.directory import load_plan
from radisim_cl.specs.benchmark import load_benchmark

FILES = ["answers.parquet", "pictures", "scorecard.json"]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A world with a finished run."""
    world = make_world(tmp_path_factory.mktemp("benched") / "world")
    told = world.cli("run", "toy")
    assert told.returncode == 0, told.stderr
    return world


def bench(world: World, *args: str) -> Scorecard:
    """`bench ARGS` with a cache of the world's own; the scorecard."""
    told = world.cli("bench", *args, "--out", "out", RADISIM_CACHE=str(world.root / "cache"))
    assert told.returncode == 0, told.stderr
    return Scorecard.model_validate_json((world.root / "out" / "scorecard.json").read_text())


def test_a_run_scores_as_it_did_at_its_end(done: World) -> None:
    """The same weights and the same items: the run's own report."""
    card = bench(done, "toy")
    own = Scorecard.model_validate_json((done.root / "runs" / "toy" / "scores" / "report-anatomy.json").read_text())
    assert (card.split, card.stage, card.samples, card.model) == ("report", "anatomy", own.samples, "toy")
    assert [s.id for s in card.subtasks] == [s.id for s in own.subtasks]
    for ours, theirs in zip(card.subtasks, own.subtasks, strict=True):
        assert ours.scores[ours.metric].value == pytest.approx(theirs.scores[theirs.metric].value, abs=1e-6)
        assert ours.floors == theirs.floors
        assert ours.trained_on == ["drawn"]
    assert sorted(p.name for p in (done.root / "out").iterdir()) == FILES
    assert {p.stem for p in (done.root / "out" / "pictures").iterdir()} == {s.id for s in card.subtasks}


def test_a_set_that_is_all_report_split_is_scored_there_and_nowhere_else(done: World) -> None:
    toy = yaml.safe_load((done.root / "catalogs" / "toy.yaml").read_text())
    toy["corpora"]["drawn"]["splits"] = {"*": {"report": 1.0}}
    (done.root / "catalogs" / "late.yaml").write_text(yaml.safe_dump(toy | {"name": "late"}))
    args = ("runs/toy/export/2-anatomy", "--benchmark", "toy", "--catalog", "late")
    card = bench(done, *args)
    assert len(card.subtasks) == 3
    assert card.missing == {}
    told = done.cli("bench", *args, "--split", "gate", "--out", "none")
    assert told.returncode == 2
    assert "data for none of the 3 subtasks" in " ".join(told.stderr.split())


def test_the_scorecard_can_be_made_again_from_the_answers(done: World) -> None:
    card = bench(done, "toy", "--split", "gate")
    again = measure(pd.read_parquet(done.root / "out" / "answers.parquet"), load_benchmark("toy", done.root), "gate")
    assert {s.id: s.scores[s.metric].value for s in card.subtasks} == {
        s.id: again.estimates[s.id, s.metric].value for s in load_plan(done.root / "runs" / "toy").benchmark.subtasks}


def test_an_exported_folder_scores_as_its_run_and_is_in_the_cache(done: World) -> None:
    first = bench(done, "toy")
    args = ("bench", "runs/toy/export/2-anatomy", "--benchmark", "toy", "--catalog", "toy", "--out", "out")
    told = done.cli(*args, RADISIM_CACHE=str(done.root / "cache"))
    assert told.returncode == 0, told.stderr
    assert "embedded now: 0 images and 0 texts" in told.stdout
    card = Scorecard.model_validate_json((done.root / "out" / "scorecard.json").read_text())
    assert [s.scores for s in card.subtasks] == [s.scores for s in first.subtasks]
    assert {tuple(s.trained_on) for s in card.subtasks} == {()}


def test_nobody_is_named_in_what_is_written(done: World) -> None:
    bench(done, "toy")
    written = b"".join(f.read_bytes() for folder in ("out", "cache") for f in (done.root / folder).rglob("*") if f.is_file())
    assert b"patient0" not in written


def test_what_it_cannot_take(done: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(done.root)
    cases = {
        ("toyy", None): r"no run.*Did you mean 'toy'",
        ("ViT-B-32", None): r"random weights; .*openai",
        ("model", None): r"a configuration and no weights",
        ("toy", "openai"): r"weights of its own",
    }
    for (model, pretrained), message in cases.items():
        with pytest.raises(InputError, match=message):
            subject(model, pretrained)


def test_a_run_without_an_accepted_stage_has_nothing_to_score(done: World, tmp_path: Path) -> None:
    run = tmp_path / "young"
    shutil.copytree(done.root / "runs" / "toy", run)
    lines = (run / "ledger.jsonl").read_text().splitlines(keepends=True)
    (run / "ledger.jsonl").write_text("".join(lines[:3]))
    with pytest.raises(InputError, match="accepted no stage yet"):
        subject(str(run))


def test_the_report_split_of_a_run_that_goes_on_is_sealed(done: World, tmp_path: Path) -> None:
    run = tmp_path / "halfway"
    shutil.copytree(done.root / "runs" / "toy", run)
    lines = (run / "ledger.jsonl").read_text().splitlines(keepends=True)
    first = next(i for i, line in enumerate(lines) if "StageFinished" in line)
    (run / "ledger.jsonl").write_text("".join(lines[: first + 1]))
    told = done.cli("bench", str(run), "--out", str(tmp_path / "out"))
    assert (told.returncode, f"stays sealed until {run} has finished" in told.stderr) == (2, True)
    export = run / "export" / "1-modality"
    shutil.copytree(export, tmp_path / "elsewhere")
    weights = str(export / "open_clip_model.safetensors")
    for model, sealed in ((str(export), True), (f"local-dir:{export}", True), (str(tmp_path / "elsewhere"), False)):
        assert bool(subject(model).sealed) is sealed
    for model in ("ViT-B-32", str(tmp_path / "elsewhere")):
        assert subject(model, weights).sealed == str(run)
    assert not subject("ViT-B-32", "openai").sealed
    assert not subject(str(done.root / "runs" / "toy" / "export" / "1-modality")).sealed
    told = done.cli("bench", str(export), "--benchmark", "toy", "--catalog", "toy", "--out", str(tmp_path / "out"))
    assert (told.returncode, f"stays sealed until {run} has finished" in told.stderr) == (2, True)
    card = bench(done, str(run), "--split", "gate")
    assert (card.stage, card.split) == ("modality", "gate")


def test_names_that_open_clip_resolves(tmp_path: Path) -> None:
    assert subject("ViT-B-32", "openai").spec.pretrained == "openai"
    assert subject("ViT-B-32", "openai").name == "ViT-B-32-openai"
    assert subject("hf-hub:some/model").spec.arch == "hf-hub:some/model"


@pytest.mark.parametrize(("args", "message"), [
    (("toy", "--out", "data"), "is not empty and holds no scorecard"),
    (("toy", "--benchmark", "toys"), "no benchmark 'toys'"),
    (("toy", "--catalog", "none"), "no catalog 'none'"),
])
def test_bad_arguments_are_told_in_words(done: World, args: tuple[str, ...], message: str) -> None:
    told = done.cli("bench", *args)
    assert told.returncode == 2
    assert message in told.stderr
    assert "Traceback" not in told.stderr


def test_a_catalog_that_has_nothing_to_ask_about(done: World) -> None:
    told = done.cli("bench", "toy", "--benchmark", "radiologist-24")
    assert told.returncode == 2
    assert "has data for none of the 24 subtasks" in told.stderr
