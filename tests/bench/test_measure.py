"""From answers to estimates, suites and a scorecard."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from _small import answered, benchmark, plans
from rich.console import Console

from radisim_cl.bench.measure import evidence, measure, scorecard
from radisim_cl.records.scorecard import Interval, Scorecard, SubtaskScore
from radisim_cl.runs.tables import scorecard_table
from radisim_cl.specs.benchmark import BenchmarkSpec
from radisim_cl.specs.plan import SubtaskPlan

HALF = [0, 1] * 10


def card(frame: pd.DataFrame, spec: BenchmarkSpec, planned: list[SubtaskPlan] | None = None) -> Scorecard:
    """The scorecard of the gate split."""
    return scorecard(measure(frame, spec, "gate"), spec, planned or plans(spec), "toy", "one", 1, 640)


def subtask(found: Scorecard, name: str) -> SubtaskScore:
    """One subtask of a scorecard."""
    return next(s for s in found.subtasks if s.id == name)


def test_skill_is_the_primary_metric_between_chance_and_one() -> None:
    """15 of 20 right, 12 of class 0: chance is 0.6."""
    truth = [0] * 12 + [1] * 8
    answer = [0] * 10 + [1] * 2 + [1] * 5 + [0] * 3
    m = measure(answered("a", truth, answer), benchmark({"id": "a"}), "gate")
    assert m.estimates["a", "accuracy"].value == pytest.approx(0.75)
    assert m.chance == {"a": pytest.approx(0.6)}
    assert m.estimates["a", "skill"].value == pytest.approx((0.75 - 0.6) / 0.4)
    assert m.estimates["dx", "skill"].value == pytest.approx((0.75 - 0.6) / 0.4)
    assert not m.undecidable


@pytest.mark.parametrize(("patients", "decidable"), [(4, False), (5, True), (7, True)])
def test_too_few_patients_of_a_class_and_nothing_is_decided(patients: int, decidable: bool) -> None:
    """Images do not count: every patient of the rare class has three."""
    names = [f"n{i}" for i in range(20)] + [f"m{i}" for i in range(patients) for _ in range(3)]
    truth = [0] * 20 + [1] * (3 * patients)
    m = measure(answered("a", truth, truth, names), benchmark({"id": "a", "min_patients": 5}), "gate")
    assert ("a" in m.undecidable) is ("dx" in m.undecidable) is (not decidable)
    assert ("dx", "skill") in m.estimates if decidable else ("dx", "skill") not in m.estimates
    if not decidable:
        assert m.undecidable["a"] == "4 patients of class 'mass', and 5 are needed; a gate could have seen a difference of 0.31 or more"
        assert "a, 4 patients" in m.undecidable["dx"]
        assert m.estimates["a", "accuracy"].value == 1, "measured all the same, to be shown"


def test_a_suite_is_the_mean_over_its_decidable_subtasks() -> None:
    spec = benchmark({"id": "a"}, {"id": "b"}, {"id": "rare", "min_patients": 15}, {"id": "other", "suite": "grading"})
    b = [t if i < 16 else 1 - t for i, t in enumerate(HALF)]
    frame = pd.concat([answered("a", HALF, HALF), answered("b", HALF, b), answered("rare", HALF, [0] * 20), answered("other", HALF, [1] * 20)])
    m = measure(frame, spec, "gate")
    assert m.estimates["dx", "skill"].value == pytest.approx((1.0 + 0.6) / 2)
    assert m.estimates["grading", "skill"].value == pytest.approx(0)
    suites = {s.suite: s for s in card(frame, spec).suites}
    assert (suites["dx"].subtasks, suites["dx"].left_out) == (["a", "b"], ["rare"])


def test_subtasks_that_share_patients_are_drawn_together() -> None:
    """The same question twice is no more certain than once."""
    answer = [t if i % 3 else 1 - t for i, t in enumerate(HALF)]
    m = measure(pd.concat([answered("a", HALF, answer), answered("b", HALF, answer)]), benchmark({"id": "a"}, {"id": "b"}), "gate")
    np.testing.assert_allclose(m.estimates["dx", "skill"].replicates, m.estimates["a", "skill"].replicates)


def test_what_subtasks_of_the_same_patients_share_is_not_counted_twice() -> None:
    """Three planes of one CT, all perfect: as certain as one. Planes of three times as many patients are more so."""
    spec = benchmark({"id": "axial"}, {"id": "sagittal"}, {"id": "coronal"})
    others = [[f"{n}{i:02d}" for i in range(20)] for n in ("a", "b", "c")]
    shared, apart = (measure(pd.concat([answered(s.id, HALF, HALF, p) for s, p in zip(spec.subtasks, names, strict=True)]), spec, "gate")
                     for names in ([None] * 3, others))
    one = shared.estimates["axial", "skill"]
    assert shared.estimates["dx", "skill"].bounds(0.025) == pytest.approx(one.bounds(0.025))
    assert shared.detectable["dx"] == pytest.approx(one.detectable())
    assert apart.estimates["dx", "skill"].bounds(0.025)[0] == pytest.approx(1 - (1 - one.bounds(0.025)[0]) / np.sqrt(3))
    assert apart.detectable["dx"] < 0.7 * shared.detectable["dx"]


def test_what_could_have_been_seen_is_on_the_card() -> None:
    """Of the primary metric from chance; of a suite, skill from 0, which for one subtask is the same on another scale."""
    spec = benchmark({"id": "a", "metric": "balanced_accuracy"}, {"id": "b", "suite": "grading", "min_patients": 50}, {"id": "tiny", "suite": "few"})
    frame = pd.concat([answered("a", HALF, [0] * 20), answered("b", HALF, HALF), answered("tiny", [0, 1], [0, 1])])
    found = card(frame, spec)
    a, b, tiny = (subtask(found, s.id) for s in spec.subtasks)
    assert a.detectable == measure(frame, spec, "gate").estimates["a", "balanced_accuracy"].detectable(0.5)
    assert a.detectable
    suites = {s.suite: s.detectable for s in found.suites}
    assert suites["dx"] == pytest.approx(a.detectable / 0.5)
    assert b.undecidable.endswith(f"and 50 are needed; a gate could have seen a difference of {b.detectable:.2f} or more")
    assert tiny.detectable is suites["few"] is suites["grading"] is None
    assert tiny.undecidable.endswith("and 5 are needed; no difference could have been seen")
    assert f"could have seen a difference of {b.detectable:.2f}" in evidence(measure(frame, spec, "gate"), "toy").undecidable["grading"]
    page = Console(width=250, record=True, file=io.StringIO())
    page.print(scorecard_table(found))
    assert f"+{a.detectable:.2f}" in page.export_text()


def test_what_could_have_been_seen_does_not_depend_on_what_was_answered() -> None:
    rng, seen = np.random.default_rng(0), set()
    for scores in (HALF, [0] * 20, rng.normal(size=(20, 2))):
        for metric in ("accuracy", "balanced_accuracy", "macro_f1", "auc"):
            seen.add((metric, round(measure(answered("a", HALF, scores), benchmark({"id": "a", "metric": metric}), "gate").detectable["a"], 9)))
    assert len(seen) == 4


def test_scorecards_that_were_written_earlier_are_read() -> None:
    found = card(answered("a", HALF, HALF), benchmark({"id": "a"}))
    before = found.model_dump()
    for record, fields in ((before["subtasks"][0], ("spread", "detectable")), (before["suites"][0], ("detectable",))):
        for name in fields:
            del record[name]
    read = Scorecard.model_validate(before)
    assert (read.subtasks[0].detectable, read.subtasks[0].spread, read.suites[0].detectable) == (None, {}, None)
    scorecard_table(read)


def test_answers_in_another_order_are_the_same_measurement() -> None:
    rng = np.random.default_rng(0)
    frame = pd.concat([answered("a", HALF, rng.normal(size=(20, 2))), answered("b", HALF, rng.normal(size=(20, 2)))], ignore_index=True)
    spec = benchmark({"id": "a"}, {"id": "b", "metric": "auc"})
    shuffled = frame.sample(frac=1, random_state=1)
    first, second = card(frame, spec), card(shuffled, spec)
    for a, b in zip(first.subtasks, second.subtasks, strict=True):
        for metric, score in a.scores.items():
            assert (score.value, score.low, score.high) == pytest.approx((b.scores[metric].value, b.scores[metric].low, b.scores[metric].high))
    assert card(frame, spec) == first, "a run's stored answers give the same scorecard again"


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "macro_f1", "auc"])
@pytest.mark.parametrize("classes", [2, 3])
def test_a_class_without_an_item_is_shown_and_not_decided(metric: str, classes: int) -> None:
    """A small hospital's split may lack a class; its scorecard is still made."""
    named = {c: {"values": [c], "names": [c]} for c in ("x", "y", "z")[:classes]}
    spec = benchmark({"id": "a", "metric": metric, "classes": named})
    truth = [0] * 10 if classes == 2 else HALF
    frame = answered("a", truth, [0] * len(truth), classes=classes)
    assert f"0 patients of class {'xyz'[classes - 1]!r}" in measure(frame, spec, "gate").undecidable["a"]
    found = subtask(card(frame, spec), "a")
    assert found.undecidable
    assert found.patients == ({"x": 10, "y": 0} if classes == 2 else {"x": 10, "y": 10, "z": 0})
    assert found.scores["accuracy"].value == (1 if classes == 2 else 0.5)
    assert "auc" not in found.scores


def test_a_subtask_without_an_item_in_the_split_is_undecidable_and_not_on_the_card() -> None:
    spec = benchmark({"id": "a"}, {"id": "gone", "suite": "grading"})
    frame = answered("a", HALF, HALF)
    m = measure(frame, spec, "gate")
    assert m.undecidable["gone"] == "no item in the gate split"
    assert "grading" in m.undecidable
    found = card(frame, spec, [plans(spec)[0], plans(spec, gone="no source")[1]])
    assert [s.id for s in found.subtasks] == ["a"]
    assert found.missing == {"gone": "no source"}
    assert next(s for s in found.suites if s.suite == "grading").skill is None


def test_floors_are_measured_on_the_same_items() -> None:
    spec = benchmark({"id": "a", "metric": "auc"})
    mediocre = [t if i < 15 else 1 - t for i, t in enumerate(HALF)]
    floors = [answered("a", HALF, HALF, by="thumbnail"), answered("a", HALF, [0] * 20, by="pixel_statistics")]
    frame = pd.concat([answered("a", HALF, mediocre), *floors])
    found = subtask(card(frame, spec), "a")
    assert {k: v.value for k, v in found.floors.items()} == pytest.approx({"thumbnail": 1.0, "pixel_statistics": 0.5})
    assert found.above_floor is False
    alone = subtask(card(frame[frame["by"] != "thumbnail"], spec), "a")
    assert alone.above_floor
    assert subtask(card(frame[frame["by"] == "model"], spec), "a").above_floor is None


def test_a_scorecard_survives_being_written_down() -> None:
    rng = np.random.default_rng(1)
    spec = benchmark({"id": "a"}, {"id": "b", "metric": "auc", "min_patients": 50}, {"id": "gone"})
    frame = pd.concat([answered(i, HALF, rng.normal(size=(20, 2)), by=by) for i in ("a", "b") for by in ("model", "thumbnail")])
    planned = [p.model_copy(update={"trained_on": ["drawn"]}) for p in plans(spec, gone="no source")]
    found = card(frame, spec, planned)
    assert Scorecard.model_validate_json(found.model_dump_json()) == found
    assert (found.benchmark, found.version, found.catalog, found.split) == ("small", "1", "toy", "gate")
    assert (found.stage, found.look, found.samples) == ("one", 1, 640)
    a = subtask(found, "a")
    assert (a.items, a.patients, a.trained_on, a.prompts) == (20, {"normal": 10, "mass": 10}, ["drawn"], spec.subtasks[0].prompts_digest())
    assert set(a.scores) == {"accuracy", "balanced_accuracy", "macro_f1", "auc"}
    for score in a.scores.values():
        assert score.low <= score.value <= score.high


def test_an_interval_reads_as_a_sentence_part() -> None:
    assert str(Interval(value=0.5, low=0.25, high=0.754)) == "0.500 [0.250, 0.754]"
