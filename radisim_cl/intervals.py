"""Analytic confidence intervals. Each bound is missed with probability `alpha` on its own side (0 to 0.5)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import betaincinv, ndtri, stdtrit

F = npt.NDArray[np.float64]
Bounds = tuple[float, float]


def exact(p: float, n: float, alpha: float) -> Bounds:
    """Of a proportion `p` of `n`, never missed more often than `alpha` (Clopper and Pearson 1934, as quantiles of beta distributions).

    `n` may be an effective number, and then neither it nor p * n need be whole (Korn and Graubard 1998).
    """
    right, wrong = p * n, (1 - p) * n
    low = float(betaincinv(right, wrong + 1, alpha)) if right > 0 else 0.0
    high = float(betaincinv(right + 1, wrong, 1 - alpha)) if wrong > 0 else 1.0
    return min(low, p), max(high, p)


def mover(values: Sequence[float], intervals: Sequence[Bounds], correlation: F | None = None) -> Bounds:
    """Of a mean of estimates from their own intervals (Zou and Donner 2008, eq. 3; dependent ones: Zou 2007).

    Args:
        values: k estimates.
        intervals: theirs.
        correlation: (k, k) of the estimates; independent if None.
    """
    v, k = np.asarray(values), len(values)
    related = np.eye(k) if correlation is None else correlation
    below, above = v - [low for low, _ in intervals], np.array([high for _, high in intervals]) - v
    return float(v.mean() - np.sqrt(below @ related @ below) / k), float(v.mean() + np.sqrt(above @ related @ above) / k)


def newcombe_auc(auc: float, positives: float, negatives: float, alpha: float, shown: tuple[float, float] | None = None) -> Bounds:
    """Score-like interval of an AUC from the numbers of patients (Newcombe 2006, Stat Med 25:559, method 5).

    Its variance supposes that both classes' scores spread alike. Where what the answers show is more, by the t distribution, the normal
    quantile grows by the ratio of the standard errors.

    Args:
        auc: the estimate.
        positives, negatives: patients of either class.
        alpha: one-sided level.
        shown: variance and degrees of freedom from `delong`.
    """
    star = (positives + negatives) / 2 - 1

    def variance(theta: float) -> float:
        return theta * (1 - theta) * (1 + star * ((1 - theta) / (2 - theta) + theta / (1 + theta))) / (positives * negatives)

    z = float(ndtri(1 - alpha))
    if shown and 0 < auc < 1:
        z = max(z, float(stdtrit(shown[1], 1 - alpha)) * float(np.sqrt(shown[0] / variance(auc))))

    def gap(theta: float) -> float:
        return abs(auc - theta) - z * float(np.sqrt(max(variance(theta), 0.0)))

    # At 0 and 1 the variance vanishes and theta = auc solves the equation too; the bound is the other root.
    low = 0.0 if auc <= 0 else brentq(gap, 0.0, min(auc, 1 - 1e-9))
    high = 1.0 if auc >= 1 else brentq(gap, max(auc, 1e-9), 1.0)
    return float(low), float(high)


def delong(positive: npt.NDArray[np.bool_], margin: F, patients: npt.NDArray[np.str_]) -> tuple[float, float] | None:
    """Variance of an AUC as the answers show it, and its degrees of freedom; None where a class has one patient, or nothing varies.

    DeLong et al. 1988, summed by patient (Obuchowski 1997, Biometrics 53:567); degrees of freedom by Satterthwaite (Brunner and Munzel 2000).

    Args:
        positive: (n,) whether an item is of the positive class; both classes have one.
        margin: (n,) larger is more likely positive.
        patients: (n,) patient key of each item.
    """
    of, sides = np.unique(patients, return_inverse=True)[1], []
    for mine, other in ((positive, ~positive), (~positive, positive)):
        rivals = np.sort(margin[other])
        places = (np.searchsorted(rivals, margin[mine], "left") + np.searchsorted(rivals, margin[mine], "right")) / (2 * len(rivals))
        sides.append((np.bincount(of[mine], (places - places.mean()) / len(places), of.max() + 1), len(np.unique(of[mine]))))
    (up, m), (down, n) = sides
    if min(m, n) < 2:
        return None
    a, b, p = m / (m - 1) * float(up @ up), n / (n - 1) * float(down @ down), len(up)
    variance = a + b - 2 * p / (p - 1) * float(up @ down)
    if variance <= 1e-12:
        return None
    return variance, (a + b) ** 2 / (a**2 / (m - 1) + b**2 / (n - 1))
