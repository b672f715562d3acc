"""Differences of models: no difference is found as often as it says, intervals cover, and corrections are those of others."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats
from scipy.special import ndtri

from radisim_cl.compare.paired import Pair, holm, over_patients, over_seeds, pair, together
from radisim_cl.stats import Answers, Resamples, Values

N = 60
PATIENTS = np.array([f"p{i:03d}" for i in range(N)])
DRAWN = Resamples.draw(PATIENTS.tolist())


def values(x: npt.NDArray[np.float64]) -> Values:
    """A number a patient."""
    return Values(PATIENTS, {"dice": x}, {"dice": 0.0}, [N])


def of_values(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> Pair:
    """Two models by their numbers."""
    first, second = values(a), values(b)
    return pair(first.estimate("dice", DRAWN), second.estimate("dice", DRAWN), first, second, "dice")


def answers(rng: np.random.Generator, truth: npt.NDArray[np.int64], shared: npt.NDArray[np.float64], right: float, metric: str) -> Answers:
    """One of several models whose answers agree more than by chance, through what is hard about a patient."""
    latent, k = np.sqrt(0.5) * (shared + rng.normal(size=len(truth))), int(truth.max()) + 1
    if metric == "auc":
        return Answers(PATIENTS, truth, np.stack([np.zeros(N), latent + 1.0 * truth], axis=1))
    return Answers(PATIENTS, truth, np.eye(k)[np.where(latent < ndtri(right), truth, (truth + 1) % k)])


def test_without_a_difference_one_comparison_in_twenty_finds_one() -> None:
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(2000):
        both = rng.beta(2, 2, N)
        a, b = (np.clip(both + rng.normal(0, 0.1, N), 0, 1) for _ in range(2))
        made = over_patients([of_values(a, b)])
        assert made
        found += made.p < 0.05
    assert 0.04 <= found / 2000 <= 0.06


@pytest.mark.slow
@pytest.mark.parametrize(("metric", "classes"), [("balanced_accuracy", 2), ("balanced_accuracy", 4), ("macro_f1", 3), ("auc", 2)])
def test_without_a_difference_one_comparison_in_twenty_finds_one_with_any_metric(metric: str, classes: int) -> None:
    rng, truth = np.random.default_rng(1), np.arange(N) % classes
    found = 0
    for _ in range(2000):
        shared = rng.normal(size=N)
        a, b = (answers(rng, truth, shared, 0.7, metric) for _ in range(2))
        made = over_patients([pair(a.estimate(metric, DRAWN), b.estimate(metric, DRAWN), a, b, metric)])
        assert made
        found += made.p < 0.05
    assert 0.025 <= found / 2000 <= 0.06  # less where answers are whole numbers, and for an AUC of few patients, whose bootstrap is wide


def test_intervals_cover_the_difference_that_all_patients_would_show() -> None:
    rng = np.random.default_rng(2)
    covered, gain = 0, 0.1
    for _ in range(1000):
        both = rng.beta(2, 2, N) * 0.6
        seeds = [of_values(both + rng.uniform(0, 0.2, N), both + rng.uniform(0, 0.2, N) + gain) for _ in range(2)]
        made = over_patients(seeds)
        assert made
        covered += made.low <= gain <= made.high
    assert 0.93 <= covered / 1000 <= 0.97


def test_a_mean_has_the_interval_and_the_p_of_the_paired_t_test() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.uniform(0.3, 0.6, N), rng.uniform(0.35, 0.65, N)
    made, theirs = over_patients([of_values(a, b)]), stats.ttest_rel(b, a)
    assert made
    bounds = theirs.confidence_interval()
    assert made.value == pytest.approx(float((b - a).mean()))
    assert (made.low, made.high) == pytest.approx((bounds.low, bounds.high), abs=0.1 * (bounds.high - bounds.low))
    assert np.log(made.p) == pytest.approx(np.log(theirs.pvalue), rel=0.1)


def test_the_more_is_shared_the_narrower() -> None:
    rng = np.random.default_rng(4)
    both = rng.uniform(0.2, 0.8, N)
    near, far = over_patients([of_values(both, both + rng.normal(0, 0.02, N))]), over_patients([of_values(both, rng.permutation(both))])
    assert near
    assert far
    assert near.high - near.low < 0.2 * (far.high - far.low)


def test_models_that_agree_do_not_differ_and_few_patients_show_little() -> None:
    x = np.linspace(0.2, 0.8, N)
    same = over_patients([of_values(x, x)])
    assert same
    assert (same.value, same.low, same.high, same.p) == (0.0, 0.0, 0.0, 1.0)
    truth = np.zeros(N, dtype=np.int64)
    truth[N // 2 :] = 1
    for changed in (1, 4, 12):
        a, b = truth.copy(), truth.copy()
        b[:changed] = 1
        first, second = (Answers(PATIENTS, truth, np.eye(2)[x]) for x in (a, b))
        one = pair(first.estimate("accuracy", DRAWN), second.estimate("accuracy", DRAWN), first, second, "accuracy")
        made = over_patients([one])
        assert made
        assert len(one.differing) == changed
        assert made.p >= min(1.0, stats.binomtest(0, changed).pvalue) - 1e-12  # McNemar's exact test, which a t test would fall below


def test_a_suite_is_the_mean_of_its_subtasks() -> None:
    rng = np.random.default_rng(5)
    parts = [of_values(rng.uniform(0, 1, N), rng.uniform(0, 1, N)) for _ in range(3)]
    whole = together(parts)
    assert whole.second.value - whole.first.value == pytest.approx(np.mean([p.second.value - p.first.value for p in parts]))
    assert whole.first.replicates == pytest.approx(np.mean([p.first.replicates for p in parts], axis=0))


def test_over_seeds_it_is_the_t_interval_of_scipy() -> None:
    each = [0.02, 0.05, -0.01, 0.04]
    made, theirs = over_seeds(each), stats.ttest_1samp(each, 0.0).confidence_interval()
    assert made == pytest.approx((np.std(each, ddof=1), theirs.low, theirs.high))
    assert over_seeds([0.1]) is None


def test_holm_is_that_of_statsmodels() -> None:
    from statsmodels.stats.multitest import multipletests

    rng = np.random.default_rng(7)
    for n in (1, 2, 5, 24, 24, 24):
        p = np.round(rng.uniform(0, 1, n) ** 3, 2)  # with ties, zeros and small ones
        assert holm(p.tolist()) == pytest.approx(multipletests(p, method="holm")[1].tolist())


def test_holm_finds_something_that_is_not_there_at_most_one_time_in_twenty() -> None:
    rng = np.random.default_rng(6)
    wrong = kept = 0
    for _ in range(4000):
        z = rng.normal(size=24)
        z[:4] += 3.5  # four of the 24 do differ
        corrected = np.array(holm((2 * stats.norm.sf(np.abs(z))).tolist()))
        wrong += bool((corrected[4:] < 0.05).any())
        kept += int((corrected[:4] < 0.05).sum())
    assert wrong / 4000 <= 0.05 + 2 * (0.05 * 0.95 / 4000) ** 0.5
    assert kept / 4000 > 2
