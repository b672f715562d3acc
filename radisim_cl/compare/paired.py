"""The difference of two groups of trained models on the same patients, and over seeds. Pure.

Patients and seeds answer two questions. With the trained models held, would other patients show the same difference? That is the paired bootstrap's,
and its interval and p-value are conditional on the models. With the patients held, would other seeds? That is the t interval's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

from radisim_cl.stats import Answers, Estimate, Values, mean


@dataclass(frozen=True)
class Pair:
    """What two models of one seed reached, with replicates from the same draws of patients.

    Attributes:
        first, second: the estimates.
        differing: patients to whom they gave different answers.
        patients: how many there are; of a mean over subtasks, summed.
        means: how many means of patients the score consists of: one a class, summed.
    """

    first: Estimate
    second: Estimate
    differing: frozenset[str]
    patients: int
    means: int


@dataclass(frozen=True)
class Difference:
    """A mean difference, second less first, with a two-sided interval and the p-value of no difference."""

    value: float
    low: float
    high: float
    p: float


def pair(first: Estimate, second: Estimate, before: Answers | Values, after: Answers | Values, metric: str) -> Pair:
    """Two models on the same items of a subtask, in the same order.

    Args:
        first, second: the estimates that are compared.
        before, after: what was answered.
        metric: the subtask's primary one, which says what counts as an answer.
    """
    if isinstance(before, Answers) and isinstance(after, Answers):
        changed = (before.scores != after.scores).any(axis=1) if metric == "auc" else before.answer != after.answer
        means = before.k
    else:
        assert isinstance(before, Values)
        assert isinstance(after, Values)
        changed, means = before.values[metric] != after.values[metric], 1
    return Pair(first, second, frozenset(before.patients[changed].tolist()), len(np.unique(before.patients)), means)


def together(pairs: Sequence[Pair]) -> Pair:
    """The mean over subtasks of one seed."""
    return Pair(mean([p.first for p in pairs]), mean([p.second for p in pairs]), frozenset[str]().union(*(p.differing for p in pairs)),
                sum(p.patients for p in pairs), sum(p.means for p in pairs))


def over_patients(pairs: Sequence[Pair], level: float = 0.95) -> Difference | None:
    """The mean difference over seeds, and what other patients could have made of it, with the trained models as they are.

    A t interval with the standard error of the paired bootstrap (Efron and Tibshirani 1993, sections 10.3 and 12.2). The bootstrap's variance of
    a mean of each of k classes is too small by about (n - k) / n. A test that exchanges the two answers for a patient cannot give a p-value
    below 2^(1 - m) where they differ for m patients, and nor does this one.

    Args:
        pairs: one a seed, of the same subtask or suite.
        level: of the interval.

    Returns:
        None where there are no more patients than classes.
    """
    freedom = pairs[0].patients - pairs[0].means
    if freedom < 1:
        return None
    value = float(np.mean([p.second.value - p.first.value for p in pairs]))
    replicates = np.mean([p.second.replicates - p.first.replicates for p in pairs], axis=0)
    error = float(np.nanstd(replicates)) * (pairs[0].patients / freedom) ** 0.5
    reach = float(stdtrit(freedom, (1 + level) / 2)) * error
    differing = len(frozenset[str]().union(*(p.differing for p in pairs)))
    p = 2 * float(stdtr(freedom, -abs(value) / error)) if error else float(value == 0)
    return Difference(value, value - reach, value + reach, min(1.0, max(p, 2.0 ** (1 - differing))))


def over_seeds(differences: Sequence[float], level: float = 0.95) -> tuple[float, float, float] | None:
    """Standard deviation and t interval of a mean difference over seeds; None of a single one."""
    n = len(differences)
    if n < 2:
        return None
    value, spread = float(np.mean(differences)), float(np.std(differences, ddof=1))
    reach = float(stdtrit(n - 1, (1 + level) / 2)) * spread / n**0.5
    return spread, value - reach, value + reach


def holm(p: Sequence[float]) -> list[float]:
    """p-values for which rejecting below alpha keeps the probability of any false rejection below alpha (Holm 1979, Scand J Stat 6:65).

    SciPy has none that bounds it.
    """
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(np.asarray(p, dtype=float)[order] * (len(p) - np.arange(len(p))))
    out = np.empty(len(p))
    out[order] = np.minimum(stepped, 1.0)
    return [float(x) for x in out]
