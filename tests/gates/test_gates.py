"""What every gate keeps, the threshold gate around its bound, and the seal on the report split."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np
import pytest
from mypy import api
from scipy.special import ndtri

from radisim_cl.bench.measure import Measurement, evidence
from radisim_cl.records.evidence import Gate, GateEvidence, Verdict
from radisim_cl.registry import kinds, plugin
from radisim_cl.specs.base import Spec
from radisim_cl.specs.gates import RequirementSpec, ThresholdSpec
from radisim_cl.stats import Estimate

SPECS: list[type[Spec]] = list(get_args(get_args(RequirementSpec)[0]))


def normal(value: float, error: float = 0.1) -> Estimate:
    """An estimate whose one-sided bound at alpha is z(alpha) standard errors below it, as analytic as can be."""
    return Estimate(value, np.full(10, np.nan), lambda alpha: (value - error * float(ndtri(1 - alpha)), value + error * float(ndtri(1 - alpha))))


def seen(estimate: Estimate | None = None, looks: int = 1, catalog: str = "toy", **undecidable: str) -> GateEvidence:
    """What a gate sees of the suite `skills`."""
    return GateEvidence("gate", catalog, {} if estimate is None else {("skills", "skill"): estimate}, undecidable, looks)


def need(at_least: float | dict[str, float] = 0.5, confidence: float = 0.95, **target: str) -> ThresholdSpec:
    """A requirement of the suite `skills`, or of another target."""
    return ThresholdSpec.model_validate({"suite": "skills", "at_least": at_least, "confidence": confidence} if not target else
                                        {"at_least": at_least, "confidence": confidence, **target})


def decide(spec: ThresholdSpec, found: GateEvidence) -> Verdict:
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
    verdict = decide(need(0.5, confidence), seen(normal(0.7), looks=looks))
    assert verdict.alpha * looks == pytest.approx(1 - confidence)
    assert f"{0.7 - 0.1 * float(ndtri(1 - (1 - confidence) / looks)):.3f}" in verdict.reason


def test_more_looks_ask_for_more() -> None:
    just = normal(0.5 + 0.1 * 1.7)
    assert decide(need(0.5), seen(just, looks=1)).passed is True
    assert decide(need(0.5), seen(just, looks=2)).passed is False


def test_repeated_looks_pass_without_the_skill_at_most_as_often_as_allowed() -> None:
    """Simulated where it is hardest: the true skill lies exactly at the threshold, and four looks are independent."""
    rng, looks, studies = np.random.default_rng(0), 4, 4000
    wrong = sum(any(decide(need(0.5), seen(normal(0.5 + 0.1 * z), looks=looks)).passed for z in rng.normal(0, 1, looks)) for _ in range(studies))
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
    found = GateEvidence("gate", "toy", {("dx.mass", "auc"): normal(0.9), ("dx.mass", "skill"): normal(0.2)}, {}, 1)
    assert decide(need(0.6, subtask="dx.mass", metric="auc"), found).passed is True
    assert decide(need(0.6, subtask="dx.mass"), found).passed is False


@pytest.mark.parametrize("split", ["report", "tune", "train", ""])
def test_no_gate_sees_another_split(split: Literal["gate"]) -> None:
    with pytest.raises(ValueError, match="gate split"):
        GateEvidence(split, "toy", {}, {}, 1)


@pytest.mark.parametrize("split", ["report", "tune"])
def test_a_measurement_of_another_split_is_no_evidence(split: Literal["report", "tune"]) -> None:
    measured = Measurement(split, {("skills", "skill"): normal(0.9)})
    with pytest.raises(ValueError, match=split):
        evidence(cast(Measurement[Gate], measured), "toy", 1)


SNIPPET = """
import pandas as pd
from radisim_cl.bench.measure import evidence, measure
from radisim_cl.records.evidence import Split
from radisim_cl.specs.benchmark import BenchmarkSpec


def decide(frame: pd.DataFrame, benchmark: BenchmarkSpec, some: Split) -> None:
    evidence(measure(frame, benchmark, "gate"), "toy", 1)
    reported = measure(frame, benchmark, "report")
    evidence(reported, "toy", 1)
    chosen = measure(frame, benchmark, some)
    evidence(chosen, "toy", 1)
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
    found = evidence(measured, "toy", 3)
    assert (found.split, found.catalog, found.looks) == ("gate", "toy", 3)
    assert found.estimates == measured.estimates
    assert found.undecidable == measured.undecidable
