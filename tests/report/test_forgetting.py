"""The matrix of forgetting, beside a bootstrap of paired differences written out."""

from __future__ import annotations

import numpy as np
import pytest

from radisim_cl.bench.measure import Measurement
from radisim_cl.records.evidence import Report
from radisim_cl.report.forgetting import forgetting
from radisim_cl.stats import Answers, Resamples, difference

PATIENTS = np.array([f"p{i:03d}" for i in range(120)])
TRUTH = np.arange(120) % 2


def after(right: dict[str, float], seed: int = 0) -> Measurement[Report]:
    """Answers of which a share is right, the same patients first."""
    out: Measurement[Report] = Measurement("report")
    order = np.random.default_rng(seed).permutation(120)
    for suite, share in right.items():
        answer = np.where(order < share * 120, TRUTH, 1 - TRUTH)
        accuracy = Answers(PATIENTS, TRUTH, np.eye(2)[answer]).estimate("accuracy", Resamples.draw(PATIENTS.tolist()))
        out.estimates[suite, "skill"] = accuracy.rescaled(0.5)
    return out


def test_changes_are_since_the_suites_own_stage() -> None:
    found = forgetting({"a": after({"a": 0.9, "b": 0.5}), "b": after({"a": 0.6, "b": 0.8}), "c": after({"a": 0.9, "b": 0.8})}, ["a", "b", "other"])
    assert [[found[s][x].when for x in ("a", "b", "other")] for s in "abc"] == [["at", "before", ""], ["after", "at", ""], ["after", "after", ""]]
    lost, back, same = found["b"]["a"], found["c"]["a"], found["c"]["b"]
    assert lost.change is not None
    assert lost.change.value == pytest.approx(-0.6)
    assert lost.lost
    assert back.change is not None
    assert (back.change.value, back.lost, same.lost) == (0.0, False, False)
    assert found["a"]["other"].skill is None


def test_the_interval_is_paired() -> None:
    """Of the same items a small loss is shown that two independent samples would hide."""
    now, then = after({"a": 0.75}).estimates["a", "skill"], after({"a": 0.85}).estimates["a", "skill"]
    paired = difference(now, then)
    low, high = paired.bounds(0.025)
    assert high < 0
    weights = Resamples.draw(PATIENTS.tolist()).weights(PATIENTS)
    order = np.random.default_rng(0).permutation(120)
    lost = (order >= 0.75 * 120) & (order < 0.85 * 120)
    boot = -2 * (weights * lost).sum(1) / weights.sum(1)
    assert np.allclose(paired.replicates, boot)
    assert low <= np.quantile(boot, 0.025)
    other = after({"a": 0.85}, seed=1).estimates["a", "skill"]
    assert difference(now, other).bounds(0.025)[1] - difference(now, other).bounds(0.025)[0] > high - low


def test_two_perfect_scores_do_not_show_that_nothing_changed() -> None:
    both = after({"a": 1.0}).estimates["a", "skill"]
    low, high = difference(both, both).bounds(0.025)
    assert low < -0.01 < 0.01 < high
