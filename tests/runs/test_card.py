"""Model cards, read back by the hub's own parser."""

from __future__ import annotations

import re
from typing import Any

import pytest
from conftest import World
from huggingface_hub import ModelCard

from radisim_cl.bench import evaluate
from radisim_cl.bench.measure import measure
from radisim_cl.corpus.corpora import Corpora
from radisim_cl.records import events as ev
from radisim_cl.records.scorecard import Scorecard
from radisim_cl.records.state import RunState
from radisim_cl.runs import planning, scores
from radisim_cl.runs.card import SEALED, model_card
from radisim_cl.specs.catalog import SYNTHETIC, PhantomSpec
from radisim_cl.specs.curriculum import load
from radisim_cl.specs.plan import Plan


@pytest.fixture(scope="module")
def plan(shared_world: World) -> Plan:
    """A plan over data that are somebody's."""
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(shared_world.root)
        return planning.plan(load(shared_world.curriculum), shared_world.root / "curricula")


@pytest.fixture(scope="module")
def scored(plan: Plan) -> Scorecard:
    """A scorecard of the report split, of answers that the pixel statistics gave."""
    frame = evaluate.floor_answers(plan.benchmark, plan.subtasks, Corpora(plan.catalog, plan.benchmark.version), "report", 1)
    frame = frame[frame["by"] == "pixel_statistics"].assign(by="model")
    return scores.card(plan, measure(frame, plan.benchmark, "report"), "anatomy", 1, 64)


def parsed(text: str) -> Any:
    """By the hub's parser, which must have nothing to say against the front matter."""
    return ModelCard(text, ignore_metadata_errors=False)


def decided(stage: str, passed: bool | None) -> ev.GateDecided:
    return ev.GateDecided(stage=stage, attempt=0, look=1, mode="observe", passed=passed, reasons=[f"{stage} skill 0.5 | bound 0.4"], alpha=0.025,
                          evidence="scores/x.parquet", decision="advance")


def test_the_hub_reads_what_was_scored(plan: Plan, scored: Scorecard) -> None:
    card = parsed(model_card(plan, RunState(), "anatomy", scored))
    meta = card.data.to_dict()
    assert (meta["library_name"], meta["pipeline_tag"], meta["license"]) == ("open_clip", "zero-shot-image-classification", "other")
    assert meta["datasets"] == ["drawn"]
    results = {r.task_name: r for r in card.data.eval_results or []}
    assert set(results) == {s.id for s in scored.subtasks}
    for s in scored.subtasks:
        told = s.scores[s.metric]
        assert results[s.id].metric_type == s.metric
        assert results[s.id].metric_value == pytest.approx(told.value, abs=5e-5)
        assert f"{told.low:.3f} to {told.high:.3f}" in str(results[s.id].metric_name)
        assert str(told) in card.text
        assert results[s.id].dataset_split == "report"


def test_scores_are_sealed_until_the_run_has_finished(plan: Plan) -> None:
    card = parsed(model_card(plan, RunState(), "modality"))
    assert SEALED in card.text
    assert card.data.eval_results is None
    assert "anatomy" not in card.text, "a stage that the model has not been through"


def test_an_undecidable_score_is_no_result(plan: Plan, scored: Scorecard) -> None:
    few = scored.model_copy(update={"subtasks": [s.model_copy(update={"undecidable": "2 patients of class 'CT', and 5 are needed; no more"})
                                                 for s in scored.subtasks]})
    card = parsed(model_card(plan, RunState(), "anatomy", few))
    assert card.data.eval_results is None
    assert "undecidable: 2 patients of class 'CT', and 5 are needed |" in card.text


def test_gates_and_rewinds_are_told(plan: Plan) -> None:
    state = RunState(decisions=[decided("modality", False), decided("anatomy", True)], rewinds=1)
    text = model_card(plan, state, "modality")
    assert re.search(r"\| modality \| 1 \| observe \| not passed \| modality skill 0\.5 \\\| bound 0\.4 \|", text)
    assert "| anatomy" not in text
    assert "went back by hand 1 time in" in text


def test_a_phantom_is_not_called_by_the_names_of_real_sets(plan: Plan, scored: Scorecard) -> None:
    drawn = plan.model_copy(update={"catalog": plan.catalog.model_copy(update={"phantom": PhantomSpec()})})
    card = parsed(model_card(drawn, RunState(), "anatomy", scored))
    assert card.data.to_dict()["datasets"] == ["phantom-of-drawn"]
    assert "synthetic" in card.data.to_dict()["tags"]
    assert all("synthetic" in r.dataset_name for r in card.data.eval_results or [])
    assert card.text.count(SYNTHETIC) >= 2
    assert SYNTHETIC not in model_card(plan, RunState(), "anatomy", scored)
