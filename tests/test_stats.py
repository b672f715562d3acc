"""Scores and intervals against scikit-learn, SciPy, brute force and simulation."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import ndtr, ndtri
from scipy.stats import binom, binomtest
from sklearn import metrics

from radisim_cl.intervals import delong, exact, mover, newcombe_auc
from radisim_cl.specs.metrics import BY_PROTOCOL
from radisim_cl.stats import Answers, Estimate, Resamples, Values, difference, effective, mean, overlap

F = npt.NDArray[np.float64]
METRICS = (*BY_PROTOCOL["classify"], "quadratic_kappa")


def drawn(seed: int, classes: int, clustered: bool, patients: int = 25) -> Answers:
    """Answers of a mediocre model, their scores rounded so that there are ties; a patient has one item or up to four."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 5, patients) if clustered else np.ones(patients, dtype=int)
    names = np.repeat([f"p{i:02d}" for i in range(patients)], sizes)
    truth = rng.integers(0, classes, len(names))
    truth[:classes] = np.arange(classes)
    scores = np.round(rng.normal(0, 1, (len(names), classes)) + np.eye(classes)[truth], 1)
    return Answers(names, truth, scores)


def certain(truth: list[int], answer: list[int], classes: int) -> Answers:
    """Answers given without doubt, each by a patient of its own."""
    return Answers(np.array([f"p{i:03d}" for i in range(len(truth))]), np.array(truth), np.eye(classes)[answer])


def oracle(metric: str, a: Answers, weights: F) -> float:
    """Scikit-learn's value of a metric with item weights; NaN where it is undefined."""
    chosen = a.scores.argmax(axis=1)
    if metric == "accuracy":
        return float(metrics.accuracy_score(a.truth, chosen, sample_weight=weights))
    if metric == "balanced_accuracy":
        with warnings.catch_warnings():  # about a class that is not in this draw: its recall is left out
            warnings.simplefilter("ignore")
            return float(metrics.balanced_accuracy_score(a.truth, chosen, sample_weight=weights))
    if metric == "macro_f1":
        return float(metrics.f1_score(a.truth, chosen, sample_weight=weights, average="macro", labels=range(a.k), zero_division=0))
    if metric == "mae":
        return float(metrics.mean_absolute_error(a.truth, chosen, sample_weight=weights))
    if metric == "quadratic_kappa":
        with warnings.catch_warnings(), np.errstate(invalid="ignore"):  # about draws of one grade that is answered: undefined
            warnings.simplefilter("ignore")
            kappa = metrics.cohen_kappa_score(a.truth, chosen, labels=list(range(a.k)), weights="quadratic", sample_weight=weights)
        one = len({*a.truth[weights > 0], *chosen[weights > 0]}) == 1
        return float("nan") if one else float(kappa)
    margins = [a.scores[:, 1] - a.scores[:, 0]] if a.k == 2 else list(a.scores.T)
    each = []
    for c, margin in zip([1] if a.k == 2 else range(a.k), margins, strict=True):
        positive = a.truth == c
        if weights[positive].sum() > 0 and weights[~positive].sum() > 0:
            each.append(metrics.roc_auc_score(positive, margin, sample_weight=weights))
    return float(np.mean(each)) if each else float("nan")


@pytest.mark.parametrize("clustered", [False, True], ids=["one item", "clustered"])
@pytest.mark.parametrize("classes", [2, 3, 4])
@pytest.mark.parametrize("metric", [*METRICS, "mae"])
def test_value_and_every_replicate_are_scikit_learns(metric: str, classes: int, clustered: bool) -> None:
    for seed in range(2):
        a = drawn(seed, classes, clustered)
        resamples = Resamples.draw(list(a.patients), seed=seed, replicates=30)
        estimate = a.estimate(metric, resamples)
        assert estimate.value == pytest.approx(oracle(metric, a, np.ones(len(a.truth))), abs=1e-12)
        expected = [oracle(metric, a, w) for w in resamples.weights(a.patients)]
        np.testing.assert_allclose(estimate.replicates, expected, atol=1e-12)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("metric", [*METRICS, "mae"])
def test_replicates_without_a_class(metric: str, classes: int) -> None:
    """Class 0 belongs to one patient, so a third of the draws lack it: recall and AUC leave it out, F1 counts it as 0."""
    answer = [0, 1, 1, 0, classes - 1, classes - 1]
    truth = [0, 1, 1, 1, classes - 1, classes - 1]
    a = certain(truth, answer, classes)
    resamples = Resamples.draw(list(a.patients), replicates=80)
    estimate = a.estimate(metric, resamples)
    weights = resamples.weights(a.patients)
    lacking = weights[:, 0] == 0
    assert 10 < lacking.sum() < 70
    np.testing.assert_allclose(estimate.replicates, [oracle(metric, a, w) for w in weights], atol=1e-12)
    assert np.isnan(estimate.replicates[lacking]).all() == (metric == "auc" and classes == 2)
    assert all(np.isfinite(estimate.bounds(0.025)))


@pytest.mark.parametrize("seed", range(3))
def test_patients_are_drawn_whole_and_as_often_as_there_are(seed: int) -> None:
    a = drawn(seed, 3, clustered=True)
    resamples = Resamples.draw(list(a.patients), seed=seed, replicates=50)
    weights = resamples.weights(a.patients)
    for patient in np.unique(a.patients):
        assert (np.ptp(weights[:, a.patients == patient], axis=1) == 0).all()
    np.testing.assert_array_equal(resamples.counts.sum(axis=1), len(np.unique(a.patients)))
    shuffled = Resamples.draw(list(a.patients)[::-1], seed=seed, replicates=50)
    np.testing.assert_array_equal(shuffled.counts, resamples.counts)
    assert not np.array_equal(Resamples.draw(list(a.patients), seed=seed + 1, replicates=50).counts, resamples.counts)


@pytest.mark.parametrize(("correct", "n"), [(0, 1), (1, 1), (0, 10), (3, 10), (10, 10), (1, 29), (148, 263)])
@pytest.mark.parametrize("alpha", [0.005, 0.025, 0.05])
def test_exact_is_scipys(correct: int, n: int, alpha: float) -> None:
    expected = binomtest(correct, n).proportion_ci(confidence_level=1 - 2 * alpha, method="exact")
    assert exact(correct / n, n, alpha) == pytest.approx((expected.low, expected.high), abs=1e-9)


@pytest.mark.parametrize("n", [5, 12, 40])
@pytest.mark.parametrize("alpha", [0.005, 0.025, 0.05])
def test_exact_is_never_missed_more_often_than_alpha(n: int, alpha: float) -> None:
    """By summing the binomial over every outcome, for every true proportion of a fine grid; Wilson's is missed up to twice as often."""
    p, outcomes = np.linspace(0.001, 0.999, 999)[:, None], np.arange(n + 1)
    low, high = np.array([exact(x / n, n, alpha) for x in outcomes]).T
    chances = binom.pmf(outcomes, n, p)
    for missed in ((chances * (low > p)).sum(axis=1), (chances * (high < p)).sum(axis=1)):
        assert missed.max() <= alpha + 1e-9
        assert missed.max() > 0.8 * alpha


def test_exact_between_whole_numbers() -> None:
    """An effective number of patients is rarely whole; bounds move steadily with it and with the share."""
    bounds = [exact(0.7, n, 0.025) for n in np.linspace(5, 6, 11)]
    assert [low for low, _ in bounds] == sorted(low for low, _ in bounds)
    assert [high for _, high in bounds] == sorted((high for _, high in bounds), reverse=True)
    assert [exact(p, 7.5, 0.025) for p in np.linspace(0, 1, 40)] == sorted(exact(p, 7.5, 0.025) for p in np.linspace(0, 1, 40))
    assert (exact(0, 7.5, 0.025)[0], exact(1, 7.5, 0.025)[1]) == (0, 1)


@pytest.mark.parametrize("mixed", [False, True], ids=["a class each", "patients with both"])
@pytest.mark.parametrize("seed", range(3))
def test_delong_is_obuchowskis_sum_over_patients(seed: int, mixed: bool) -> None:
    """By loops over pairs of items; a patient each, it is DeLong's from the variances of the placements."""
    rng = np.random.default_rng(seed)
    names = np.repeat([f"p{i}" for i in range(12)], rng.integers(1, 4, 12))
    of_patient = dict(zip(np.unique(names), rng.permutation([True, False] * 6), strict=True))
    positive = rng.random(len(names)) < 0.5 if mixed else np.array([of_patient[n] for n in names])
    margin = np.round(rng.normal(0, 1, len(names)) + 0.3 * positive, 1)
    wins = np.array([[1.0 if x > y else 0.5 if x == y else 0.0 for y in margin[~positive]] for x in margin[positive]])
    auc, m, n = wins.mean(), positive.sum(), (~positive).sum()
    up = [sum((wins[i].mean() - auc) / m for i in np.flatnonzero(names[positive] == p)) for p in np.unique(names)]
    down = [sum((wins[:, j].mean() - auc) / n for j in np.flatnonzero(names[~positive] == p)) for p in np.unique(names)]
    i, j, p = len(set(names[positive])), len(set(names[~positive])), len(set(names))
    expected = sum(x * x for x in up) * i / (i - 1) + sum(y * y for y in down) * j / (j - 1)
    expected += 2 * sum(x * y for x, y in zip(up, down, strict=True)) * p / (p - 1)
    found = delong(positive, margin, names)
    assert found
    assert found[0] == pytest.approx(expected)
    alone = delong(positive, margin, np.arange(len(names)).astype(str))
    assert alone
    a, b = wins.mean(axis=1).var(ddof=1) / m, wins.mean(axis=0).var(ddof=1) / n
    assert alone == pytest.approx((a + b, (a + b) ** 2 / (a**2 / (m - 1) + b**2 / (n - 1))))


@pytest.mark.parametrize(("truth", "margin", "patients"), [([1, 1, 0, 0], [2, 3, 0, 1], "abcd"), ([1, 1, 0, 0], [2, 0, 1, 1], "aacd")],
                         ids=["a perfect order", "one patient of a class"])
def test_delong_says_where_nothing_is_to_be_seen(truth: list[int], margin: list[float], patients: str) -> None:
    assert delong(np.array(truth) == 1, np.array(margin, dtype=float), np.array(list(patients))) is None


def test_newcombe_is_as_wide_as_what_the_answers_show() -> None:
    """At 0.5 with 10 of each class its own variance is 0.0175 (Hanley and McNeil); four times as much is twice as wide, about."""
    own = newcombe_auc(0.5, 10, 10, 0.025)
    assert newcombe_auc(0.5, 10, 10, 0.025, (0.0001, 5)) == own
    assert newcombe_auc(0.5, 10, 10, 0.025, (0.0175, 1e9)) == pytest.approx(own, abs=1e-4)
    wider = newcombe_auc(0.5, 10, 10, 0.025, (4 * 0.0175, 1e9))
    assert wider == pytest.approx(newcombe_auc(0.5, 10, 10, float(ndtr(-2 * 1.959964))), abs=1e-4)
    assert newcombe_auc(0.5, 10, 10, 0.025, (4 * 0.0175, 4)) < wider, "four degrees of freedom are less certain"
    assert newcombe_auc(1.0, 10, 10, 0.025, (0.1, 4)) == newcombe_auc(1.0, 10, 10, 0.025)


@pytest.mark.parametrize(("auc", "positives", "negatives"), [(0.5, 5, 5), (0.82, 12, 30), (0.97, 8, 8), (0.3, 40, 10), (1.0, 10, 10),
                                                            (1.0, 40, 7), (0.0, 10, 10)])
@pytest.mark.parametrize("alpha", [0.005, 0.025])
def test_newcombe_is_the_edge_of_the_grid_of_compatible_values(auc: float, positives: int, negatives: int, alpha: float) -> None:
    """Independently of root finding: every theta on a fine grid from which `auc` is at most z standard errors away.

    The standard error is Hanley and McNeil's, with both group sizes replaced by their mean (Newcombe 2006, method 5).
    """
    theta = np.linspace(0, 1, 200_001)[1:-1]
    q1, q2, each = theta / (2 - theta), 2 * theta**2 / (1 + theta), (positives + negatives) / 2
    hanley = (theta * (1 - theta) + (each - 1) * (q1 - theta**2) + (each - 1) * (q2 - theta**2)) / (positives * negatives)
    inside = theta[np.abs(auc - theta) <= float(ndtri(1 - alpha)) * np.sqrt(hanley)]
    low, high = newcombe_auc(auc, positives, negatives, alpha)
    assert (low, high) == pytest.approx((inside.min(), inside.max()), abs=2e-5)
    assert low <= auc <= high
    assert high - low > 0.05


def test_newcombe_shrinks_with_patients() -> None:
    widths = [np.diff(newcombe_auc(0.8, n, n, 0.025))[0] for n in (5, 10, 20, 40, 200)]
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < 0.1 < widths[0]


@pytest.mark.parametrize("n", [5, 10, 50])
def test_newcombe_of_a_perfect_auc_is_not_certain(n: int) -> None:
    low, high = newcombe_auc(1.0, n, n, 0.025)
    assert low < 1 - 1 / (2 * n)
    assert high == 1


def test_mover_of_one_is_itself() -> None:
    assert mover([0.7], [(0.4, 0.9)]) == pytest.approx((0.4, 0.9))


def test_mover_of_two_by_hand() -> None:
    """Deviations 0.3 and 0.4 below, 0.1 and 0 above: half of their hypotenuse from the mean."""
    assert mover([0.5, 0.9], [(0.2, 0.6), (0.5, 0.9)]) == pytest.approx((0.7 - 0.25, 0.7 + 0.05))


def test_mover_of_dependent_estimates() -> None:
    """Deviations 0.3 and 0.4: of one and the same thing they add up, and half way between in their squares at half the correlation."""
    half = np.array([[1, 0.5], [0.5, 1]])
    assert mover([0.5, 0.9], [(0.2, 0.6), (0.5, 0.9)], np.ones((2, 2))) == pytest.approx((0.7 - 0.35, 0.7 + 0.05))
    assert mover([0.5, 0.9], [(0.2, 0.6), (0.5, 0.9)], half) == pytest.approx((0.7 - np.sqrt(0.37) / 2, 0.7 + 0.05))


def test_the_effective_number_of_patients() -> None:
    assert effective(np.array(list("aabbcc"))) == pytest.approx(3)
    assert effective(np.array(list("aaaaab"))) == pytest.approx(36 / 26)
    assert effective(np.array(list("aaaaab")), np.array([1, 1, 1, 1, 1, 5.0])) == pytest.approx(2)


def test_the_effective_number_is_that_of_items_which_are_all_alike() -> None:
    """Simulated: where a patient's items are all right or all wrong, their share varies as that of so many patients."""
    rng, sizes = np.random.default_rng(0), np.array([1, 1, 2, 3, 9])
    shares = (rng.random((40_000, 5)) < 0.7) @ sizes / sizes.sum()
    assert shares.var() == pytest.approx(0.7 * 0.3 / effective(np.repeat(list("abcde"), sizes)), rel=0.03)


def test_overlap_is_the_correlation_of_means_over_items_that_are_all_alike() -> None:
    one, two, other = np.repeat(list("abc"), [1, 2, 3]), np.repeat(list("bcd"), [2, 2, 1]), np.array(list("xyz"))
    found = overlap([one, two, other])
    of = np.random.default_rng(0).normal(size=(200_000, 4))
    expected = np.corrcoef(of @ [1, 2, 3, 0], of @ [0, 2, 2, 1])[0, 1]
    assert found[0, 1] == pytest.approx(expected, abs=0.01)
    np.testing.assert_allclose(np.diag(found), 1)
    assert found[0, 2] == found[2, 1] == 0
    np.testing.assert_allclose(overlap([one, one, np.repeat(list("abc"), [2, 4, 6])]), 1)


@pytest.mark.parametrize("classes", [2, 3, 4])
@pytest.mark.parametrize("metric", METRICS)
def test_a_perfect_score_is_not_certain(metric: str, classes: int) -> None:
    truth = [c for c in range(classes) for _ in range(8)]
    estimate = certain(truth, truth, classes).estimate(metric, Resamples.draw([f"p{i:03d}" for i in range(len(truth))], replicates=100))
    low, high = estimate.bounds(0.025)
    assert estimate.value == high == 1
    assert low < 0.95


@pytest.mark.parametrize(("truth", "answer"), [([0, 0, 0], [0, 1, 0]), ([1, 1], [1, 1])])
def test_the_auc_of_one_class_is_refused(truth: list[int], answer: list[int]) -> None:
    a = certain(truth, answer, 2)
    with pytest.raises(ValueError, match="single class"):
        a.estimate("auc", Resamples.draw(list(a.patients), replicates=10))


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "macro_f1", "quadratic_kappa", "mae"])
def test_bounds_where_a_class_has_no_item(metric: str) -> None:
    """A small split may lack a class; the scorecard still states the other classes' score with an interval."""
    a = certain([0, 1, 0, 1, 0, 1], [0, 1, 0, 0, 0, 1], 3)
    estimate = a.estimate(metric, Resamples.draw(list(a.patients), replicates=50))
    low, high = estimate.bounds(0.025)
    assert low <= estimate.value <= high


@pytest.mark.parametrize("metric", [*METRICS, "mae"])
def test_bounds_widen_as_alpha_falls_and_hold_the_value(metric: str) -> None:
    a = drawn(5, 3, clustered=True)
    estimate = a.estimate(metric, Resamples.draw(list(a.patients), replicates=400))
    bounds = [estimate.bounds(alpha) for alpha in (0.4, 0.2, 0.1, 0.05, 0.025, 0.01, 0.001)]
    lows, highs = zip(*bounds, strict=True)
    assert list(lows) == sorted(lows, reverse=True)
    assert list(highs) == sorted(highs)
    assert lows[0] <= estimate.value <= highs[0]
    assert lows[-1] < lows[0]


def test_bounds_are_the_hull_of_bootstrap_and_guard() -> None:
    replicates = np.append(np.arange(101) / 100, np.nan)
    for guard, expected in {(0.4, 0.6): (0.1, 0.9), (0.0, 0.6): (0.0, 0.9), (0.3, 1.0): (0.1, 1.0)}.items():
        assert Estimate(0.5, replicates, lambda alpha, g=guard: g).bounds(0.1) == pytest.approx(expected)  # type: ignore[misc]


def test_bounds_without_a_defined_replicate_are_the_guards() -> None:
    assert Estimate(0.5, np.full(10, np.nan), lambda alpha: (0.2, 0.8)).bounds(0.1) == (0.2, 0.8)


@pytest.mark.parametrize("chance", [0.0, 0.25, 0.5])
def test_rescaled_is_a_linear_map(chance: float) -> None:
    a = drawn(2, 3, clustered=True)
    raw = a.estimate("accuracy", Resamples.draw(list(a.patients), replicates=200))
    skill = raw.rescaled(chance)
    assert skill.value == pytest.approx((raw.value - chance) / (1 - chance))
    np.testing.assert_allclose(skill.replicates, (raw.replicates - chance) / (1 - chance))
    for alpha in (0.01, 0.1):
        assert skill.bounds(alpha) == pytest.approx(tuple((b - chance) / (1 - chance) for b in raw.bounds(alpha)))


def test_mean_of_estimates_with_shared_draws_by_hand() -> None:
    """Draw by draw over what is defined there, so that shared patients count as what they are: dependent."""
    a = Estimate(0.4, np.array([0.2, 0.4, np.nan, np.nan]), lambda alpha: (0.1, 0.7))
    b = Estimate(0.8, np.array([0.6, np.nan, 1.0, np.nan]), lambda alpha: (0.4, 0.8))
    both = mean([a, b])
    assert both.value == pytest.approx(0.6)
    np.testing.assert_allclose(both.replicates, [0.4, 0.4, 1.0, np.nan])
    assert both.guard(0.1) == pytest.approx((0.6 - 0.25, 0.6 + 0.15))
    assert both.bounds(0.0) == pytest.approx((0.35, 1.0))


def test_mean_of_an_estimate_with_itself_is_no_more_certain() -> None:
    """Averaging the same subtask twice adds no information; independent draws would narrow it by the root of 2."""
    a = drawn(1, 2, clustered=True)
    one = a.estimate("accuracy", Resamples.draw(list(a.patients)))
    np.testing.assert_allclose(mean([one, one]).replicates, one.replicates)


@pytest.mark.parametrize("right", [0.8, 1.0], ids=["good", "perfect"])
def test_three_subtasks_of_the_same_answers_are_no_more_certain_than_one(right: float) -> None:
    """The bootstrap of a perfect score says nothing about what its patients share; the guard then counts them once."""
    truth = [0, 1] * 10
    a = certain(truth, [t if i < 20 * right else 1 - t for i, t in enumerate(truth)], 2)
    one = a.estimate("accuracy", Resamples.draw(list(a.patients), replicates=500))
    shared = mean([one] * 3, overlap([a.patients] * 3))
    assert shared.bounds(0.025) == pytest.approx(one.bounds(0.025))
    apart = mean([one] * 3, np.eye(3)).guard(0.025)
    assert one.value - apart[0] == pytest.approx((one.value - one.guard(0.025)[0]) / np.sqrt(3))


def test_classes_of_the_same_patients_are_not_independent() -> None:
    """Each patient has an item of each class, and all of them are right or none: recalls have one patient's worth of evidence a patient."""
    names, truth = np.repeat([f"p{i:02d}" for i in range(12)], 3), np.tile(np.arange(3), 12)
    answer = np.where(np.repeat(np.arange(12) < 9, 3), truth, (truth + 1) % 3)
    a = Answers(names, truth, np.eye(3)[answer])
    draws = Resamples.draw(list(names))
    assert a.estimate("balanced_accuracy", draws).bounds(0.025) == pytest.approx(a.estimate("accuracy", draws).bounds(0.025))


def test_mean_of_none_is_refused() -> None:
    with pytest.raises(ValueError, match="no estimates"):
        mean([])


@pytest.mark.parametrize(("metric", "expected"), [("accuracy", 0.6), ("balanced_accuracy", 1 / 3), ("macro_f1", 1 / 3), ("auc", 0.5),
                                                  ("quadratic_kappa", 0.0)])
def test_chance(metric: str, expected: float) -> None:
    a = certain([0] * 6 + [1] * 3 + [2], [0] * 10, 3)
    assert a.chance(metric) == pytest.approx(expected)


@pytest.mark.parametrize("classes", [2, 3, 4, 6])
def test_no_answer_without_looking_expects_more_macro_f1_than_chance(classes: int) -> None:
    """Brute force: answer class c with probability q_c, whatever the image; the expected F1 of c is 2 p q / (p + q)."""
    rng = np.random.default_rng(classes)
    truth = [*range(classes), *rng.integers(0, classes, 20).tolist()]
    p = np.bincount(truth, minlength=classes) / len(truth)
    q = np.concatenate([rng.dirichlet(np.full(classes, a), 20_000) for a in (0.3, 1.0, 5.0)] + [p[None]])
    expected = (2 * p * q / (p + q)).mean(axis=1)
    chance = certain(truth, truth, classes).chance("macro_f1")
    assert expected.max() == pytest.approx(chance)


def test_the_detectable_difference_is_lachins_where_there_are_many_patients() -> None:
    """Standard errors of a proportion, z of 97.5 % and of 80 %."""
    a = certain([0, 1] * 5000, [0, 1] * 5000, 2)
    difference = a.estimate("accuracy", Resamples.draw(list(a.patients), replicates=1)).detectable(0.5)
    assert difference == pytest.approx(1.959964 * np.sqrt(0.25 / 10_000) + 0.841621 * np.sqrt((0.25 - 0.014**2) / 10_000), rel=0.01)


@pytest.mark.parametrize("n", [5, 10, 25, 60])
def test_the_detectable_difference_of_an_accuracy_is_right_to_a_patient(n: int) -> None:
    """By summing the binomial: it is seen with 80 % power, and one that is smaller by a patient's worth is not."""
    a = certain([0] * n, [0] * n, 2)
    difference = a.estimate("accuracy", Resamples.draw(list(a.patients), replicates=1)).detectable(0.5)
    if difference is None:
        assert exact(1, n, 0.025)[0] <= 0.5
        return
    seen = np.array([exact(x / n, n, 0.025)[0] > 0.5 for x in range(n + 1)])
    power = [float(binom.pmf(np.arange(n + 1), n, 0.5 + d)[seen].sum()) for d in (difference, difference - 1 / n)]
    assert power[0] >= 0.8 - 1e-9 > power[1]


def test_nothing_is_detectable_where_not_even_a_perfect_score_would_tell() -> None:
    three = certain([0, 1, 0], [0, 1, 0], 2)
    assert three.estimate("accuracy", Resamples.draw(list(three.patients), replicates=5)).detectable(0.5) is None
    assert Estimate(0.5, np.zeros(3), lambda alpha: (0.2, 0.8)).detectable(0.5) is None, "nor where nobody says what another score would tell"


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("truth", [[0, 0, 1, 1, 2], [0, 1, 1, 1, 2], [0, 0, 0, 0, 1, 1], [0, 1, 2, 2]], ids=str)
def test_chance_is_what_the_best_of_all_blind_answers_is_worth(metric: str, truth: list[int]) -> None:
    """Brute force: whoever does not see the images can only choose how often to give each answer, and is worth the mean over all orders of
    these answers. For the AUC an answer is a score, and may be tied."""
    k, worth = max(truth) + 1, dict[tuple[int, ...], list[float]]()
    for answer in itertools.product(range(k), repeat=len(truth)):
        if metric != "quadratic_kappa" or len({*truth, *answer}) > 1:
            worth.setdefault(tuple(sorted(answer)), []).append(certain(truth, list(answer), k).value(metric))
    best = max(float(np.mean(each)) for each in worth.values())
    assert best == pytest.approx(certain(truth, truth, k).chance(metric))


@pytest.mark.parametrize("q", [[1, 0, 0], [0, 0, 1], [0.2, 0.3, 0.5]], ids=str)
def test_kappa_of_answers_without_looking_is_chance(q: list[float]) -> None:
    """Answers drawn whatever the grade: the disagreement is the expected one."""
    rng = np.random.default_rng(0)
    truth, answer = rng.choice(3, 40_000, p=[0.5, 0.3, 0.2]), rng.choice(3, 40_000, p=q)
    a = Answers(np.array(["p"] * len(truth)), truth, np.eye(3)[answer])
    assert a.estimate("quadratic_kappa", Resamples.draw(["p"], replicates=2)).value == pytest.approx(a.chance("quadratic_kappa"), abs=0.02)


@pytest.mark.parametrize("grade", [0, 1, 2])
def test_kappa_of_one_grade_that_is_answered_is_refused(grade: int) -> None:
    with pytest.raises(ValueError, match="kappa is undefined"):
        certain([grade] * 4, [grade] * 4, 3).estimate("quadratic_kappa", Resamples.draw([f"p{i:03d}" for i in range(4)], replicates=10))


def test_no_error_in_grades_is_not_certain() -> None:
    truth = [0, 1, 2] * 7
    estimate = certain(truth, truth, 3).estimate("mae", Resamples.draw([f"p{i:03d}" for i in range(21)], replicates=100))
    assert (estimate.value, estimate.bounds(0.025)[0]) == (0, 0)
    assert 0.05 < estimate.bounds(0.025)[1] < 0.5


def test_votes_are_the_answer_and_scores_settle_a_tie() -> None:
    votes, scores = np.array([[0.6, 0.4, 0], [0.4, 0.4, 0.2], [0, 0.5, 0.5]]), np.array([[0.1, 0.2, 0.9], [0.1, 0.2, 0.9], [0.9, 0.2, 0.1]])
    assert Answers(np.array(list("abc")), np.zeros(3, dtype=int), scores, votes).answer.tolist() == [0, 1, 1]


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "macro_f1", "quadratic_kappa", "mae"])
def test_replicates_of_votes_are_of_what_was_answered(metric: str) -> None:
    a, rng = drawn(3, 3, clustered=True), np.random.default_rng(0)
    voted = Answers(a.patients, a.truth, a.scores, np.round(rng.dirichlet([2, 2, 2], len(a.truth)), 1))
    plain = Answers(a.patients, a.truth, np.eye(3)[voted.answer])
    assert (voted.answer != a.answer).any()
    draws = Resamples.draw(list(a.patients), replicates=20)
    np.testing.assert_allclose(voted.estimate(metric, draws).replicates,
                               [oracle(metric, plain, w) for w in draws.weights(a.patients)], atol=1e-12)


def test_kept_weights_are_of_the_patients_asked_for() -> None:
    resamples = Resamples.draw(["a", "b", "ab"], replicates=20)
    for patients in (["a", "b"], ["a"], ["b", "a"], ["a", "b"]):
        expected = resamples.counts[:, [resamples.patients.tolist().index(p) for p in patients]]
        np.testing.assert_array_equal(resamples.weights(np.array(patients)), expected)
    assert resamples.weights(np.array(["ab"])).shape == (20, 1), "the same bytes as a and b"


def values(reached: list[float] | F, patients: list[str] | None = None) -> Values:
    """What was reached, each by a patient of its own."""
    names = [f"p{i:03d}" for i in range(len(reached))] if patients is None else patients
    return Values(np.array(names), {"dice": np.asarray(reached, dtype=float)}, {"dice": 0.25}, [len(names)])


def test_values_are_averaged_with_the_weights_of_their_patients() -> None:
    v = values([0.1, 0.5, 0.9, 0.3], ["a", "a", "b", "c"])
    resamples = Resamples.draw(list(v.patients), replicates=50)
    estimate, w = v.estimate("dice", resamples), resamples.weights(v.patients)
    assert estimate.value == pytest.approx(0.45)
    np.testing.assert_allclose(estimate.replicates, [np.average(v.values["dice"], weights=x) for x in w])
    assert (v.chance("dice"), v.chance("pointing")) == (0.25, None)


@pytest.mark.parametrize("reached", [0.0, 1.0])
def test_the_bounds_of_values_that_are_all_alike(reached: float) -> None:
    """Ten images of one patient are no more certain than one, and ten patients are more so."""
    one, ten = values([reached] * 10, ["a"] * 10), values([reached] * 10)
    widths = []
    for v in (one, ten):
        low, high = v.estimate("dice", Resamples.draw(list(v.patients), replicates=50)).bounds(0.025)
        assert low <= reached <= high
        assert {low, high} & {reached}
        widths.append(high - low)
    assert widths == pytest.approx([1 - 0.025, 1 - 0.025 ** (1 / 10)])


def test_values_that_are_not_defined_are_refused() -> None:
    with pytest.raises(ValueError, match="dice is not defined"):
        values([0.1, np.nan]).estimate("dice", Resamples.draw(["p000", "p001"], replicates=10))


def _values_data(p: float, rng: np.random.Generator) -> tuple[Values, str, float]:
    """Overlaps, alike within a patient."""
    sizes = rng.integers(1, 4, 30)
    middle = np.repeat(rng.beta(6 * p, 6 * (1 - p), 30), sizes)
    return values(rng.beta(10 * middle + 1e-3, 10 * (1 - middle) + 1e-3), np.repeat([f"p{i:02d}" for i in range(30)], sizes).tolist()), "dice", p


def _kappa_data(right: float, rng: np.random.Generator) -> tuple[Answers, str, float]:
    """Three grades alike in number, a wrong answer being one of the others: disagreement 1 x 2/3 + 4 x 1/3 of the wrong ones, 4/3 expected."""
    truth = rng.integers(0, 3, 40)
    answer = np.where(rng.random(40) < right, truth, (truth + rng.integers(1, 3, 40)) % 3)
    return certain(truth.tolist(), answer.tolist(), 3), "quadratic_kappa", 1 - (1 - right) * 2 / (4 / 3)


def _accuracy_data(p: float, rng: np.random.Generator) -> tuple[Answers, str, float]:
    sizes = rng.integers(1, 4, 30)
    names = np.repeat([f"p{i:02d}" for i in range(30)], sizes)
    # Items of a patient are alike: beta-binomial with an intra-patient correlation of 1/11.
    right = rng.random(len(names)) < np.repeat(rng.beta(10 * p, 10 * (1 - p), 30), sizes)
    truth = rng.integers(0, 3, len(names))
    return Answers(names, truth, np.eye(3)[np.where(right, truth, (truth + 1) % 3)]), "accuracy", p


def _auc_data(auc: float, rng: np.random.Generator) -> tuple[Answers, str, float]:
    shift = np.sqrt(2) * float(ndtri(auc))
    sizes = rng.integers(1, 4, 30)
    truth = np.repeat(np.arange(30) % 2, sizes)
    margin = shift * truth + np.sqrt(0.3) * np.repeat(rng.normal(0, 1, 30), sizes) + np.sqrt(0.7) * rng.normal(0, 1, len(truth))
    names = np.repeat([f"p{i:02d}" for i in range(30)], sizes)
    return Answers(names, truth, np.stack([-margin, margin], axis=1)), "auc", auc


@pytest.mark.parametrize(("simulate", "truth"), [(_accuracy_data, 0.7), (_accuracy_data, 0.95), (_auc_data, 0.8),
                                                 (_values_data, 0.3), (_values_data, 0.95), (_kappa_data, 0.8), (_kappa_data, 0.97)])
def test_coverage(simulate: Callable[[float, np.random.Generator], tuple[Answers | Values, str, float]], truth: float) -> None:
    """The 95 % interval holds the true score of 30 patients (grades: 40) with one to three items in at least 92 % of 300 studies."""
    rng, held = np.random.default_rng(0), 0
    for _ in range(300):
        a, metric, true = simulate(truth, rng)
        low, high = a.estimate(metric, Resamples.draw(list(a.patients), replicates=400)).bounds(0.025)
        held += low <= true <= high
    assert held / 300 >= 0.92


def test_a_difference_of_independent_scores_has_the_closed_interval() -> None:
    """Where nothing is shared, MOVER's interval is Newcombe's (1998, method 10) on the same bounds."""
    rng = np.random.default_rng(0)
    a, b = (Estimate(p, rng.normal(p, 1e-6, 4000), lambda alpha, p=p, n=n: exact(p, n, alpha)) for p, n in ((0.8, 50), (0.6, 80)))  # type: ignore[misc]
    (la, ua), (lb, ub) = exact(0.8, 50, 0.025), exact(0.6, 80, 0.025)
    low, high = difference(a, b).bounds(0.025)
    assert low == pytest.approx(0.2 - np.hypot(0.8 - la, ub - 0.6), abs=0.01)
    assert high == pytest.approx(0.2 + np.hypot(ua - 0.8, 0.6 - lb), abs=0.01)


def test_a_paired_difference_covers_the_true_one() -> None:
    """Two models answer the same 60 patients; their errors go together."""
    rng, held, n = np.random.default_rng(1), 0, 60
    patients, truth = np.array([f"p{i}" for i in range(n)]), np.arange(n) % 2
    resamples, widths, single = Resamples.draw(patients.tolist(), replicates=400), [], []
    for _ in range(200):
        shared = rng.random(n)
        right = [shared < 0.8, np.where(rng.random(n) < 0.7, shared, rng.random(n)) < 0.7]  # 80 % and 70 % right
        a, b = (Answers(patients, truth, np.eye(2)[np.where(r, truth, 1 - truth)]).estimate("accuracy", resamples) for r in right)
        low, high = difference(a, b).bounds(0.025)
        held += low <= 0.1 <= high
        widths.append(high - low)
        single.append(np.hypot(*np.diff([a.bounds(0.025), b.bounds(0.025)])[:, 0]))
    assert held / 200 >= 0.93
    assert np.mean(widths) < 0.9 * np.mean(single), "pairing gains nothing"
