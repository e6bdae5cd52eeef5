"""Statistics against derivations by hand, scipy, scikit-learn, exact enumeration and coverage by simulation."""

from itertools import product

import numpy as np
import pytest
from scipy import stats as scipy_stats
from sklearn.metrics import f1_score

from judges import stats


def test_wilson_by_hand():
    """z = 1.96, 8 of 10: centre (.8 + .19207) / 1.38415 = .71674, half = 1.96 / 1.38415 * sqrt(.016 + .009604)."""
    interval = stats.wilson_interval(8, 10)
    assert interval.low == pytest.approx(0.71674 - 0.22658, abs=2e-4)
    assert interval.high == pytest.approx(0.71674 + 0.22658, abs=2e-4)


@pytest.mark.parametrize(("successes", "num_trials"), [(0, 20), (1, 20), (7, 20), (20, 20), (33, 64)])
def test_wilson_equals_scipy(successes, num_trials):
    expected = scipy_stats.binomtest(successes, num_trials).proportion_ci(method="wilson")
    interval = stats.wilson_interval(successes, num_trials)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_wilson_never_claims_certainty():
    """At n of n the upper end is 1 and the lower is n / (n + z^2) = 20 / 23.8415."""
    interval = stats.wilson_interval(20, 20)
    assert interval.high == 1.0
    assert interval.low == pytest.approx(20 / 23.8415, abs=1e-5)


@pytest.mark.parametrize("values", [[], [0.4]])
def test_no_interval_below_two_values(values):
    assert stats.mean_interval(values) == stats.Interval(None, None)
    assert stats.wilson_interval(sum(value > 0 for value in values), len(values)) == stats.Interval(None, None)


def test_mean_interval_equals_scipy():
    """Both are percentile bootstraps, so they agree up to the noise of 2,000 resamples."""
    values = np.random.default_rng(1).gamma(2.0, 1.0, 60)
    interval = stats.mean_interval(values)
    expected = scipy_stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(2)
    ).confidence_interval
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=0.03)


def test_mean_interval_is_seeded():
    values = np.random.default_rng(1).normal(size=30)
    assert stats.mean_interval(values) == stats.mean_interval(values.copy())
    assert stats.mean_interval(values) != stats.mean_interval(values, seed=1)


def test_interval_of_equal_values_is_the_value():
    interval = stats.mean_interval([3.0] * 8)
    assert (interval.low, interval.high) == (3.0, 3.0)


def covered(interval: stats.Interval, truth: float) -> bool:
    return interval.low <= truth <= interval.high


def test_coverage_of_both_intervals():
    """400 samples of known mean, n = 40: 95% intervals hold the truth in 91-98% of them (3 standard errors = 3.3%)."""
    random = np.random.default_rng(7)
    means = [covered(stats.mean_interval(random.normal(2.0, 1.0, 40)), 2.0) for _ in range(400)]
    shares = [covered(stats.wilson_interval(int(random.binomial(40, 0.3)), 40), 0.3) for _ in range(400)]
    assert 0.91 <= np.mean(means) <= 0.98
    assert 0.91 <= np.mean(shares) <= 0.98


def test_perplexity_weighs_tokens():
    """exp((ln2 * 100 + ln8 * 300) / 400) = exp(ln2 * 2.5) = 2^2.5; the mean of per-item perplexities would be 5."""
    items = np.array([[100 * np.log(2), 100], [300 * np.log(8), 300]])
    assert stats.statistic_value(items, stats.perplexity) == pytest.approx(2**2.5)


def counts(labels, predictions, actual):
    hit = [[p == label == a for label in labels] for p, a in zip(predictions, actual, strict=True)]
    predicted = [[p == label for label in labels] for p in predictions]
    return np.hstack([hit, predicted, [[a == label for label in labels] for a in actual]]).astype(float)


def test_macro_f1_equals_scikit_learn_also_in_resamples():
    """Over the labels of the references; 'other' and None are predictions that no reference has."""
    random = np.random.default_rng(4)
    labels = ["a", "b", "c"]
    actual = random.choice(labels, 40, p=[0.6, 0.3, 0.1])
    predictions = np.array([*random.choice([*labels, "other"], 39), "None"])
    features = counts(labels, predictions, actual)
    for chosen in [np.arange(40), *random.integers(0, 40, (20, 6))]:
        seen = sorted(set(actual[chosen]))
        expected = f1_score(actual[chosen], predictions[chosen], labels=seen, average="macro", zero_division=0)
        assert stats.statistic_value(features[chosen], stats.macro_f1) == pytest.approx(expected)


def enumerated_p(differences: np.ndarray) -> float:
    signs = np.array(list(product((-1, 1), repeat=len(differences))))
    return float(np.mean(np.abs(signs @ differences) >= abs(differences.sum()) - 1e-9))


@pytest.mark.parametrize("n", [2, 5, 9])
def test_small_samples_are_enumerated(n):
    random = np.random.default_rng(n)
    a, b = random.normal(0.5, 1, n), random.normal(0, 1, n)
    assert stats.paired_test(a, b).p == pytest.approx(enumerated_p(a - b))


def test_large_samples_approach_the_enumeration():
    """16 items (65,536 patterns) are sampled with 4,999 swaps: the standard error at p = .06 is .0034."""
    random = np.random.default_rng(12)
    a, b = random.normal(0.5, 1, 16), random.normal(0, 1, 16)
    exact = enumerated_p(a - b)
    assert 0.01 < exact < 0.5
    assert stats.paired_test(a, b).p == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 4999))


def test_binary_items_give_the_exact_mcnemar_test():
    """Ties drop out: 9 against 2 discordant of 40 is the two-sided binomial p of 2 in 11 = 134 / 2048."""
    a = np.array([1.0] * 9 + [0.0] * 2 + [1.0] * 20 + [0.0] * 9)
    b = np.array([0.0] * 9 + [1.0] * 2 + [1.0] * 20 + [0.0] * 9)
    found = stats.paired_test(a, b)
    assert found.p == pytest.approx(134 / 2048)
    assert found.p == pytest.approx(scipy_stats.binomtest(2, 11).pvalue)
    assert (found.difference, found.n) == (pytest.approx(7 / 40), 40)


def test_paired_test_sees_what_an_unpaired_one_cannot():
    """A shift of .1 under an item spread of 5: the interval is narrow because items are resampled together."""
    random = np.random.default_rng(3)
    items = random.normal(0, 5, 50)
    found = stats.paired_test(items + 0.1, items + random.normal(0, 0.05, 50))
    assert 0 < found.low < found.difference < found.high < 0.15
    assert found.p == pytest.approx(1 / 5000)
    assert scipy_stats.ttest_ind(items + 0.1, items).pvalue > 0.5


def test_no_difference_is_no_evidence():
    found = stats.paired_test([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    assert (found.difference, found.low, found.high, found.p) == (0.0, 0.0, 0.0, 1.0)


def test_false_positive_rate_under_the_null():
    """300 pairs without a difference: p < .05 in 5% of them (three standard errors: 1.2-8.8%), at least once."""
    random = np.random.default_rng(9)
    p_values = [stats.paired_test(*random.normal(size=(2, 20))).p for _ in range(300)]
    assert 0.012 <= np.mean(np.array(p_values) < 0.05) <= 0.088


@pytest.mark.parametrize(("n", "p"), [(0, None), (1, 1.0)])
def test_too_few_pairs(n, p):
    found = stats.paired_test([1.0] * n, [0.0] * n)
    assert (found.low, found.high, found.p, found.n) == (None, None, p, n)


def test_unpaired_lengths_are_refused():
    with pytest.raises(ValueError, match="differ in shape"):
        stats.paired_test([1.0, 2.0], [1.0])


def test_swap_test_of_perplexity_uses_the_ratio():
    """Every item is better by the same factor: of 2^5 swaps only none and all are as extreme, p = 2 / 32."""
    tokens = np.array([50.0, 80, 120, 200, 310])
    a, b = np.stack([tokens * 2.4, tokens], axis=1), np.stack([tokens * 2.5, tokens], axis=1)
    found = stats.paired_test(a, b, stats.perplexity)
    assert found.difference == pytest.approx(np.exp(2.4) - np.exp(2.5))
    assert found.p == pytest.approx(2 / 32)


def test_holm_by_hand():
    """Sorted .01 .02 .03 .04 times 4 3 2 1 = .04 .06 .06 .04, made monotone: .04 .06 .06 .06. None is no member."""
    assert stats.holm([0.04, None, 0.01, 0.03, 0.02]) == pytest.approx([0.06, None, 0.04, 0.06, 0.06])
    assert stats.holm([0.9, 0.8]) == [1.0, 1.0]
    assert stats.holm([]) == []


def test_blocks_bound_the_memory_and_keep_the_seed():
    """5,000 items make 10 blocks of 200 resamples; the mean of normal draws has standard error 1 / sqrt(5,000)."""
    values = np.random.default_rng(0).normal(size=5_000)
    interval = stats.mean_interval(values)
    assert interval.high - interval.low == pytest.approx(2 * 1.96 / np.sqrt(5_000), rel=0.1)
    assert interval == stats.mean_interval(values)
