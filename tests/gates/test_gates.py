"""What every gate keeps, each gate around its bound, how often gates are wrong, and the seal on the report split."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np
import pytest
from mypy import api
from scipy.special import ndtri

from radisim_cl.bench.measure import Measurement, evidence
from radisim_cl.gates._policy import decision
from radisim_cl.records.evidence import Gate, GateEvidence, Verdict, spent
from radisim_cl.registry import kinds, plugin
from radisim_cl.specs.base import Spec
from radisim_cl.specs.gates import AllOfSpec, AnyOfSpec, GateSpec, PlateauSpec, RequirementSpec, RetentionSpec, ThresholdSpec
from radisim_cl.stats import Answers, Estimate, Resamples, difference

SPECS: list[type[Spec]] = list(get_args(get_args(RequirementSpec)[0]))


def normal(value: float, error: float = 0.1) -> Estimate:
    """An estimate whose one-sided bound at alpha is z(alpha) standard errors below it, as analytic as can be."""
    return Estimate(value, np.full(10, np.nan), lambda alpha: (value - error * float(ndtri(1 - alpha)), value + error * float(ndtri(1 - alpha))))


def seen(estimate: Estimate | None = None, share: float = 1.0, catalog: str = "toy", **undecidable: str) -> GateEvidence:
    """What a gate sees of the suite `skills`."""
    return GateEvidence("gate", catalog, {} if estimate is None else {("skills", "skill"): estimate}, undecidable, share)


def since(*changes: Estimate | dict[str, Estimate], share: float = 1.0, **undecidable: str) -> GateEvidence:
    """What a gate sees of changes: since the stage's entry, then since each look; of the suite `skills`, or by suite."""
    told = [{(name, "skill"): e for name, e in (c if isinstance(c, dict) else {"skills": c}).items()} for c in changes]
    learned = tuple(dict.fromkeys(name for c in told for name, _ in c)) + tuple(undecidable)
    return GateEvidence("gate", "toy", {("skills", "skill"): normal(0.5)}, undecidable, share, told, learned)


def need(at_least: float | dict[str, float] = 0.5, confidence: float = 0.95, **target: str) -> ThresholdSpec:
    """A requirement of the suite `skills`, or of another target."""
    return ThresholdSpec.model_validate({"suite": "skills", "at_least": at_least, "confidence": confidence} if not target else
                                        {"at_least": at_least, "confidence": confidence, **target})


def plateau(less_than: float = 0.02, looks: int = 1) -> PlateauSpec:
    """A requirement of the suite `skills`."""
    return PlateauSpec(suite="skills", less_than=less_than, looks=looks)


def decide(spec: Any, found: GateEvidence) -> Verdict:
    """By the plugin that the spec's kind names, as the runner does it."""
    verdict = plugin("radisim_cl.gates", spec.kind).decide(spec, found)
    assert isinstance(verdict, Verdict)
    return verdict


def test_every_gate_has_a_spec_and_every_spec_a_gate() -> None:
    assert kinds("radisim_cl.gates") == sorted(str(s.model_fields["kind"].default) for s in SPECS)


def contract_cases() -> list[tuple[Any, GateEvidence]]:
    """For every kind of gate, a requirement with what it is decided on; a new kind adds its own here."""
    cases: dict[str, list[tuple[Any, GateEvidence]]] = {"threshold": [
        (need(0.5), seen(normal(0.8))), (need(0.9), seen(normal(0.8))), (need(0.5), seen(skills="too few patients")),
    ], "plateau": [
        (plateau(), since(normal(0.0, 0.01))), (plateau(), since(normal(0.3))), (plateau(looks=3), since(normal(0.0))),
        (plateau(), since(normal(0.0), skills="too few patients")),
    ], "retention": [
        (RetentionSpec(), since({"a": normal(-0.5), "b": normal(0.1)})), (RetentionSpec(strict=True), since(normal(0.0, 0.001))),
        (RetentionSpec(), since()), (RetentionSpec(), since(normal(0.0), skills="too few patients")),
    ], "all_of": [
        (AllOfSpec(requires=[need(0.5), need(0.6)]), seen(normal(0.9))), (AllOfSpec(requires=[need(0.5)]), seen(skills="too few patients")),
    ], "any_of": [
        (AnyOfSpec(requires=[need(0.5), RetentionSpec()]), seen(normal(0.1))), (AnyOfSpec(requires=[need(0.5)]), seen(skills="too few patients")),
    ]}
    assert sorted(cases) == kinds("radisim_cl.gates"), "every gate stands in the contract test"
    return [c for each in cases.values() for c in each]


@pytest.mark.parametrize(("spec", "found"), contract_cases())
def test_contract_a_verdict_is_a_function_of_spec_and_evidence(spec: Any, found: GateEvidence) -> None:
    verdict = decide(spec, found)
    assert decide(spec, found) == verdict
    assert verdict.passed in (True, False, None)
    assert 0 < verdict.alpha < 0.5
    assert verdict.reason
    assert "\n" not in verdict.reason


@pytest.mark.parametrize("value", [0.4, 0.55, 0.65, 0.7, 0.9])
def test_threshold_passes_where_the_lower_bound_reaches_it_and_not_the_value(value: float) -> None:
    bound = value - 0.1 * 1.6448536269514722
    verdict = decide(need(0.5), seen(normal(value)))
    assert verdict.passed == (bound >= 0.5)
    assert f"{value:.3f}" in verdict.reason
    assert f"{bound:.3f}" in verdict.reason
    assert "0.5" in verdict.reason


def test_threshold_passes_at_equality() -> None:
    exact = Estimate(0.7, np.full(3, np.nan), lambda alpha: (0.5, 0.9))
    assert decide(need(0.5), seen(exact)).passed is True
    assert decide(need(np.nextafter(0.5, 1)), seen(exact)).passed is False


def test_a_higher_threshold_is_never_easier() -> None:
    passed = [decide(need(t), seen(normal(0.6))).passed for t in np.linspace(-0.5, 1, 40)]
    assert passed[0] is True
    assert passed[-1] is False
    assert passed == sorted(passed, key=bool, reverse=True)


@pytest.mark.parametrize("looks", [1, 2, 4, 20])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_the_error_rate_is_shared_among_the_looks(looks: int, confidence: float) -> None:
    verdict = decide(need(0.5, confidence), seen(normal(0.7), 1 / looks))
    assert verdict.alpha * looks == pytest.approx(1 - confidence)
    assert f"{0.7 - 0.1 * float(ndtri(1 - (1 - confidence) / looks)):.3f}" in verdict.reason


def test_all_attempts_together_spend_no_more_than_there_is() -> None:
    for looks in (1, 2, 7):
        each = [looks * spent(looks, attempt) for attempt in range(40)]
        assert sum(each) <= 1
        assert sum(each) == pytest.approx(1)
        assert each[1:] == pytest.approx([x / 2 for x in each[:-1]])


def test_more_looks_ask_for_more() -> None:
    just = normal(0.5 + 0.1 * 1.7)
    assert decide(need(0.5), seen(just)).passed is True
    assert decide(need(0.5), seen(just, 1 / 2)).passed is False


def test_repeated_looks_pass_without_the_skill_at_most_as_often_as_allowed() -> None:
    """Simulated where it is hardest: the true skill lies exactly at the threshold, and four looks are independent."""
    rng, looks, studies = np.random.default_rng(0), 4, 4000
    wrong = sum(any(decide(need(0.5), seen(normal(0.5 + 0.1 * z), 1 / looks)).passed for z in rng.normal(0, 1, looks)) for _ in range(studies))
    assert wrong / studies <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / studies)
    assert wrong / studies > 0.03, "and the error rate is used"


@pytest.mark.parametrize("estimate", [None, normal(0.99, 0.001)], ids=["absent", "good"])
def test_the_undecidable_is_neither_passed_nor_failed(estimate: Estimate | None) -> None:
    verdict = decide(need(-1.0), seen(estimate, skills="3 patients of class 'mass', and 5 are needed"))
    assert verdict.passed is None
    assert "undecidable" in verdict.reason
    assert "3 patients of class 'mass'" in verdict.reason


@pytest.mark.parametrize(("catalog", "passed"), [("toy", True), ("hospital", False), ("elsewhere", True)])
def test_thresholds_by_catalog(catalog: str, passed: bool) -> None:
    spec = need({"default": 0.3, "hospital": 0.9})
    assert decide(spec, seen(normal(0.6), catalog=catalog)).passed is passed


def test_a_subtask_and_a_metric_can_be_required() -> None:
    found = GateEvidence("gate", "toy", {("dx.mass", "auc"): normal(0.9), ("dx.mass", "skill"): normal(0.2)}, {})
    assert decide(need(0.6, subtask="dx.mass", metric="auc"), found).passed is True
    assert decide(need(0.6, subtask="dx.mass"), found).passed is False


def bound(value: float, alpha: float) -> float:
    """The upper bound of `normal(value)`."""
    return value + 0.1 * float(ndtri(1 - alpha))


@pytest.mark.parametrize("change", [-0.6, -0.3, -0.2, -0.05, 0.1])
def test_retention_fails_where_the_upper_bound_shows_a_larger_drop(change: float) -> None:
    verdict = decide(RetentionSpec(max_drop=0.05), since(normal(change)))
    assert verdict.passed == (bound(change, 0.05) >= -0.05)
    assert verdict.forgotten == (() if verdict.passed else ("skills",))
    could = 0.05 + 0.1 * float(ndtri(0.95) + ndtri(0.8))
    assert (f"a drop of {could:.2f} would have shown" in verdict.reason) == bool(verdict.passed)


def test_retention_shares_its_error_rate_among_the_suites_and_names_the_forgotten() -> None:
    change = -0.05 - 0.1 * 1.8  # shown at 5 %, not at a half of it
    assert decide(RetentionSpec(), since({"a": normal(change)})).passed is False
    assert decide(RetentionSpec(), since({"a": normal(change), "b": normal(0.0)})).passed is True
    worse = decide(RetentionSpec(), since({"a": normal(change), "b": normal(-0.9)}))
    assert (worse.passed, worse.forgotten) == (False, ("b",))


def test_strict_retention_passes_where_a_larger_drop_is_ruled_out() -> None:
    spec = RetentionSpec(max_drop=0.05, strict=True)
    assert decide(spec, since(normal(0.0, 0.1))).passed is False, "too few patients to rule it out"
    assert decide(spec, since(normal(0.0, 0.02))).passed is True
    assert decide(spec, since({"a": normal(0.0, 0.02), "b": normal(-0.04, 0.02)})).passed is False


def test_retention_of_nothing_and_of_what_cannot_be_decided() -> None:
    assert decide(RetentionSpec(), seen(normal(0.5))).passed is True
    assert decide(RetentionSpec(), since(normal(-0.9), skills="too few patients")).passed is None
    partly = decide(RetentionSpec(), since({"a": normal(0.0)}, b="too few patients"))
    assert partly.passed is True
    assert "undecidable: b" in partly.reason


@pytest.mark.parametrize("gain", [-0.2, -0.15, -0.14, 0.0, 0.3])
def test_a_plateau_is_a_gain_that_is_shown_to_be_small(gain: float) -> None:
    assert decide(plateau(0.02), since(normal(0.5), normal(gain))).passed == (bound(gain, 0.05) < 0.02)


def test_a_plateau_over_more_looks_than_there_were_is_not_seen() -> None:
    flat = normal(0.0, 0.001)
    assert [decide(plateau(looks=n), since(flat, flat)).passed for n in (1, 2, 3)] == [True, True, False]
    assert decide(plateau(looks=2), since(normal(0.5, 0.001), flat)).passed is False, "the gain since the entry, not since the last look"


def test_all_of_passes_at_full_confidence_and_any_of_shares_it() -> None:
    both: list[RequirementSpec] = [need(0.5), need(0.6)]
    good, better = normal(0.5 + 0.1 * 1.7), normal(0.6 + 0.1 * 1.7)
    assert [decide(AllOfSpec(requires=both), seen(e)).passed for e in (good, better)] == [False, True]
    assert [decide(AnyOfSpec(requires=both), seen(e)).passed for e in (good, better)] == [False, True], "1.7 errors do not do at 2.5 %"
    assert decide(AnyOfSpec(requires=both), seen(better)).alpha == pytest.approx(0.05)
    one = AnyOfSpec(requires=[need(0.5, suite="skills"), need(0.5, subtask="dx")])
    assert decide(one, seen(normal(0.1), dx="too few patients")).passed is None
    assert decide(one, seen(normal(0.9), dx="too few patients")).passed is True
    every = AllOfSpec(requires=one.requires)
    assert decide(every, seen(normal(0.9), dx="too few patients")).passed is None
    assert decide(every, seen(normal(0.1), dx="too few patients")).passed is False


def test_retention_without_forgetting_fails_at_most_as_often_as_allowed() -> None:
    """Simulated where it is hardest: four suites whose true drop is the largest allowed, at two looks."""
    rng, studies = np.random.default_rng(1), 2500
    wrong = sum(any(decide(RetentionSpec(max_drop=0.05), since({s: normal(-0.05 + 0.1 * z) for s, z in zip("abcd", rng.normal(0, 1, 4), strict=True)},
                                                              share=0.5)).passed is False for _ in range(2)) for _ in range(studies))
    assert wrong / studies <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / studies)
    assert wrong / studies > 0.03, "and the error rate is used"


def test_a_paired_difference_covers_and_is_tighter_than_an_unpaired_one() -> None:
    """Two models that agree on most patients: the interval of the change of accuracy against its true value, 0.1, at 90 %."""
    rng, studies, n = np.random.default_rng(2), 400, 150
    patients = np.array([f"p{i:03d}" for i in range(n)])
    resamples, missed, narrow, wide = Resamples.draw(list(patients), replicates=300), 0, 0.0, 0.0
    for _ in range(studies):
        truth, u, v = rng.integers(0, 2, n), rng.random(n), rng.random(n)
        before, after = u < 0.7, (u < 0.7) & (v < 0.95) | (u >= 0.7) & (v < 0.45)  # 0.7 and 0.8
        a, b = (Answers(patients, truth, np.eye(2)[np.where(right, truth, 1 - truth)]).estimate("accuracy", resamples) for right in (after, before))
        low, high = difference(a, b).bounds(0.05)
        missed += not low <= 0.1 <= high
        narrow += high - low
        wide += (a.bounds(0.05)[1] - a.bounds(0.05)[0]) + (b.bounds(0.05)[1] - b.bounds(0.05)[0])
    assert missed / studies <= 0.1 + 3 * np.sqrt(0.1 * 0.9 / studies)
    assert narrow < 0.8 * wide
    assert difference(a, a).value == 0
    assert difference(a, b).value == pytest.approx(-difference(b, a).value)


POLICIES: list[tuple[dict[str, Any], dict[str, Any], tuple[str, int]]] = [
    ({}, {"passed": True}, ("advance", 0)),
    ({}, {"passed": False}, ("extend", 5)),
    ({}, {"passed": False, "look": 2}, ("stop", 0)),
    ({}, {"passed": False, "reserve": 3}, ("extend", 3)),
    ({}, {"passed": False, "reserve": 0}, ("stop", 0)),
    ({}, {"passed": None}, ("stop", 0)),
    ({"then": "advance_flagged"}, {"passed": None}, ("advance_flagged", 0)),
    ({"then": "advance_flagged"}, {"passed": False, "reserve": 0}, ("advance_flagged", 0)),
    ({"on_fail": "stop"}, {"passed": False}, ("stop", 0)),
    ({"on_fail": "advance_flagged"}, {"passed": False}, ("advance_flagged", 0)),
    ({"on_fail": "replay_up"}, {"passed": False}, ("replay_up", 5)),
    ({"on_fail": "replay_up"}, {"passed": False, "tries": 2}, ("stop", 0)),
    ({"on_fail": "replay_up", "max_attempts": 3}, {"passed": False, "tries": 2}, ("replay_up", 5)),
    ({"on_fail": "rollback"}, {"passed": False}, ("rollback", 10)),
    ({"on_fail": "rollback"}, {"passed": False, "reserve": 9}, ("stop", 0)),
    ({"on_fail": "rollback", "then": "advance_flagged"}, {"passed": False, "tries": 2}, ("advance_flagged", 0)),
    ({}, {"passed": False, "mode": "observe"}, ("advance", 0)),
    ({}, {"passed": None, "mode": "off"}, ("advance", 0)),
]


@pytest.mark.parametrize(("gate", "where", "expected"), POLICIES)
def test_policies(gate: dict[str, Any], where: dict[str, Any], expected: tuple[str, int]) -> None:
    spec = GateSpec.model_validate({"requires": [{"kind": "threshold", "suite": "skills", "at_least": 0.5}], **gate})
    given: dict[str, Any] = {"mode": "enforce", "look": 1, "tries": 1, "reserve": 20, "extension": 5, "whole": 10} | where
    assert decision(spec, **given) == expected


@pytest.mark.parametrize("split", ["report", "tune", "train", ""])
def test_no_gate_sees_another_split(split: Literal["gate"]) -> None:
    with pytest.raises(ValueError, match="gate split"):
        GateEvidence(split, "toy", {}, {})


@pytest.mark.parametrize("split", ["report", "tune"])
def test_a_measurement_of_another_split_is_no_evidence(split: Literal["report", "tune"]) -> None:
    measured = Measurement(split, {("skills", "skill"): normal(0.9)})
    with pytest.raises(ValueError, match=split):
        evidence(cast(Measurement[Gate], measured), "toy")


SNIPPET = """
import pandas as pd
from radisim_cl.bench.measure import evidence, measure
from radisim_cl.records.evidence import Split
from radisim_cl.specs.benchmark import BenchmarkSpec


def decide(frame: pd.DataFrame, benchmark: BenchmarkSpec, some: Split) -> None:
    evidence(measure(frame, benchmark, "gate"), "toy")
    reported = measure(frame, benchmark, "report")
    evidence(reported, "toy")
    chosen = measure(frame, benchmark, some)
    evidence(chosen, "toy")
"""
CONFIGURATION = """
[mypy]
strict = true
follow_imports = skip
no_site_packages = true
ignore_missing_imports = true
mypy_path = {}
[mypy-radisim_cl.bench.measure,radisim_cl.records.evidence]
follow_imports = silent
"""


def test_what_gives_a_gate_another_split_does_not_type_check(tmp_path: Path) -> None:
    """Of our own modules only those that the types are made of are read, and no other package."""
    (tmp_path / "snippet.py").write_text(SNIPPET)
    (tmp_path / "mypy.ini").write_text(CONFIGURATION.format(Path(__file__).parents[2]))
    said, broken, _ = api.run([str(tmp_path / "snippet.py"), "--config-file", str(tmp_path / "mypy.ini"), "--cache-dir", str(tmp_path / "cache")])
    errors = [line.partition("snippet.py:")[2] for line in said.splitlines() if "error:" in line]
    assert errors == [f"{line}: error: Argument 1 to \"evidence\" has incompatible type \"Measurement[{given}]\"; "
                      "expected \"Measurement[Literal['gate']]\"  [arg-type]"
                      for line, given in ((11, "Literal['report']"), (13, "Literal['tune', 'gate', 'report']"))], said
    assert not broken


def test_a_measurement_of_the_gate_split_is_passed_on_whole() -> None:
    measured = Measurement("gate", {("skills", "skill"): normal(0.9)}, {"dx": "too few"})
    found = evidence(measured, "toy", 0.25)
    assert (found.split, found.catalog, found.share) == ("gate", "toy", 0.25)
    assert found.estimates == measured.estimates
    assert found.undecidable == measured.undecidable
