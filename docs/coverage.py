"""How often intervals hold the true score, by simulation: draws `docs/images/coverage.svg` and writes the table of `docs/design/statistics.md`.

    make coverage

Studies are vectorised; `tests/test_coverage.py` checks that their intervals are those of `radisim_cl.stats`, study by study.
"""

from __future__ import annotations

import itertools
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib import rcParams
from matplotlib.figure import Figure
from scipy.special import ndtr, ndtri
from scipy.stats import beta

from radisim_cl.intervals import Bounds, delong, exact, mover, newcombe_auc
from radisim_cl.stats import Answers, Estimate, Resamples, Values, effective, mean, overlap

F = npt.NDArray[np.floating]
I = npt.NDArray[np.int64]  # noqa: E741
STUDIES, REPLICATES = 1000, 1000
"""A coverage of .95 then has a standard error of .007."""
PATIENTS = (10, 20, 40, 100, 400)
SCORES = (0.5, 0.7, 0.85, 0.95, 0.99)
"""What is true: the accuracy of every class, the AUC or the mean overlap."""
DESIGNS: dict[str, list[int]] = {"1": [1], "7": [7], "1 or 20": [20, 1, 1, 1, 1]}
"""Items of the patients, in turn."""
RARE = "1; 1 in 8 positive, spread twice as wide"
ALIKE = 0.5
"""Correlation of two items of a patient, before they are cut into right and wrong."""
PRIOR = {"accuracy": (0.5, 0.5), "balanced accuracy": (0.5, 0.5), "macro F1": (0.4, 0.3, 0.3), "kappa": (0.4, 0.3, 0.3)}
"""Shares of the classes, for scores of answers that are right or wrong."""
METHODS = ("bootstrap", "analytic", "hull")
FIGURE, PAGE = Path(__file__).parent / "images" / "coverage.svg", Path(__file__).parent / "design" / "statistics.md"


class Studies(NamedTuple):
    """Studies of one cell.

    Attributes:
        true: the score that they estimate.
        replicates: (S, R) their bootstrap replicates.
        guard: of the s-th study at one-sided level alpha.
        study: the s-th study as `radisim_cl.stats` takes it, by subtask.
    """

    true: float
    replicates: F
    guard: Callable[[int, float], Bounds]
    study: Callable[[int], list[Answers | Values]]


class Cell(NamedTuple):
    """What is simulated."""

    metric: str
    items: str
    patients: int
    score: float


def cells() -> Iterator[Cell]:
    """The grid."""
    for metric, items, n, score in itertools.product((*PRIOR, "AUC", "mean overlap"), DESIGNS, PATIENTS, SCORES):
        yield Cell(metric, items, n, score)
    for n, score in itertools.product(PATIENTS, SCORES):
        yield Cell("suite of three", "1; the same patients", n, score)
        if n >= 40:
            yield Cell("AUC", RARE, n, score)


def simulate(cell: Cell, studies: int = STUDIES, replicates: int = REPLICATES) -> Studies:
    """Studies with the draws of patients that `radisim_cl.stats` makes too."""
    rng = np.random.default_rng(round(1000 * cell.patients * cell.score))
    of = np.repeat(np.arange(cell.patients), np.resize(DESIGNS.get(cell.items, [1]), cell.patients))
    draws = Resamples.draw([f"{i:04d}" for i in range(cell.patients)], replicates=replicates).counts.astype(np.float32)
    if cell.metric == "AUC":
        return _auc(cell, of, draws, studies, rng)
    if cell.metric == "mean overlap":
        return _overlap(cell, of, draws, studies, rng)
    return _suite(cell, draws, studies, rng) if cell.metric == "suite of three" else _confused(cell, of, draws, studies, rng)


def _names(of: I) -> npt.NDArray[np.str_]:
    return np.array([f"{i:04d}" for i in of])


def _latent(of: I, studies: int, rng: np.random.Generator) -> F:
    """(S, N) standard normal, ALIKE within a patient."""
    shared = rng.standard_normal((studies, of.max() + 1))
    normal: F = np.sqrt(ALIKE) * shared[:, of] + np.sqrt(1 - ALIKE) * rng.standard_normal((studies, len(of)))
    return normal


def _metric(m: F, metric: str) -> F:
    """Of (..., K, K) confusion matrices, truth by row; a class that is absent is left out, or has an F1 of 0."""
    right, k = np.diagonal(m, axis1=-2, axis2=-1), m.shape[-1]
    with np.errstate(invalid="ignore", divide="ignore"):
        squared = (np.arange(k)[:, None] - np.arange(k)) ** 2
        expected = m.sum(-1)[..., :, None] * m.sum(-2)[..., None, :] / m.sum((-1, -2))[..., None, None]
        score: F = {
            "accuracy": lambda: right.sum(-1) / m.sum((-1, -2)),
            "balanced accuracy": lambda: np.nanmean(right / m.sum(-1), axis=-1),
            "macro F1": lambda: np.nan_to_num(2 * right / (m.sum(-1) + m.sum(-2))).mean(-1),
            "kappa": lambda: 1 - (m * squared).sum((-1, -2)) / (expected * squared).sum((-1, -2)),
        }[metric]()
    return score


def _confused(cell: Cell, of: I, draws: F, studies: int, rng: np.random.Generator) -> Studies:
    """Classes stand in their shares; an answer that is wrong is any of the other classes."""
    k, n = len(PRIOR[cell.metric]), cell.patients
    truth = np.searchsorted(np.round(np.cumsum(PRIOR[cell.metric]) * n), np.arange(n), side="right")
    right = _latent(of, studies, rng) < ndtri(cell.score)
    answer = np.where(right, truth[of], (truth[of] + rng.integers(1, k, right.shape)) % k)
    starts = np.searchsorted(of, np.arange(n))
    tables = np.zeros((studies, n, k, k), np.float32)
    for a in range(k):
        tables[:, np.arange(n), truth, a] = np.add.reduceat(answer == a, starts, axis=1, dtype=np.float32)
    replicates = np.concatenate([_metric((draws @ part.transpose(1, 0, 2, 3).reshape(n, -1)).reshape(len(draws), -1, k, k), cell.metric).T
                                 for part in np.array_split(tables, max(1, studies // 250))])
    shares = np.bincount(truth[of], minlength=k) / len(of)
    population = shares[:, None] * np.where(np.eye(k) == 1, cell.score, (1 - cell.score) / (k - 1))
    m = tables.sum(axis=1).astype(np.float64)
    values, recalls = _metric(m, cell.metric), np.diagonal(m, axis1=1, axis2=2) / m.sum(2)
    names = of.astype(str)
    everyone, of_class = effective(names), [effective(names[truth[of] == c]) for c in range(k)]

    def guard(s: int, alpha: float) -> Bounds:
        if cell.metric == "accuracy":
            return exact(values[s], everyone, alpha)
        if cell.metric == "kappa":
            margins, grades = m[s] / m[s].sum(), np.arange(k)
            expected = float((margins.sum(1)[:, None] * margins.sum(0) * (grades[:, None] - grades) ** 2).sum())
            low, high = exact(min(1.0, (1 - values[s]) * expected / (k - 1) ** 2), everyone, alpha)
            return max(-1.0, 1 - high * (k - 1) ** 2 / expected), min(1.0, 1 - low * (k - 1) ** 2 / expected)
        low, high = mover(recalls[s], [exact(r, n, alpha) for r, n in zip(recalls[s], of_class, strict=True)])
        return low + values[s] - recalls[s].mean(), high + values[s] - recalls[s].mean()

    return Studies(float(_metric(population, cell.metric)), replicates, guard, lambda s: [Answers(_names(of), truth[of], np.eye(k)[answer[s]])])


def _overlap(cell: Cell, of: I, draws: F, studies: int, rng: np.random.Generator) -> Studies:
    """Beta distributed, with a fifth of the variance that right and wrong have."""
    grid = np.linspace(-6, 6, 4001)
    reached = np.interp(_latent(of, studies, rng), grid, beta.ppf(ndtr(grid), 4 * cell.score, 4 * (1 - cell.score)))
    sums = np.add.reduceat(reached, np.searchsorted(of, np.arange(cell.patients)), axis=1)
    values, n = reached.mean(axis=1), effective(of.astype(str))
    return Studies(cell.score, ((draws @ sums.T) / (draws @ np.bincount(of))[:, None]).T, lambda s, alpha: exact(values[s], n, alpha),
                   lambda s: [Values(_names(of), {"dice": reached[s]}, {}, [])])


def _auc(cell: Cell, of: I, draws: F, studies: int, rng: np.random.Generator) -> Studies:
    """Normal scores in either class."""
    rare = cell.items == RARE
    positive = np.arange(cell.patients) < cell.patients // (8 if rare else 2)
    first, spread = positive[of], 2.0 if rare else 1.0
    scores = _latent(of, studies, rng)
    scores[:, first] = spread * scores[:, first] + np.sqrt(1 + spread**2) * ndtri(cell.score)
    starts = [np.searchsorted(of[side], np.flatnonzero(p)) for side, p in ((first, positive), (~first, ~positive))]
    w, v = draws[:, positive], draws[:, ~positive]
    pairs = (w @ np.bincount(of)[positive]) * (v @ np.bincount(of)[~positive])
    replicates, values = np.empty((studies, len(draws))), np.empty(studies)
    for s, x in enumerate(scores):
        above = (x[first][:, None] > x[~first]).astype(np.float32)
        values[s] = above.mean()
        above = np.add.reduceat(np.add.reduceat(above, starts[0], axis=0), starts[1], axis=1)
        replicates[s] = np.divide(((w @ above) * v).sum(1), pairs, out=np.full(len(draws), np.nan), where=pairs > 0)
    names, known = of.astype(str), dict[int, tuple[float, float] | None]()
    m, n = effective(names[first]), effective(names[~first])

    def guard(s: int, alpha: float) -> Bounds:
        shown = known[s] if s in known else known.setdefault(s, delong(first, scores[s], names))
        return newcombe_auc(values[s], m, n, alpha, shown)

    return Studies(cell.score, replicates, guard, lambda s: [Answers(_names(of), first.astype(np.int64), np.stack([-scores[s], scores[s]], axis=1))])


def _suite(cell: Cell, draws: F, studies: int, rng: np.random.Generator) -> Studies:
    """The mean of three accuracies; a patient's three items are as alike as items of a patient are elsewhere."""
    patients = np.arange(cell.patients)
    right = (_latent(np.repeat(patients, 3), studies, rng) < ndtri(cell.score)).reshape(studies, -1, 3).astype(np.float32)
    each = np.einsum("rp,spk->skr", draws, right, optimize=True).astype(np.float64) / cell.patients
    values, shared = right.mean(axis=1).astype(np.float64), overlap([_names(patients)] * 3)

    def one(value: float, replicates: npt.NDArray[np.float64]) -> Estimate:
        return Estimate(value, replicates, lambda alpha: exact(value, cell.patients, alpha))

    means = [mean([one(v, r) for v, r in zip(values[s], each[s], strict=True)], shared) for s in range(studies)]
    return Studies(cell.score, np.stack([e.replicates for e in means]), lambda s, alpha: means[s].guard(alpha),
                   lambda s: [Answers(_names(patients), 0 * patients, np.stack([r, 1 - r], axis=1).astype(np.float64)) for r in right[s].T])


def intervals(studies: Studies, alpha: float) -> dict[str, F]:
    """(S, 2) by method."""
    quantile = np.nanquantile if np.isnan(studies.replicates).any() else np.quantile
    boot = quantile(studies.replicates, (alpha, 1 - alpha), axis=1).T
    analytic = np.array([studies.guard(s, alpha) for s in range(len(boot))])
    hull = np.stack([np.minimum(boot[:, 0], analytic[:, 0]), np.maximum(boot[:, 1], analytic[:, 1])], axis=1)
    return dict(zip(METHODS, (boot, analytic, hull), strict=True))


def coverage(studies: Studies) -> dict[str, tuple[float, float, float]]:
    """By method, how often the 95 % interval, the lower 95 % bound and the upper 95 % bound hold the true score."""
    two, one, near = intervals(studies, 0.025), intervals(studies, 0.05), 1e-9
    return {m: (float(np.mean((two[m][:, 0] <= studies.true + near) & (studies.true - near <= two[m][:, 1]))),
                float(np.mean(one[m][:, 0] <= studies.true + near)), float(np.mean(studies.true - near <= one[m][:, 1]))) for m in METHODS}


def draw(found: dict[Cell, dict[str, tuple[float, float, float]]]) -> None:
    """The worst cell of each metric and number of patients, as a share that is missed."""
    rcParams["svg.fonttype"], rcParams["svg.hashsalt"] = "none", "coverage"
    names = list(dict.fromkeys(c.metric for c in found))
    figure = Figure(figsize=(2.1 * len(names), 5.2), layout="constrained", facecolor="white")
    axes = figure.subplots(2, len(names), sharex=True, sharey=True)
    looks = {"bootstrap": ("s", "--", "0.45", "white"), "analytic": ("^", ":", "0.25", "white"), "hull": ("o", "-", "black", "black")}
    for (row, kind), (column, name) in itertools.product(enumerate(("95 % interval", "lower 95 % bound (gates)")), enumerate(names)):
        a = axes[row, column]
        a.axhline(5, color="black", linewidth=0.6)
        for method, (marker, line, colour, face) in looks.items():
            missed = [100 * (1 - min(v[method][row] for c, v in found.items() if (c.metric, c.patients) == (name, n))) for n in PATIENTS]
            a.plot(PATIENTS, np.maximum(missed, 0.1), marker=marker, linestyle=line, color=colour, markerfacecolor=face, markersize=5, label=method)
        a.set_xscale("log")
        a.set_yscale("log")
        a.set_ylim(0.08, 110)
        a.set_xticks(PATIENTS, [str(n) for n in PATIENTS], fontsize=8)
        a.minorticks_off()
        a.set_yticks([0.1, 1, 5, 20, 100], ["≤ 0.1", "1", "5", "20", "100"], fontsize=8)
        a.grid(color="0.9", linewidth=0.5)
        if row == 0:
            a.set_title(name, fontsize=10)
        if column == 0:
            a.set_ylabel(f"{kind}\nmissed, % of studies")
    axes[0, 0].legend(fontsize=8, frameon=False, loc="lower left")
    figure.supxlabel("patients; each point is the worst of the true scores and designs", fontsize=9)
    figure.savefig(FIGURE, metadata={"Date": None})


def table(found: dict[Cell, dict[str, tuple[float, float, float]]]) -> str:
    """By metric and design the worst coverage over numbers of patients and true scores, and where the hull has it."""
    lines = ["| score | items a patient | interval: bootstrap | analytic | hull, at (n, score) | lower bound: bootstrap | analytic | hull, at |",
             "|-|-|-|-|-|-|-|-|"]
    for group in dict.fromkeys((c.metric, c.items) for c in found):
        mine, texts = {c: v for c, v in found.items() if (c.metric, c.items) == group}, []
        for kind in (0, 1):
            worst = {m: min(mine, key=lambda c, m=m: mine[c][m][kind]) for m in METHODS}  # type: ignore[misc]
            where = worst["hull"]
            texts += [f"{mine[worst[m]][m][kind]:.3f}" for m in METHODS]
            texts[-1] += f" ({where.patients}, {where.score:g})"
        lines.append(f"| {group[0]} | {group[1]} | " + " | ".join(texts) + " |")
    return "\n".join(lines)


def main() -> None:
    """Simulates, draws and writes."""
    begun, found = time.monotonic(), {}
    for cell in cells():
        found[cell] = coverage(simulate(cell))
        print(f"{time.monotonic() - begun:5.0f} s  {cell}  " + "  ".join(f"{m} {' '.join(f'{x:.3f}' for x in v)}" for m, v in found[cell].items()),
              file=sys.stderr, flush=True)
    draw(found)
    told = table(found)
    PAGE.write_text(re.sub(r"(<!-- coverage -->\n).*?(\n<!-- end -->)", lambda m: m[1] + told + m[2], PAGE.read_text(), flags=re.S))
    print(told)


if __name__ == "__main__":
    main()
