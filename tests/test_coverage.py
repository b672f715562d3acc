"""The simulation behind `docs/images/coverage.svg` is of our intervals, and they hold the true score as often as they should."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from radisim_cl.stats import Resamples, mean, overlap

METRICS = {"accuracy": "accuracy", "balanced accuracy": "balanced_accuracy", "macro F1": "macro_f1", "kappa": "quadratic_kappa", "AUC": "auc",
           "mean overlap": "dice", "suite of three": "accuracy"}


def _loaded() -> Any:
    spec = importlib.util.spec_from_file_location("coverage_of_intervals", Path(__file__).parents[1] / "docs" / "coverage.py")
    assert spec
    assert spec.loader
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


script = _loaded()
KINDS = sorted({(c.metric, c.items) for c in script.cells()})


@pytest.mark.parametrize(("metric", "items"), KINDS)
def test_what_is_simulated_are_our_intervals(metric: str, items: str) -> None:
    simulated = script.simulate(script.Cell(metric, items, 40, 0.85), studies=4, replicates=200)
    for alpha in (0.025, 0.05):
        hulls = script.intervals(simulated, alpha)["hull"]
        for s in range(4):
            subtasks = simulated.study(s)
            draws = Resamples.draw(list(subtasks[0].patients), replicates=200)
            estimates = [a.estimate(METRICS[metric], draws) for a in subtasks]
            ours = mean(estimates, overlap([a.patients for a in subtasks])) if len(estimates) > 1 else estimates[0]
            np.testing.assert_allclose(hulls[s], ours.bounds(alpha), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("cell", [c for c in script.cells() if c.patients in (20, 100) and c.score in (0.7, 0.95)], ids=str)
def test_intervals_hold_the_true_score(cell: Any) -> None:
    """Within three standard errors of .95, on both sides together and on the lower side, which gates use."""
    both, lower, _ = script.coverage(script.simulate(cell))["hull"]
    assert min(both, lower) >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / script.STUDIES)


@pytest.mark.parametrize(("metric", "items", "n", "chance", "least", "most"), [
    ("accuracy", "1", 40, 0.5, 0.75, 0.92), ("balanced accuracy", "1", 100, 0.5, 0.75, 0.92), ("AUC", "1", 40, 0.5, 0.72, 0.92),
    ("AUC", "1", 100, 0.5, 0.72, 0.92), ("suite of three", "1; the same patients", 40, 0.5, 0.7, 0.92), ("AUC", "7", 40, 0.5, 0.8, 1),
    ("accuracy", "7", 40, 0.5, 0.8, 1), ("mean overlap", "1", 40, 0.3, 0.8, 1),
])
def test_a_difference_that_could_have_been_seen_is_seen(metric: str, items: str, n: int, chance: float, least: float, most: float) -> None:
    """In about 80 % of studies whose true score lies that far above chance; in more where a patient has several items, or is not just right
    or wrong, because guards count patients."""
    blank = script.simulate(script.Cell(metric, items, n, 0.75), studies=30, replicates=200)
    draws, differences = Resamples.draw(list(blank.study(0)[0].patients), replicates=200), []
    for s in range(30):
        subtasks = blank.study(s)
        estimates = [a.estimate(METRICS[metric], draws) for a in subtasks]
        found = mean(estimates, overlap([a.patients for a in subtasks])).detectable(chance)
        assert found
        differences.append(found)
    simulated = script.simulate(script.Cell(metric, items, n, chance + float(np.mean(differences))), studies=600, replicates=400)
    power = float(np.mean(script.intervals(simulated, 0.025)["hull"][:, 0] > chance))
    assert least <= power <= most


def test_the_page_shows_every_cell_of_the_grid() -> None:
    told = script.PAGE.read_text().partition("<!-- coverage -->")[2].partition("<!-- end -->")[0]
    assert {tuple(x.strip() for x in line.split("|")[1:3]) for line in told.strip().splitlines()[2:]} == set(KINDS)
    assert script.FIGURE.stat().st_size < 300_000
