"""A comparison says what the runs' own scorecards say, and refuses runs that cannot be told apart by their curricula alone."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import World, make_world
from rich.console import Console
from sklearn.metrics import balanced_accuracy_score

from radisim_cl.compare.comparison import compare
from radisim_cl.compare.formats import tables, written
from radisim_cl.compare.records import Comparison, Effect
from radisim_cl.compare.runs import Finished, finished, hours
from radisim_cl.errors import InputError
from radisim_cl.records import events as ev
from radisim_cl.records.scorecard import Scorecard
from radisim_cl.report.compared import html


def change(run: Path, plan: Callable[[dict[str, Any]], object]) -> None:
    """Edits a run's plan."""
    made = yaml.safe_load((run / "plan.yaml").read_text())
    plan(made)
    (run / "plan.yaml").write_text(yaml.safe_dump(made, sort_keys=False))


def setting(fields: dict[str, Any]) -> Callable[[dict[str, Any]], object]:
    """An edit of the curriculum."""
    return lambda p: p["curriculum"].update(fields)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of two curricula: copies of one run, of which the second curriculum's answer by chance a little better or worse."""
    world, home = make_world(tmp_path_factory.mktemp("compare") / "world"), tmp_path_factory.mktemp("trained")
    done = world.cli("run", "toy")
    assert done.returncode == 0, done.stderr
    for name, control in (("reference", None), ("other", {"kind": "joint"})):
        for seed in (1, 2):
            run = home / f"{name}-seed{seed}"
            shutil.copytree(world.root / "runs" / "toy", run, ignore=shutil.ignore_patterns("checkpoints", "export", "tensorboard"))
            change(run, setting({"name": name, "seed": seed, "control": control}))
            if name == "other":
                shift(run, np.random.default_rng(seed))
    return home


@pytest.fixture
def runs(trained: Path, tmp_path: Path) -> Path:
    """These, for a test to change."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return tmp_path


def report(run: Path) -> Path:
    """The last report split's answers."""
    return sorted((run / "scores").glob("report-anatomy-*.parquet"))[-1]


def shift(run: Path, rng: np.random.Generator) -> None:
    """Answers that are a little different ones."""
    frame = pd.read_parquet(report(run))
    frame["scores"] = [s + rng.normal(0, 0.05, len(s)) for s in frame["scores"]]
    frame.to_parquet(report(run))


def effects(c: Comparison) -> dict[str, Effect]:
    """Of the only contrast."""
    (contrast,) = c.contrasts
    return {e.id: e for e in contrast.effects}


def test_it_says_what_the_answers_say(runs: Path) -> None:
    made = compare(finished([str(runs)]))
    assert [(g.curriculum, g.control, [r.seed for r in g.runs]) for g in made.groups] == [("reference", None, [1, 2]), ("other", "joint", [1, 2])]

    def skill(run: Path) -> float:
        rows = pd.read_parquet(report(run))
        rows = rows[(rows["by"] == "model") & (rows["subtask"] == "mod.three")]
        return (float(balanced_accuracy_score(rows["truth"], np.stack(rows["scores"].to_list()).argmax(axis=1))) - 1 / 3) / (2 / 3)

    each = [skill(runs / f"other-seed{s}") - skill(runs / f"reference-seed{s}") for s in (1, 2)]
    one = effects(made)["mod.three"]
    assert one.seeds.differences == pytest.approx(each)
    assert one.difference == pytest.approx(np.mean(each))
    assert one.seeds.deviation == pytest.approx(np.std(each, ddof=1))
    assert one.reference == pytest.approx(skill(runs / "reference-seed1"))
    assert one.low is not None
    assert one.high is not None
    assert one.low <= one.difference <= one.high
    card = Scorecard.model_validate_json((runs / "reference-seed1/scores/report-anatomy.json").read_text())
    means = {s.suite: s.skill.value for s in card.suites if s.skill}
    assert {k: effects(made)[k].reference for k in means} == pytest.approx(means)
    assert effects(made)["all suites"].reference == pytest.approx(np.mean(list(means.values())))


def test_it_tells_the_whole_story(runs: Path) -> None:
    made = compare(finished([str(runs)]))
    (run, _), group = made.groups[0].runs, made.groups[0]
    assert (run.samples, run.steps, run.looks, run.exposures) == (320, 20, 2, {"drawn": 320})
    assert [(d.stage, d.passed, d.decision) for d in run.decisions] == [("modality", True, "advance"), ("anatomy", True, "advance")]
    cards = {s: Scorecard.model_validate_json((runs / f"reference-seed1/scores/report-{s}.json").read_text()) for s in ("modality", "anatomy")}
    after = {stage: {s.suite: s.skill.value for s in card.suites if s.skill} for stage, card in cards.items()}
    assert group.after == {stage: pytest.approx(row) for stage, row in after.items()}
    assert group.forgotten == pytest.approx({s: max(0.0, after["modality"][s] - after["anatomy"][s]) for s in after["anatomy"]})
    assert {(p.split, p.samples) for p in run.points} == {("gate", 0), ("gate", 160), ("gate", 320), ("report", 160), ("report", 320)}


def test_corrected_over_the_subtasks_alone(runs: Path) -> None:
    made = effects(compare(finished([str(runs)])))
    tested = [e for e in made.values() if e.level == "subtask" and e.p is not None]
    assert all(e.p is not None and e.p_holm is not None and e.p <= e.p_holm <= 1 for e in tested)
    assert all(e.p_holm is None for e in made.values() if e.level != "subtask")
    least = min(tested, key=lambda e: e.p or 0.0)
    assert least.p_holm == pytest.approx(min(1.0, (least.p or 0.0) * len(tested)))


def test_every_format_is_of_the_one_record_and_has_the_notice(runs: Path) -> None:
    for run in runs.iterdir():
        change(run, lambda p: p["catalog"].update(phantom={}))
    made = compare(finished([str(runs)]))
    assert made.notice
    assert Comparison.model_validate_json(written(made, "json")) == made
    rows = list(csv.DictReader(io.StringIO(written(made, "csv"))))
    assert {r["id"]: float(r["difference"]) for r in rows} == {k: pytest.approx(e.difference) for k, e in effects(made).items()}
    assert {r["notice"] for r in rows} == {made.notice}
    latex = written(made, "latex")
    assert latex.count(r"\\") == len(rows) + 1
    assert r"\toprule" in latex
    page = Console(record=True, width=200, file=io.StringIO())
    page.print(tables(made))
    shown = page.export_text()
    for text in (latex, shown):
        assert " ".join(made.notice.split()) in " ".join(text.split())
        assert f"{effects(made)['mod.three'].difference:+.3f}" in text
    assert "conditional on the trained models" in " ".join(shown.split())


def test_the_command_writes_a_file(runs: Path, shared_world: World) -> None:
    done = shared_world.cli("compare", str(runs), "--format", "json", "--out", str(runs / "made.json"))
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert json.loads((runs / "made.json").read_text())["groups"][1]["curriculum"] == "other"
    done = shared_world.cli("compare", str(runs), "--format", "html")
    assert (done.returncode, done.stdout) == (0, html(compare(finished([str(runs)])))), done.stderr


def refused(runs: Path, allow_different: bool = False) -> str:
    """Why not."""
    with pytest.raises(InputError) as told:
        compare(finished([str(runs)]), allow_different)
    return str(told.value)


def test_an_unfinished_run_is_sealed(runs: Path) -> None:
    ledger = runs / "other-seed2" / "ledger.jsonl"
    ledger.write_text("".join(ledger.read_text().splitlines(keepends=True)[:-1]))
    told = refused(runs)
    assert "sealed until a run has finished" in told
    assert f"{runs}/other-seed2 (running" in told


@pytest.mark.parametrize(("edit", "why"), [
    (lambda p: p["benchmark"].update(version="toy-2"), "benchmark: toy toy-2, not toy toy-1"),
    (lambda p: p["benchmark"]["subtasks"][0].update(templates=["{}"]), "prompts of mod.three: "),
    (lambda p: p["catalog"].update(name="mine"), "catalog: mine, not toy"),
    (lambda p: p["corpora"]["drawn"].update(digest="0" * 64), "corpus drawn: 000000000000, not "),
])
def test_other_questions_are_refused_whatever_is_allowed(runs: Path, edit: Callable[[dict[str, Any]], object], why: str) -> None:
    for seed in (1, 2):
        change(runs / f"other-seed{seed}", edit)
    for allowed in (False, True):
        assert why in refused(runs, allowed)


def test_other_patients_are_refused_whatever_is_allowed(runs: Path) -> None:
    frame = pd.read_parquet(report(runs / "other-seed1"))
    frame[frame["patient"] != frame["patient"].iloc[0]].to_parquet(report(runs / "other-seed1"))
    assert "report split of anat.mass: 36 items of 18 patients" in refused(runs, allow_different=True)


def test_another_budget_is_refused_or_said(runs: Path) -> None:
    for seed in (1, 2):
        change(runs / f"other-seed{seed}", lambda p: p["curriculum"]["profiles"]["laptop"].update(global_batch=18))
    assert "other-seed1: 360 samples, not 320 (+12.5%)" in refused(runs)
    made = compare(finished([str(runs)]), allow_different=True)
    assert "other-seed1: 360 samples, not 320 (+12.5%)" in made.differences
    assert "other: global_batch 18, not 16" in made.differences


def test_seeds_of_one_name_are_of_one_plan(runs: Path) -> None:
    change(runs / "other-seed2", lambda p: p["stages"][0]["spec"]["train"].update(lr=0.5))
    told = refused(runs)
    assert "both have the name 'other' and are not seeds of one plan" in told
    assert "stages[0].spec.train.lr: 0.5, not 0.001" in told


def test_runs_that_have_no_partner(runs: Path) -> None:
    here = [str(runs / n) for n in ("reference-seed1", "other-seed1", "other-seed2")]
    made = compare(finished(here))
    assert made.contrasts[0].seeds == [1]
    assert effects(made)["mod.three"].seeds.low is None
    assert "other: seeds 2 have no partner and count for nothing in the differences" in made.differences
    for names, why in ((here[1:], "all runs are of other"), ([here[0], here[2]], "no seed in common"), ([here[0], here[0], here[1]], "both seed 1")):
        with pytest.raises(InputError, match=why):
            compare(finished(names))


def test_hours_are_those_at_work() -> None:
    def at(time: str, event: ev.AnyEvent) -> ev.AnyEvent:
        return event.model_copy(update={"time": f"2026-01-01T{time}+00:00"})

    failed, resumed = ev.RunFailed(exit_code=75, error=""), ev.RunResumed(world_size=1, versions={})
    story = [at("10:00:00", ev.RunFinished()), at("11:00:00", failed), at("20:00:00", resumed), at("20:30:00", ev.RunFinished())]
    assert hours(story) == pytest.approx(1.5)


def test_names_stand_for_runs_and_folders_of_runs(runs: Path) -> None:
    def names(found: list[Finished]) -> list[str]:
        return [r.folder.name for r in found]

    assert names(finished([str(runs)])) == ["reference-seed1", "reference-seed2", "other-seed1", "other-seed2"]
    assert names(finished([str(runs / "other-seed2"), str(runs / "reference-seed1")])) == ["other-seed2", "reference-seed1"]
    with pytest.raises(InputError, match="no run 'nothing'"):
        finished(["nothing"])
