"""Scores with intervals over patients.

A patient is the unit: all items of a patient are drawn together, and subtasks that share patients are resampled jointly.
The percentile bootstrap is too narrow near 0 and 1 and at small n (a perfect score bootstraps to [1, 1]); every interval is
therefore the hull of the bootstrap and of an analytic interval on the number of patients.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from radisim_cl.intervals import Bounds, delong, exact, mover, newcombe_auc

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
        supposed: a score and a level to the analytic (low, high) that this score would have on the same patients, whatever was answered;
            None where there is no such thing.
    """

    value: float
    replicates: F
    guard: Callable[[float], Bounds]
    supposed: Callable[[float, float], Bounds] | None = None

    def bounds(self, alpha: float) -> Bounds:
        """Lower and upper bound, each missed with probability at most `alpha` (0 to 0.5)."""
        low, high = self.guard(alpha)
        defined = self.replicates[~np.isnan(self.replicates)]
        if len(defined):
            low = min(low, float(np.quantile(defined, alpha)))
            high = max(high, float(np.quantile(defined, 1 - alpha)))
        return low, high

    def detectable(self, chance: float = 0.0, alpha: float = 0.025, power: float = 0.8) -> float | None:
        """The smallest true difference from chance that a lower bound at `alpha` would have shown with probability `power`.

        Scores from the critical one on, whose lower bound is chance, show a difference. The true score sought has the critical one for its
        quantile at 1 - power, and that is the critical score's upper bound at this level. With bounds at z standard errors of the true score
        this is Lachin's (1981, Control Clin Trials 2:93) difference = z(alpha) SE(chance) + z(1 - power) SE(true score).

        Returns:
            The difference, in the units of the score; None where not even a perfect score would show one.
        """
        supposed = self.supposed
        if supposed is None or supposed(1.0, alpha)[0] <= chance:
            return None
        critical = float(brentq(lambda score: supposed(score, alpha)[0] - chance, chance, 1.0))
        return supposed(critical, 1 - power)[1] - chance

    def onto(self, low: float, high: float) -> Estimate:
        """The same on another scale, on which 0 is `low` and 1 is `high`."""

        def scaled(x: float) -> float:
            return low + x * (high - low)

        def guard(alpha: float) -> Bounds:
            a, b = self.guard(alpha)
            return scaled(a), scaled(b)

        def supposed(score: float, alpha: float) -> Bounds:
            assert self.supposed is not None
            a, b = self.supposed((score - low) / (high - low), alpha)
            return scaled(a), scaled(b)

        return Estimate(scaled(self.value), low + self.replicates * (high - low), guard, supposed if self.supposed else None)

    def rescaled(self, chance: float) -> Estimate:
        """The same as skill: (score - chance) / (1 - chance)."""
        return self.onto(-chance / (1 - chance), 1.0)


def mean(estimates: Sequence[Estimate], shared: F | None = None) -> Estimate:
    """The mean of estimates whose replicates come from the same draws of patients; the guard is MOVER's.

    The guard takes estimates for as correlated as their replicates are, between not at all and `shared`; where the replicates of one do not
    vary, as those of a perfect score, they tell nothing, and it is `shared`.

    Args:
        estimates: k of them.
        shared: (k, k) of `overlap`; none share patients if None.
    """
    if not estimates:
        raise ValueError("the mean of no estimates is undefined")
    values, k = [e.value for e in estimates], len(estimates)
    stacked = np.stack([e.replicates for e in estimates])
    related = np.eye(k) if shared is None else _related(stacked, shared)
    known = [e.supposed for e in estimates if e.supposed]

    def supposed(score: float, alpha: float) -> Bounds:
        return mover([score] * k, [s(score, alpha) for s in known], related)

    return Estimate(float(np.mean(values)), _mean_defined(stacked.T), lambda alpha: mover(values, [e.guard(alpha) for e in estimates], related),
                    supposed if len(known) == k else None)


def difference(a: Estimate, b: Estimate) -> Estimate:
    """a - b, of two scores on the same items, whose replicates come from the same draws of patients: the paired interval.

    The guard is MOVER's for a difference of dependent estimates (Zou 2007, Psychol Methods 12:399), which are taken for as correlated as their
    replicates are; not at all where those of one do not vary, as a perfect score's do not, or where they go against each other.
    """
    value = a.value - b.value
    x, y = (e.replicates[~np.isnan(a.replicates + b.replicates)] for e in (a, b))
    related = max(0.0, float(np.corrcoef(x, y)[0, 1])) if len(x) and min(np.ptp(x), np.ptp(y)) > 1e-9 else 0.0

    def guard(alpha: float) -> Bounds:
        (low_a, high_a), (low_b, high_b) = a.guard(alpha), b.guard(alpha)
        return value - _apart(a.value - low_a, high_b - b.value, related), value + _apart(high_a - a.value, b.value - low_b, related)

    return Estimate(value, a.replicates - b.replicates, guard)


def _apart(x: float, y: float, related: float) -> float:
    return float(np.sqrt(max(0.0, x * x + y * y - 2 * related * x * y)))


def _related(stacked: F, shared: F) -> F:
    """(k, k) correlations of (k, R) replicates, between 0 and `shared`, which stands where a row does not vary."""
    centred = np.nan_to_num(stacked - _mean_defined(stacked)[:, None])
    length = np.sqrt((centred**2).sum(axis=1))
    flat = length < 1e-9 * np.sqrt(stacked.shape[1])
    correlation = _ratio(centred @ centred.T, np.outer(length, length))
    related: F = np.where(flat[:, None] | flat, shared, np.clip(correlation, 0, shared))
    np.fill_diagonal(related, 1.0)
    return related


def overlap(patients: Sequence[npt.NDArray[np.str_]]) -> F:
    """(k, k) correlations of k means over items, if all items of a patient were alike.

    Args:
        patients: patient key of each item, by what is averaged.
    """
    names, of = np.unique(np.concatenate(patients), return_inverse=True)
    ends = np.cumsum([len(p) for p in patients])[:-1]
    weights = np.stack([np.bincount(part, minlength=len(names)) / len(part) for part in np.split(of, ends)])
    length = np.sqrt((weights**2).sum(axis=1))
    correlation: F = weights @ weights.T / np.outer(length, length)
    return np.minimum(correlation, 1.0)


def effective(patients: npt.NDArray[np.str_], weights: F | None = None) -> float:
    """Kish's (1965) effective number of patients: their number where each has as many items, fewer where some weigh more.

    A mean over items varies as one over so many patients if all items of a patient are alike, and less if they are not.

    Args:
        patients: (n,) patient key of each item.
        weights: (n,) of the items; 1 if None.
    """
    each = np.bincount(np.unique(patients, return_inverse=True)[1], weights=weights)
    return float(each.sum() ** 2 / (each**2).sum())


@dataclass(frozen=True)
class Resamples:
    """R multinomial draws of the patients of a split.

    Attributes:
        patients: (P,) sorted patient keys.
        counts: (R, P) how often each patient is in each draw.
    """

    patients: npt.NDArray[np.str_]
    counts: F
    _last: dict[tuple[str, bytes], F] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def draw(cls, patients: Sequence[str], seed: int = 0, replicates: int = REPLICATES) -> Resamples:
        """The same draws for the same set of patients and seed."""
        unique = np.unique(np.asarray(patients, dtype=str))
        p = np.full(len(unique), 1 / len(unique))
        counts = np.random.default_rng(seed).multinomial(len(unique), p, size=replicates)
        return cls(unique, counts.astype(np.float64))

    def weights(self, patients: npt.NDArray[np.str_]) -> F:
        """(R, n) weights of items by their patients; those of the last items are kept, which the next metric asks for again."""
        key = patients.dtype.str, patients.tobytes()
        if key not in self._last:
            self._last.clear()
            self._last[key] = self.counts[:, np.searchsorted(self.patients, patients)]
        return self._last[key]


def _share(values: F, patients: npt.NDArray[np.str_], w: F, parts: F | None = None, most: float = np.inf) -> Estimate:
    """The mean of numbers in [0, 1], with (R, n) weights of resamples; its guard takes it for a proportion among the patients.

    No distribution on [0, 1] of that mean spreads wider than a proportion, so this errs on the wide side.

    Args:
        values: (n,) numbers.
        patients: (n,) patient key of each.
        w: weights of the resamples.
        parts: (n,) weights within the mean; 1 if None.
        most: upper limit of the number of patients that count.
    """
    parts = np.ones(len(values)) if parts is None else parts
    value, n = float(np.average(values, weights=parts)), min(most, effective(patients, parts))
    return Estimate(value, _ratio(w @ (parts * values), w @ parts), lambda alpha: exact(value, n, alpha), lambda score, alpha: exact(score, n, alpha))


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

    def value(self, metric: str) -> float:
        """A metric by scikit-learn.

        Raises:
            ValueError: undefined on these items, such as the AUC of a single class.
        """
        return _VALUE[metric](self)

    def estimate(self, metric: str, resamples: Resamples) -> Estimate:
        """A metric with its interval; the value is scikit-learn's.

        Raises:
            ValueError: undefined on these items, such as the AUC of a single class.
        """
        value, w = self.value(metric), resamples.weights(self.patients)
        right, distance = (self.answer == self.truth).astype(float), np.abs(self.truth - self.answer) / (self.k - 1)
        if metric == "accuracy":
            return _share(right, self.patients, w)
        if metric == "mae":
            return _share(distance, self.patients, w).onto(0.0, self.k - 1.0)
        if metric == "auc":
            classes = [1] if self.k == 2 else range(self.k)
            return mean([self._one_against_rest(c, w) for c in classes], np.ones((len(classes), len(classes))))
        if metric == "quadratic_kappa":
            return self._kappa(value, w)
        items = [np.flatnonzero(self.truth == c) for c in range(self.k) if self.patients_by_class[c]]
        recall = mean([_share(right[i], self.patients[i], w[:, i]) for i in items], overlap([self.patients[i] for i in items]))
        if metric == "balanced_accuracy":
            return recall
        shift = value - recall.value  # macro F1 varies about as much as balanced accuracy does

        def guard(alpha: float) -> Bounds:
            low, high = recall.guard(alpha)
            return low + shift, high + shift

        return Estimate(value, _f1_replicates(self, w), guard, recall.supposed)

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

    def _one_against_rest(self, c: int, w: F) -> Estimate:
        """The AUC of a class. Its guard is Newcombe's interval, widened where DeLong's variance shows that the classes spread differently."""
        positive, margin = self.truth == c, _margin(self, c)
        value, shown = _one_auc(self, c), delong(positive, margin, self.patients)
        m, n = effective(self.patients[positive]), effective(self.patients[~positive])
        return Estimate(value, _auc_replicates(positive, margin, w), lambda alpha: newcombe_auc(value, m, n, alpha, shown),
                        lambda score, alpha: newcombe_auc(score, m, n, alpha))

    def _kappa(self, value: float, w: F) -> Estimate:
        """Kappa is 1 minus the ratio of the mean squared distance of answer and grade to the one expected of the margins.

        The guard takes the former, as a part of the largest there is, for a proportion, and holds the latter as it is; the bootstrap lets
        it vary. A score that is supposed has answers with the margins of the grades.
        """
        n, largest, expected = effective(self.patients), float(self.k - 1) ** 2, _expected_distance(self)

        def bounds(kappa: float, expected: float, alpha: float) -> Bounds:
            low, high = exact(min(1.0, (1 - kappa) * expected / largest), n, alpha)
            return max(-1.0, 1 - high * largest / expected), min(1.0, 1 - low * largest / expected)

        even = 2 * float(self.truth.var())
        return Estimate(value, _kappa_replicates(self, w), lambda alpha: bounds(value, expected, alpha),
                        (lambda kappa, alpha: bounds(kappa, even, alpha)) if even else None)


@dataclass(frozen=True)
class Values:
    """What a model reached on the items of one subtask where that is a number, such as an overlap with a mask or a rank.

    Attributes:
        patients: (n,) patient key of each item.
        values: by metric, (n,).
        blind: by metric, the score on the same items of the best predictor that does not see the image.
        patients_by_class: distinct patients with an item that shows it, for each structure or other thing that is asked for.
        lacking: why no decision may rest on it, beside their number; empty when one may.
        weights: (n,) parts of a question: items that are asked the same one share its 1. None: each item is a question of its own.
        ranges: by metric, the lowest and the highest value there is, where these are not 0 and 1.
    """

    patients: npt.NDArray[np.str_]
    values: Mapping[str, F]
    blind: Mapping[str, float]
    patients_by_class: list[int]
    lacking: str = ""
    weights: F | None = None
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def estimate(self, metric: str, resamples: Resamples) -> Estimate:
        """The mean over questions with its interval; no more patients count than there are questions.

        Raises:
            ValueError: a value is not defined.
        """
        values = self.values[metric]
        if np.isnan(values).any():
            raise ValueError(f"{metric} is not defined on every item")
        (low, high), w = self.ranges.get(metric, (0.0, 1.0)), resamples.weights(self.patients)
        questions = np.inf if self.weights is None else max(1.0, float(self.weights.sum()))
        return _share((values - low) / (high - low), self.patients, w, self.weights, questions).onto(low, high)

    def chance(self, metric: str) -> float | None:
        """The score of the best predictor that does not see the image; None where there was nothing to make one from."""
        return self.blind.get(metric)


def _sklearn(name: str, **options: object) -> Callable[[Answers], float]:
    def value(a: Answers) -> float:
        import sklearn.metrics

        with warnings.catch_warnings():  # answers of a class that no item has are nothing to be warned of
            warnings.simplefilter("ignore", UserWarning)
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


def _auc_replicates(positive: npt.NDArray[np.bool_], margin: F, w: F) -> F:
    """Mann-Whitney statistics with ties, weighted, on all resamples at once."""
    order = np.argsort(margin, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(margin[order]) > 0])
    first, ws = positive[order], w[:, order]
    pos, neg = ws * first, ws * ~first
    if len(starts) < len(order):  # ties
        pos, neg = (np.add.reduceat(x, starts, axis=1) for x in (pos, neg))
    below = np.cumsum(neg, axis=1) - neg / 2
    return _ratio((pos * below).sum(1), pos.sum(1) * neg.sum(1))
