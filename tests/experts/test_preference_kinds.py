"""Preference outcomes by kind of rejected answer, as parts of the rows that the report is made of."""

import pytest

from experts.measure import PreferenceScores, preference_rows
from experts.preference_kinds import by_kind


def test_by_hand():
    """Two rejected answers of one kind, of which one is told apart, and one of another kind."""
    assert by_kind(("cold", "wrong", "cold"), (0.3, -0.1, -0.2)) == {"by_kind": {"cold": 0.5, "wrong": 0.0}}
    assert by_kind((), (0.3,)) == {}
    with pytest.raises(ValueError, match="zip"):
        by_kind(("cold",), (0.3, 0.2))


def test_rows_have_their_kinds_and_the_same_values_without_them():
    """By means and by rewards (1, 0 and 2) the first rejected answer is below the chosen one, the second above."""
    found = {"p": PreferenceScores((1.0, 3.0, 4.0), (-1.0, -2.0, -0.5))}
    reference = {"p": PreferenceScores((0.0, 3.0, 2.0), (0.0, 0.0, 0.0))}
    plain = list(preference_rows("dapt", found, reference))
    rows = list(preference_rows("dapt", found, reference, {"p": ("cold", "wrong")}))
    assert [(r.metric, r.value) for r in rows] == [(r.metric, r.value) for r in plain]
    parts = {row.metric: row.parts for row in rows}
    assert parts["preference_accuracy"] == {"by_kind": {"cold": 1.0, "wrong": 0.0}}
    assert parts["reward_accuracy"] == {"by_kind": {"cold": 1.0, "wrong": 0.0}}
    assert parts["preference_margin"] == parts["reward_margin"] == {}
    assert all(row.parts == {} for row in plain)
