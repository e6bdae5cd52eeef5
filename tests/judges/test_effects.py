"""Effect sizes by hand; their agreement with scipy is in test_properties.py."""

from __future__ import annotations

import numpy as np
import pytest

from judges.effects import cliffs_delta, discordant_odds, duel, ratio, score_effect, standardised_difference, terciles

A, B = np.array([1.0, 1, 0, 1, 0]), np.array([0.0, 0, 0, 0, 1])


def test_duel_follows_the_direction():
    assert (duel(A, B).wins, duel(A, B).losses, duel(A, B).ties) == (3, 1, 1)
    assert (duel(A, B, higher_is_better=False).wins, duel(A, B, False).losses) == (1, 3)


def test_discordant_odds_by_hand():
    """(3 + .5) / (1 + .5)."""
    assert discordant_odds(A, B) == pytest.approx(3.5 / 1.5)
    assert discordant_odds(A, A) is None


def test_standardised_difference_by_hand():
    """Differences 1, 3: mean 2, standard deviation sqrt 2."""
    assert standardised_difference(np.array([2.0, 5]), np.array([1.0, 2])) == pytest.approx(2 / np.sqrt(2))
    assert standardised_difference(np.array([2.0, 3]), np.array([1.0, 2])) is None
    assert standardised_difference(np.array([2.0]), np.array([1.0])) is None


def test_cliffs_delta_by_hand():
    """Of six pairs 3 > 1, 3 > 2, 3 = 3, 2 > 1, 2 = 2, 2 < 3: (3 - 1) / 6."""
    assert cliffs_delta(np.array([3.0, 2]), np.array([1.0, 2, 3])) == pytest.approx(2 / 6)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([0.0, 1, 0, 1], "odds ratio"),
        ([1.0, 2, 5, 3], "Cliff's delta"),
        ([i / 7 for i in range(9)], "standardised difference"),
    ],
)
def test_the_scale_follows_the_values(values, kind):
    found = np.array(values)
    assert score_effect(found, found[::-1]).kind == kind


def test_ratio_needs_both():
    assert ratio(3.0, 2.0).value == 1.5
    assert ratio(None, 2.0).value is None
    assert ratio(3.0, 0.0).value is None


def test_terciles_split_in_three():
    low, high = terciles(range(1, 10))
    assert [sum(v <= low for v in range(1, 10)), sum(v > high for v in range(1, 10))] == [3, 3]
