"""Properties of the statistics for any data: against scipy, statsmodels, scikit-learn and exact enumeration."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats as scipy_stats
from sklearn.metrics import f1_score
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import NormalIndPower
from statsmodels.stats.proportion import proportion_confint

from judges import effects, stats
from judges.classification import macro_f1

settings.register_profile("statistics", deadline=None, max_examples=60)
settings.load_profile("statistics")

LABELS = ("a", "b", "c")
values = st.floats(-100, 100, allow_nan=False, width=32)
shares = st.floats(0, 1, allow_nan=False)


def two_arms(n: int, elements: st.SearchStrategy[float]) -> st.SearchStrategy[np.ndarray]:
    return arrays(np.float64, (2, n), elements=elements)


def test_holm_equals_statsmodels():
    """One long list: statsmodels collects garbage in every call, a second each beside a model."""
    p_values = [0.04, 0.001, 0.03, 0.2, 0.0009, 0.04, 1.0, 0.0, 0.011, 0.5, 0.049, 0.0125]
    assert stats.holm(p_values) == pytest.approx(list(multipletests(p_values, method="holm")[1]))


@given(st.lists(shares, min_size=1, max_size=7))
def test_holm_is_the_closed_bonferroni_test(p_values):
    """A hypothesis falls when every set of hypotheses with it falls by Bonferroni: the largest |S| min(p in S)."""
    places = range(len(p_values))
    sets = [s for size in range(1, len(p_values) + 1) for s in combinations(places, size)]
    expected = [max(min(1.0, len(s) * min(p_values[j] for j in s)) for s in sets if i in s) for i in places]
    assert stats.holm(p_values) == pytest.approx(expected)


@given(st.lists(shares, min_size=1, max_size=10), st.randoms(use_true_random=False))
def test_holm_does_not_depend_on_the_order_and_never_lowers(p_values, random):
    adjusted = stats.holm(p_values)
    assert all(after >= before for after, before in zip(adjusted, p_values, strict=True))
    places = list(range(len(p_values)))
    random.shuffle(places)
    assert stats.holm([p_values[i] for i in places]) == pytest.approx([adjusted[i] for i in places])


@given(st.integers(2, 400), st.data())
def test_wilson_equals_statsmodels(n, data):
    successes = data.draw(st.integers(0, n))
    interval = stats.wilson_interval(successes, n)
    assert (interval.low, interval.high) == pytest.approx(proportion_confint(successes, n, method="wilson"), abs=1e-9)


@given(st.integers(1, 9).flatmap(lambda n: two_arms(n, values)))
def test_sign_flip_p_is_the_enumerated_one(arms):
    differences = arms[0] - arms[1]
    signs = np.array(list(product((-1, 1), repeat=len(differences))))
    sums = np.abs(signs @ differences)
    observed = abs(differences.sum())
    expected = np.mean(sums >= observed - 1e-9 * max(1.0, sums.max()))
    assert stats.paired_test(*arms).p == pytest.approx(expected)


@given(st.integers(2, 8).flatmap(lambda n: two_arms(n, st.integers(-9, 9).map(float))))
def test_sign_flip_p_equals_scipy_permutation_test(arms):
    expected = scipy_stats.permutation_test(
        tuple(arms), lambda x, y, axis: (x - y).sum(axis=axis), permutation_type="samples", vectorized=True
    ).pvalue
    assert stats.paired_test(*arms).p == pytest.approx(expected)


@given(st.integers(1, 40).flatmap(lambda n: two_arms(n, st.sampled_from([0.0, 1.0]))))
def test_yes_no_items_give_the_exact_mcnemar_test(arms):
    found = effects.duel(*arms)
    if found.wins + found.losses > stats.EXACT_ITEMS:
        return
    table = [[0, found.wins], [found.losses, 0]]
    assert stats.paired_test(*arms).p == pytest.approx(min(1.0, mcnemar(table, exact=True).pvalue))


@given(st.integers(2, 30).flatmap(lambda n: two_arms(n, values)))
def test_swapping_the_arms_turns_the_sign_and_nothing_else(arms):
    forth, back = stats.paired_test(*arms), stats.paired_test(arms[1], arms[0])
    assert forth.difference == pytest.approx(-back.difference, abs=1e-9)
    assert (forth.low, forth.high) == pytest.approx((-back.high, -back.low), abs=1e-6)
    assert forth.p == pytest.approx(back.p, abs=1e-3)


@given(st.integers(2, 30).flatmap(lambda n: arrays(np.float64, n, elements=values)))
def test_the_bootstrap_stays_inside_the_data_and_its_error_is_that_of_the_mean(items):
    interval = stats.mean_interval(items)
    assert items.min() - 1e-6 <= interval.low <= interval.high <= items.max() + 1e-6
    error = stats.paired_test(items, np.zeros_like(items)).standard_error
    assert error == pytest.approx(items.std() / np.sqrt(len(items)), rel=0.15, abs=1e-6)


@given(st.lists(st.tuples(st.sampled_from([*LABELS, "other", None]), st.sampled_from(LABELS)), min_size=1, max_size=40))
def test_both_doors_to_macro_f1_give_scikit_learns(pairs):
    """One definition: over the labels that have references; a prediction of None or of another label is a miss."""
    predictions, references = zip(*pairs, strict=True)
    seen = sorted(set(references))
    said = [str(prediction) for prediction in predictions]
    expected = f1_score(references, said, labels=seen, average="macro", zero_division=0)
    assert macro_f1(predictions, references, LABELS) == pytest.approx(expected)
    features = stats.label_counts(predictions, references, LABELS)
    assert stats.statistic_value(features, stats.macro_f1) == pytest.approx(expected)


@given(
    st.integers(2, 20).flatmap(
        lambda n: st.tuples(two_arms(n, values), st.lists(st.sampled_from("xyz"), min_size=n, max_size=n))
    )
)
def test_clusters_are_single_items_with_summed_features(case):
    """Summing by hand first gives the same test; the difference is that of the items."""
    arms, names = case
    features = [stats.as_features(arm) for arm in arms]
    groups = list(dict.fromkeys(names))
    summed = [np.array([f[[n == g for n in names]].sum(0) for g in groups]) for f in features]
    found, by_hand = stats.paired_test(*features, clusters=names), stats.paired_test(*summed)
    assert (found.low, found.high, found.p) == pytest.approx((by_hand.low, by_hand.high, by_hand.p), nan_ok=True)
    assert found.difference == pytest.approx(float(arms[0].mean() - arms[1].mean()), abs=1e-6)
    assert (found.n, found.clusters) == (len(names), len(groups))


@given(st.integers(2, 12).flatmap(lambda n: two_arms(n, values)))
def test_items_that_are_their_own_clusters_change_nothing(arms):
    names = [f"item {place}" for place in range(arms.shape[1])]
    assert stats.paired_test(*arms, clusters=names) == stats.paired_test(*arms)


@given(st.integers(1, 15).flatmap(lambda n: two_arms(n, st.integers(-3, 3).map(float))))
def test_cliffs_delta_is_the_rank_statistic(arms):
    """delta = 2 U / (n m) - 1, with U of the Mann-Whitney test."""
    a, b = arms
    u = scipy_stats.mannwhitneyu(a, b).statistic if len(set(arms.ravel())) > 1 else len(a) * len(b) / 2
    assert effects.cliffs_delta(a, b) == pytest.approx(2 * u / (len(a) * len(b)) - 1)


@given(st.integers(2, 20).flatmap(lambda n: two_arms(n, values)))
def test_the_standardised_difference_is_t_over_root_n(arms):
    a, b = arms
    found = effects.standardised_difference(a, b)
    spread = (a - b).std(ddof=1)
    if spread < 1e-6:
        return
    assert found == pytest.approx(scipy_stats.ttest_rel(a, b).statistic / np.sqrt(len(a)), rel=1e-6, abs=1e-9)


@given(st.floats(0.01, 10), st.integers(14, 400), st.integers(1, 20))
def test_the_minimum_detectable_effect_has_eighty_percent_power(error, n, num_tests):
    """Against statsmodels' normal power: an effect of mde / spread over n items at alpha / tests has power .8."""
    mde = stats.minimum_detectable(error, n, num_tests)
    standardised = mde / (error * np.sqrt(n))
    power = NormalIndPower(ddof=0).power(standardised, n, 0.05 / num_tests, ratio=0, alternative="two-sided")
    assert power == pytest.approx(0.8, abs=1e-3)


@given(values, st.none() | shares, st.booleans())
def test_the_verdict_needs_a_small_p_and_follows_the_sign(difference, p, higher_is_better):
    found = stats.verdict(difference, p, higher_is_better)
    if p is None or p >= 0.05 or difference == 0:
        assert found == "not enough evidence"
    else:
        assert found == ("better" if (difference > 0) == higher_is_better else "worse")
