"""Win rates at equal length: against statsmodels, and on planted preferences for length."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm

from judges.length_control import fit, item_weights, sigmoid, win_rate


def test_without_the_prior_it_is_the_logistic_glm():
    random = np.random.default_rng(1)
    feature = np.tanh(random.normal(size=80))
    wins = (random.random(80) < sigmoid(0.4 + 1.2 * feature)).astype(float)
    wins[:7] = 0.5
    expected = sm.GLM(wins, sm.add_constant(feature), family=sm.families.Binomial()).fit().params
    assert fit(wins, feature, np.ones((1, 80)), prior=0.0)[0] == pytest.approx(expected, abs=1e-6)


def test_weights_are_repeated_items():
    random = np.random.default_rng(2)
    wins, feature = random.integers(0, 2, 12).astype(float), random.normal(size=12)
    counts = random.integers(0, 4, 12)
    repeated = fit(np.repeat(wins, counts), np.repeat(feature, counts), np.ones((1, counts.sum())))
    assert fit(wins, feature, counts[None].astype(float))[0] == pytest.approx(repeated[0])


def judged_by_length(num_items: int, longer: float, quality: float) -> tuple[np.ndarray, np.ndarray]:
    """Wins of an arm that writes `longer` words more, under a judge that adds 1.5 logits per spread of length."""
    random = np.random.default_rng(5)
    words = random.normal(longer, 30, num_items)
    wins = random.random(num_items) < sigmoid(quality + 1.5 * np.tanh(words / words.std()))
    return wins.astype(float), words


def test_an_arm_that_only_writes_more_wins_no_more_at_equal_length():
    """The same quality, 40 words more: it wins most of the time, and half the time once the length is taken away."""
    found = win_rate(*judged_by_length(600, 40.0, 0.0))
    assert found.raw > 0.7
    assert found.low < 0.5 < found.high
    assert found.length_effect > 0.8


def test_a_better_arm_wins_at_equal_length_too():
    """Quality of 1 logit: sigmoid(1) = .73 at equal length, although it writes less and loses by that."""
    found = win_rate(*judged_by_length(600, -40.0, 1.0))
    assert found.raw < 0.6
    assert found.low > 0.55
    assert found.low < 0.731 < found.high


def test_equal_lengths_leave_the_win_rate():
    """Without length differences only the weak prior moves it, towards one half."""
    wins = np.array([1.0] * 30 + [0.0] * 10)
    found = win_rate(wins, np.full(40, 7.0))
    assert found.controlled == pytest.approx(0.75, abs=0.01)
    assert found.length_effect == pytest.approx(0)


def test_winning_everything_is_not_certainty():
    """Resamples of all wins are all wins; the model's own error keeps the interval open."""
    found = win_rate(np.ones(8), np.arange(8.0))
    assert found.raw == 1.0
    assert found.low < 0.9 < found.controlled < found.high < 1.0


def test_swapping_the_arms_mirrors_the_rate():
    wins, words = judged_by_length(50, 10.0, 0.5)
    forth, back = win_rate(wins, words), win_rate(1 - wins, -words)
    assert forth.controlled == pytest.approx(1 - back.controlled)
    assert forth.low == pytest.approx(1 - back.high, abs=1e-9)


@pytest.mark.parametrize(("n", "raw"), [(0, None), (4, 0.5)])
def test_too_few_items_have_no_rate(n, raw):
    found = win_rate(np.full(n, 0.5), np.zeros(n))
    assert (found.raw, found.controlled, found.low, found.n) == (raw, None, None, n)


def test_clusters_are_drawn_whole():
    weights = item_weights(5, ["a", "a", "b", "b", "b"])
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, 2] == weights[:, 4]).all()
    assert set(np.unique(weights)) == {0.0, 1.0, 2.0}
