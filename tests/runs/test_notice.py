"""Every page that shows a score on the phantom says that it is one, and no page of real data says so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from conftest import World
from rich.console import Console, RenderableType

from radisim_cl.bench import evaluate
from radisim_cl.bench.measure import measure
from radisim_cl.corpus.corpora import Corpora
from radisim_cl.models.build import build
from radisim_cl.models.export import export
from radisim_cl.phantom import make
from radisim_cl.records.ledger import read
from radisim_cl.records.scorecard import Scorecard
from radisim_cl.records.state import RunState, fold
from radisim_cl.runs import directory, planning, scores
from radisim_cl.runs.card import model_card
from radisim_cl.runs.tables import log_table, plan_table, scorecard_table, status_table
from radisim_cl.specs.catalog import SYNTHETIC, PhantomSpec
from radisim_cl.specs.curriculum import ModelSpec, load
from radisim_cl.specs.plan import OverlapPlan, Plan


@pytest.fixture
def real(shared_world: World, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """A plan over data that are somebody's."""
    monkeypatch.chdir(shared_world.root)
    return planning.plan(load(shared_world.curriculum), shared_world.root / "curricula")


@pytest.fixture
def drawn(real: Plan) -> Plan:
    """The same over a catalog that says that its data are drawn."""
    return real.model_copy(update={"catalog": real.catalog.model_copy(update={"phantom": PhantomSpec()})})


def page(content: RenderableType) -> str:
    """What a terminal shows, on one line."""
    console = Console(width=200)
    with console.capture() as captured:
        console.print(content)
    return re.sub(r"[\s│]+", " ", captured.get())


def card(plan: Plan) -> Scorecard:
    """A scorecard as a run makes it, of answers that the floors gave."""
    frame = evaluate.floor_answers(plan.benchmark, plan.subtasks, Corpora(plan.catalog, plan.benchmark.version), "gate", 1)
    return scores.card(plan, measure(frame, plan.benchmark, "gate"), "modality", 1, 64)


def test_the_sentence_is_the_same_everywhere(drawn: Plan, real: Plan) -> None:
    assert drawn.catalog.notice == make.NOTICE == SYNTHETIC
    assert "nothing about patients" in SYNTHETIC
    assert real.catalog.notice == ""


def test_plans(drawn: Plan, real: Plan) -> None:
    assert SYNTHETIC in page(plan_table(drawn))
    assert "Synthetic" not in page(plan_table(real))


def test_scorecards(drawn: Plan, real: Plan) -> None:
    made = card(drawn)
    assert made.notice == SYNTHETIC
    assert SYNTHETIC in page(scorecard_table(made))
    assert Scorecard.model_validate_json(made.model_dump_json()) == made
    made = card(real)
    assert made.notice == ""
    assert "Synthetic" not in page(scorecard_table(made))
    before = made.model_dump(exclude={"notice"})
    assert Scorecard.model_validate(before) == made, "scorecards that were written earlier have no such field"


def test_status_and_its_picture(drawn: Plan, real: Plan, shared_world: World, tmp_path: Path) -> None:
    for name, plan in (("drawn", drawn), ("real", real)):
        directory.create(plan, tmp_path / name, 1)
        events, _ = read(tmp_path / name)
        for table in (status_table(fold(events), plan), log_table(events, fold(events), plan)):
            assert (SYNTHETIC in page(table)) == (name == "drawn")
        told = shared_world.cli("status", str(tmp_path / name), "--svg", str(tmp_path / f"{name}.svg"))
        assert told.returncode == 0, told.stderr
        svg = (tmp_path / f"{name}.svg").read_text().replace("&#160;", " ")
        assert (SYNTHETIC in " ".join(told.stdout.split())) == (SYNTHETIC in svg) == (name == "drawn")


def test_exports(drawn: Plan, real: Plan, shared_world: World, tmp_path: Path) -> None:
    built = build(ModelSpec(arch=f"local-dir:{shared_world.root / 'model'}"), seed=0)
    for name, plan in (("drawn", drawn), ("real", real)):
        export(built.model.state_dict(), built, tmp_path / name, model_card(plan, RunState(), "modality"))
        text = (tmp_path / name / "README.md").read_text()
        _, head, body = text.split("---\n", 2)
        assert yaml.safe_load(head)["library_name"] == "open_clip"
        for words in ("after stage modality", "local-dir:", "| drawn | 180 | CC0 |", plan.curriculum.scale.model.arch, plan.digest()[:16]):
            assert words in body
        assert "anatomy" not in body, "a stage that it has not been through"
        assert (SYNTHETIC in body) == (name == "drawn")
    again = build(ModelSpec(arch=f"local-dir:{tmp_path / 'drawn'}"), seed=1)
    assert again.config == built.config


@pytest.mark.parametrize("synthetic", [True, False])
def test_an_overlap_that_the_curriculum_allows_is_told_on_every_page(
    drawn: Plan, real: Plan, shared_world: World, tmp_path: Path, synthetic: bool
) -> None:
    found = OverlapPlan(source="drawn", held="drawn", kind="file", pairs=1, items={"gate": 2}, patients=2)
    plan = (drawn if synthetic else real).model_copy(update={"overlaps": [found]})
    told = "Not everything is held out, as the curriculum allows: 1 pair of drawn with image files that the benchmark asks about in drawn (gate 2)."
    assert plan.notice == f"{SYNTHETIC} {told}" if synthetic else told
    assert told in page(plan_table(plan))
    assert told in page(scorecard_table(card(plan)))
    assert told in model_card(plan, RunState(), "modality")
    directory.create(plan, tmp_path / "run", 1)
    assert told in " ".join(shared_world.cli("status", str(tmp_path / "run")).stdout.split())
    assert told not in page(plan_table(real)) + page(scorecard_table(card(real)))
