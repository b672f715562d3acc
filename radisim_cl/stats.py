"""Intervals over patients.

A patient is the unit: all items of a patient are drawn together, and subtasks that share patients are resampled jointly.
The percentile bootstrap is too narrow near 0 and 1 and at small n (a perfect score bootstraps to [1, 1]); every interval is
therefore the hull of the bootstrap and of an analytic interval on the number of patients.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import ndtri

F = npt.NDArray[np.float64]
I = npt.NDArray[np.int64]  # noqa: E741

REPLICATES = 2000


@dataclass(frozen=True)
class Estimate:
    """A score with what is needed for an interval at any confidence.

    Attributes:
        value: the estimate on all patients.
        replicates: (R,) the estimate on R resamples of the patients; NaN where it is undefined.
        guard: one-sided level alpha to an analytic (low, high).
    """

    value: float
    replicates: F
    guard: Callable[[float], tuple[float, float]]

    def bounds(self, alpha: float) -> tuple[float, float]:
        """Lower and upper bound, each missed with probability at most `alpha` (0 to 0.5)."""
        low, high = self.guard(alpha)
        defined = self.replicates[~np.isnan(self.replicates)]
        if len(defined):
            low = min(low, float(np.quantile(defined, alpha)))
            high = max(high, float(np.quantile(defined, 1 - alpha)))
        return low, high

    def rescaled(self, chance: float) -> Estimate:
        """The same as skill: (score - chance) / (1 - chance)."""

        def skill(x: float) -> float:
            return (x - chance) / (1 - chance)

        def guard(alpha: float) -> tuple[float, float]:
            low, high = self.guard(alpha)
            return skill(low), skill(high)

        return Estimate(skill(self.value), (self.replicates - chance) / (1 - chance), guard)


def mean(estimates: Sequence[Estimate]) -> Estimate:
    """The mean of estimates whose replicates come from the same draws of patients; the guard is MOVER's."""
    if not estimates:
        raise ValueError("the mean of no estimates is undefined")
    value = float(np.mean([e.value for e in estimates]))
    stacked = np.stack([e.replicates for e in estimates])
    defined = ~np.isnan(stacked).all(axis=0)
    replicates = np.full(stacked.shape[1], np.nan)
    replicates[defined] = np.nanmean(stacked[:, defined], axis=0)
    return Estimate(value, replicates, lambda alpha: mover([e.value for e in estimates], [e.guard(alpha) for e in estimates]))


def wilson(p: float, n: int, alpha: float) -> tuple[float, float]:
    """Wilson's score interval for a proportion `p` of `n`, each side at level `alpha` (Wilson 1927; Newcombe 1998, method 3)."""
    z = float(ndtri(1 - alpha))
    centre, half = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, float((centre - half) / (1 + z * z / n))), min(1.0, float((centre + half) / (1 + z * z / n)))


def mover(values: Sequence[float], intervals: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Interval of a mean of independent estimates from their own intervals (Zou and Donner 2008, eq. 3)."""
    v, n = np.asarray(values), len(values)
    low = v.mean() - np.sqrt(np.sum((v - [i[0] for i in intervals]) ** 2)) / n
    high = v.mean() + np.sqrt(np.sum(([i[1] for i in intervals] - v) ** 2)) / n
    return float(low), float(high)


def newcombe_auc(auc: float, positives: int, negatives: int, alpha: float) -> tuple[float, float]:
    """Score-like interval of an AUC from the numbers of patients (Newcombe 2006, Stat Med 25:559, method 5)."""
    z, star = float(ndtri(1 - alpha)), (positives + negatives) / 2 - 1

    def gap(theta: float) -> float:
        variance = theta * (1 - theta) * (1 + star * ((1 - theta) / (2 - theta) + theta / (1 + theta))) / (positives * negatives)
        return abs(auc - theta) - z * float(np.sqrt(max(variance, 0.0)))

    # At 0 and 1 the variance vanishes and theta = auc solves the equation too; the bound is the other root.
    low = 0.0 if auc <= 0 else brentq(gap, 0.0, min(auc, 1 - 1e-9))
    high = 1.0 if auc >= 1 else brentq(gap, max(auc, 1e-9), 1.0)
    return float(low), float(high)


@dataclass(frozen=True)
class Resamples:
    """R multinomial draws of the patients of a split.

    Attributes:
        patients: (P,) sorted patient keys.
        counts: (R, P) how often each patient is in each draw.
    """

    patients: npt.NDArray[np.str_]
    counts: F

    @classmethod
    def draw(cls, patients: Sequence[str], seed: int = 0, replicates: int = REPLICATES) -> Resamples:
        """The same draws for the same set of patients and seed."""
        unique = np.unique(np.asarray(patients, dtype=str))
        p = np.full(len(unique), 1 / len(unique))
        counts = np.random.default_rng(seed).multinomial(len(unique), p, size=replicates)
        return cls(unique, counts.astype(np.float64))

    def weights(self, patients: Sequence[str]) -> F:
        """(R, n) weights of items by their patients."""
        weights: F = self.counts[:, np.searchsorted(self.patients, np.asarray(patients, dtype=str))]
        return weights


@dataclass(frozen=True)
class Answers:
    """What a model answered to the items of one subtask.

    Attributes:
        patients: (n,) patient key of each item.
        truth: (n,) class index, 0..K-1.
        scores: (n, K) larger is more likely; the answer is the largest.
        votes: (n, K) what was voted, where the answer is the class with most votes, and scores only settle a tie.
    """

    patients: npt.NDArray[np.str_]
    truth: I
    scores: F
    votes: F | None = None

    @property
    def k(self) -> int:
        """Number of classes."""
        return int(self.scores.shape[1])

    @cached_property
    def answer(self) -> I:
        """(n,) index of the chosen class."""
        open_ = self.scores if self.votes is None else np.where(self.votes == self.votes.max(axis=1, keepdims=True), self.scores, -np.inf)
        chosen: I = open_.argmax(axis=1).astype(np.int64)
        return chosen

    @cached_property
    def patients_by_class(self) -> list[int]:
        """(K,) distinct patients with an item of the class."""
        return [len(np.unique(self.patients[self.truth == c])) for c in range(self.k)]

    def estimate(self, metric: str, resamples: Resamples) -> Estimate:
        """A metric with its interval; the value is scikit-learn's.

        Raises:
            ValueError: undefined on these items, such as the AUC of a single class.
        """
        value = _VALUE[metric](self)
        replicates = _REPLICATES[metric](self, resamples.weights(list(self.patients)))
        return Estimate(value, replicates, lambda alpha: self._guard(metric, value, alpha))

    def chance(self, metric: str) -> float:
        """The score of the best predictor that does not see the image."""
        prior = np.bincount(self.truth, minlength=self.k) / len(self.truth)
        if metric == "accuracy":
            return float(prior.max())
        if metric == "quadratic_kappa":
            return 0.0
        # Balanced accuracy: any. Macro F1: answering class c with probability q_c expects 2 p q / (p + q) for class c, and
        # sum_c 2 p q / (p + q) under sum_c q = 1 is largest at q = p, where it is 1.
        return 0.5 if metric == "auc" else 1 / self.k

    def _guard(self, metric: str, value: float, alpha: float) -> tuple[float, float]:
        if metric == "accuracy":
            return wilson(value, len(np.unique(self.patients)), alpha)
        counts = self.patients_by_class
        if metric == "auc":
            classes = [1] if self.k == 2 else list(range(self.k))
            total = len(np.unique(self.patients))
            each = [(a := _one_auc(self, c), newcombe_auc(a, counts[c], max(1, counts[0] if self.k == 2 else total - counts[c]), alpha))
                    for c in classes]
            return mover([a for a, _ in each], [i for _, i in each])
        if metric in ("mae", "quadratic_kappa"):
            return self._distance_guard(metric, value, alpha)
        present = [c for c in range(self.k) if counts[c]]
        recalls = [float((self.answer[self.truth == c] == c).mean()) for c in present]
        low, high = mover(recalls, [wilson(r, counts[c], alpha) for r, c in zip(recalls, present, strict=True)])
        shift = value - float(np.mean(recalls))
        return low + shift, high + shift

    def _distance_guard(self, metric: str, value: float, alpha: float) -> tuple[float, float]:
        """The distance of answer and grade, as a part of the largest there is, is in [0, 1], and its mean is taken for a proportion.

        No distribution on [0, 1] of that mean spreads wider than a proportion, so this errs on the wide side. Kappa is 1 minus the
        ratio of the mean squared distance to the one expected of the margins, which is held as it is; the bootstrap lets it vary.
        """
        n, power = len(np.unique(self.patients)), 1 if metric == "mae" else 2
        largest = float(self.k - 1) ** power
        mean_distance = float((np.abs(self.truth - self.answer) ** power).mean())
        low, high = (bound * largest for bound in wilson(mean_distance / largest, n, alpha))
        if metric == "mae":
            return low, high
        expected = _expected_distance(self)
        return max(-1.0, 1 - high / expected), min(1.0, 1 - low / expected)


@dataclass(frozen=True)
class Values:
    """What a model reached on the items of one subtask where that is a number in [0, 1], such as an overlap with a mask.

    Attributes:
        patients: (n,) patient key of each item.
        values: by metric, (n,).
        blind: by metric, the score on the same items of the best predictor that does not see the image.
        patients_by_class: distinct patients with an item that shows it, for each structure or other thing that is asked for.
        lacking: why no decision may rest on it, beside their number; empty when one may.
    """

    patients: npt.NDArray[np.str_]
    values: Mapping[str, F]
    blind: Mapping[str, float]
    patients_by_class: list[int]
    lacking: str = ""

    def estimate(self, metric: str, resamples: Resamples) -> Estimate:
        """The mean over items with its interval.

        The guard takes the mean for a proportion among the patients. No distribution on [0, 1] of that mean spreads wider than a
        proportion, so it errs on the wide side.

        Raises:
            ValueError: a value is not defined.
        """
        values = self.values[metric]
        if np.isnan(values).any():
            raise ValueError(f"{metric} is not defined on every item")
        value, n, w = float(values.mean()), len(np.unique(self.patients)), resamples.weights(list(self.patients))
        return Estimate(value, _ratio(w @ values, w.sum(1)), lambda alpha: wilson(value, n, alpha))

    def chance(self, metric: str) -> float | None:
        """The score of the best predictor that does not see the image; None where there was nothing to make one from."""
        return self.blind.get(metric)


def _sklearn(name: str, **options: object) -> Callable[[Answers], float]:
    def value(a: Answers) -> float:
        import sklearn.metrics

        return float(getattr(sklearn.metrics, name)(a.truth, a.answer, **options))

    return value


def _one_auc(a: Answers, c: int) -> float:
    from sklearn.metrics import roc_auc_score

    truth = a.truth == c
    if truth.all() or not truth.any():
        raise ValueError("the AUC of a single class is undefined")
    return float(roc_auc_score(truth, _margin(a, c)))


def _margin(a: Answers, c: int) -> F:
    """(n,) how much more class `c` is favoured: for two classes the difference of their scores."""
    return a.scores[:, 1] - a.scores[:, 0] if a.k == 2 else a.scores[:, c]


def _kappa(a: Answers) -> float:
    if _expected_distance(a) == 0:
        raise ValueError("kappa is undefined where the grades and the answers are all the same one")
    return _sklearn("cohen_kappa_score", weights="quadratic", labels=list(range(a.k)))(a)


def _expected_distance(a: Answers) -> float:
    """Mean squared distance of a grade and an answer that have nothing to do with each other."""
    return float(a.truth.var() + a.answer.var() + (a.truth.mean() - a.answer.mean()) ** 2)


def _auc(a: Answers) -> float:
    return _one_auc(a, 1) if a.k == 2 else float(np.mean([_one_auc(a, c) for c in range(a.k)]))


_VALUE: dict[str, Callable[[Answers], float]] = {
    "accuracy": _sklearn("accuracy_score"),
    "balanced_accuracy": _sklearn("balanced_accuracy_score"),
    "macro_f1": lambda a: _sklearn("f1_score", average="macro", labels=list(range(a.k)), zero_division=0)(a),
    "auc": _auc,
    "quadratic_kappa": _kappa,
    "mae": _sklearn("mean_absolute_error"),
}


def _confusion(a: Answers, w: F) -> F:
    """(R, K, K) weighted confusion matrices, truth by row."""
    cells = np.zeros((len(a.truth), a.k * a.k))
    cells[np.arange(len(a.truth)), a.truth * a.k + a.answer] = 1
    tables: F = (w @ cells).reshape(-1, a.k, a.k)
    return tables


def _ratio(top: F, bottom: F) -> F:
    quotient: F = np.divide(top, bottom, out=np.full(np.broadcast_shapes(top.shape, bottom.shape), np.nan), where=bottom > 0)
    return quotient


def _mean_defined(x: F) -> F:
    """Mean over the last axis of what is not NaN; NaN where nothing is."""
    defined = ~np.isnan(x)
    return _ratio(np.where(defined, x, 0).sum(-1), defined.sum(-1).astype(float))


def _accuracy_replicates(a: Answers, w: F) -> F:
    return _ratio(w @ (a.answer == a.truth).astype(float), w.sum(1))


def _balanced_replicates(a: Answers, w: F) -> F:
    m = _confusion(a, w)
    return _mean_defined(_ratio(np.diagonal(m, axis1=1, axis2=2), m.sum(2)))


def _f1_replicates(a: Answers, w: F) -> F:
    m = _confusion(a, w)
    f1 = _ratio(2 * np.diagonal(m, axis1=1, axis2=2), m.sum(1) + m.sum(2))
    macro: F = np.nan_to_num(f1).mean(1)
    return macro


def _kappa_replicates(a: Answers, w: F) -> F:
    """Cohen 1968: 1 minus the ratio of the weighted disagreement to the one expected of the margins."""
    m = _confusion(a, w)
    squared = (np.arange(a.k)[:, None] - np.arange(a.k)) ** 2.0
    expected = m.sum(2)[:, :, None] * m.sum(1)[:, None, :] / w.sum(1)[:, None, None]
    kappa: F = 1 - _ratio((m * squared).sum((1, 2)), (expected * squared).sum((1, 2)))
    return kappa


def _mae_replicates(a: Answers, w: F) -> F:
    return _ratio(w @ np.abs(a.truth - a.answer).astype(float), w.sum(1))


def _auc_replicates(a: Answers, w: F) -> F:
    """Mann-Whitney statistics with ties, weighted, on all resamples at once."""
    out = []
    for c in [1] if a.k == 2 else range(a.k):
        margin = _margin(a, c)
        order = np.argsort(margin, kind="stable")
        starts = np.flatnonzero(np.r_[True, np.diff(margin[order]) > 0])
        positive = (a.truth == c)[order]
        ws = w[:, order]
        pos = np.add.reduceat(ws * positive, starts, axis=1)
        neg = np.add.reduceat(ws * ~positive, starts, axis=1)
        below = np.cumsum(neg, axis=1) - neg / 2
        out.append(_ratio((pos * below).sum(1), pos.sum(1) * neg.sum(1)))
    return _mean_defined(np.stack(out, axis=1))


_REPLICATES: dict[str, Callable[[Answers, F], F]] = {
    "accuracy": _accuracy_replicates,
    "balanced_accuracy": _balanced_replicates,
    "macro_f1": _f1_replicates,
    "auc": _auc_replicates,
    "quadratic_kappa": _kappa_replicates,
    "mae": _mae_replicates,
}
