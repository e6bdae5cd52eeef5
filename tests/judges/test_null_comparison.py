"""The same model twice with other sampling seeds: how often is one of them called better? And a real gain, how often?

Items differ in difficulty, which both runs share; what differs between the runs is only the noise of sampling, drawn
anew for each item. Shapes of items are those of the shipped reports (16-48 items, yes/no, scores, labels).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from judges import stats
from judges.stats import FloatArray, Statistic

NUM_RUNS = 1_000
NUM_LABELS = 6
NUM_SWAPS = 499  # valid with the +1 correction for any number, only less sharp than the 4,999 of a report

Draw = Callable[[np.random.Generator, int], FloatArray]


def sampled_scores(random: np.random.Generator, num_items: int) -> Draw:
    """A judge's scores: the item's own level, and noise whose size differs from item to item."""
    level, spread = random.normal(0.5, 0.2, num_items), random.gamma(2.0, 0.05, num_items)
    return lambda noise, shift=0.0: stats.as_features(level + shift + spread * noise.standard_t(4, num_items))


def sampled_shares(random: np.random.Generator, num_items: int) -> Draw:
    """Yes or no, with a chance of its own for each item; many items are nearly sure."""
    chance = random.beta(0.7, 0.7, num_items)
    return lambda noise, shift=0.0: stats.as_features((noise.random(num_items) < chance + shift).astype(float))


def sampled_labels(random: np.random.Generator, num_items: int) -> Draw:
    """Labels of unequal size; each item is labelled right with a chance of its own, else at random."""
    names = [str(label) for label in range(NUM_LABELS)]
    references = random.choice(names, num_items, p=[0.35, 0.25, 0.15, 0.1, 0.1, 0.05])
    chance = random.beta(2, 2, num_items)

    def draw(noise: np.random.Generator, shift: float = 0.0) -> FloatArray:
        right = noise.random(num_items) < chance + shift
        said = np.where(right, references, noise.choice(names, num_items))
        return stats.label_counts(said.tolist(), references.tolist(), names)

    return draw


KINDS = {
    "means": (sampled_scores, stats.mean, 24),
    "rates": (sampled_shares, stats.mean, 32),
    "macro-F1": (sampled_labels, stats.macro_f1, 48),
}


def verdicts(make: Callable[..., Draw], statistic: Statistic, num_items: int, shift: float, num_runs: int) -> list[str]:
    """One verdict a run: new items, two runs of the model over them, the real test and the real rule."""
    found = []
    for seed in range(num_runs):
        random = np.random.default_rng([seed, num_items])
        draw = make(random, num_items)
        a, b = draw(random, shift), draw(random, 0.0)
        difference = float(statistic(a.sum(0)) - statistic(b.sum(0)))
        found.append(stats.verdict(difference, stats.swap_p(a, b, statistic, num_swaps=NUM_SWAPS)))
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_model_twice_is_called_better_in_at_most_5_percent(kind):
    """The rule promises 2.5% on each side; so 5% of 1,000 runs is far away; some must occur."""
    make, statistic, num_items = KINDS[kind]
    found = verdicts(make, statistic, num_items, 0.0, NUM_RUNS)
    assert 0 < found.count("better") <= 0.05 * NUM_RUNS
    assert found.count("worse") <= 0.05 * NUM_RUNS


@pytest.mark.parametrize(("kind", "shift"), [("means", 0.15), ("rates", 0.5), ("macro-F1", 0.4)])
def test_a_model_that_is_better_is_called_so(kind, shift):
    """The counterpart: a rule that never says better would pass the test above."""
    make, statistic, num_items = KINDS[kind]
    found = verdicts(make, statistic, num_items, shift, 60)
    assert found.count("better") >= 48
    assert "worse" not in found


def test_conversations_must_be_units():
    """Six turns each of ten conversations, where what went well in a turn goes on in the next: taken for 60 items the
    same model is called better or worse far too often; with conversations as units it is not."""
    names = [f"conversation {i // 6}" for i in range(60)]
    apart, together = [], []
    for seed in range(400):
        random = np.random.default_rng(seed)
        a, b = (stats.as_features(np.repeat(random.normal(size=10), 6) + 0.3 * random.normal(size=60)) for _ in "ab")
        sums = [stats.cluster_sums(items, names) for items in (a, b)]
        apart.append(stats.swap_p(a, b, num_swaps=NUM_SWAPS) < 0.05)
        together.append(stats.swap_p(*sums) < 0.05)
    assert np.mean(apart) > 0.25
    assert np.mean(together) <= 0.08
