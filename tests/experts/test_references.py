"""Reference sums come from the cache where it has them, and are bound to what they were computed from."""

import json

import pytest

from domains.example import Message, Preference
from experts.batch import candidates_segment
from experts.preferences import EncodedPreference
from experts.references import row_key, with_references

ROW = Preference("a", (Message("user", "Where?"),), "There.", ("No.",))


def rows(*ids):
    return [EncodedPreference(i, candidates_segment([1], [[2], [3]])) for i in ids]


def counting(calls):
    """Sums (-number, -10) by the row's number in its id."""

    def score_rows(missing):
        calls.append([row.id for row in missing])
        return [(-float(row.id), -10.0) for row in missing]

    return score_rows


def test_only_missing_rows_are_scored_and_order_is_kept(tmp_path):
    cache, calls = tmp_path / "references.json", []
    with_references(rows("1", "3"), ["k1", "k3"], cache, counting(calls))
    found = with_references(rows("1", "2", "3"), ["k1", "k2", "k3"], cache, counting(calls))
    assert calls == [["1", "3"], ["2"]]
    assert [row.reference for row in found] == [(-1.0, -10.0), (-2.0, -10.0), (-3.0, -10.0)]
    assert set(json.loads(cache.read_text())) == {"k1", "k2", "k3"}


def test_a_failing_scorer_keeps_the_cache(tmp_path):
    cache = tmp_path / "references.json"
    with_references(rows("1"), ["k1"], cache, counting([]))
    before = cache.read_bytes()

    def broken(missing):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        with_references(rows("1", "2"), ["k1", "k2"], cache, broken)
    assert cache.read_bytes() == before


@pytest.mark.parametrize(
    ("model", "template", "row"),
    [
        ("other", "t", ROW),
        ("m", "other", ROW),
        ("m", "t", Preference("a", ROW.prompt, "There!", ROW.rejected)),
        ("m", "t", Preference("a", ROW.prompt, ROW.chosen, ("No.", "Never."))),
        ("m", "t", Preference("a", (Message("system", "Where?"),), ROW.chosen, ROW.rejected)),
    ],
)
def test_the_key_is_the_model_the_template_and_the_text(model, template, row):
    assert row_key("m", "t", ROW) == row_key("m", "t", Preference("other id", ROW.prompt, ROW.chosen, ROW.rejected))
    assert row_key(model, template, row) != row_key("m", "t", ROW)
