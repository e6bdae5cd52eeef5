"""Reference sums come from the cache where it has them, and are bound to what they were computed from."""

import json
from dataclasses import replace

import pytest

from domains.errors import UserError
from domains.example import Message, Preference
from experts.references import ReferenceCache, row_key

ROW = Preference("a", (Message("user", "Where?"),), "There.", ("No.",))


def rows(*ids):
    return [replace(ROW, id=i) for i in ids]


def counting(calls):
    """Sums (-number, -10) by the row's number in its id."""

    def score_rows(wanted):
        calls.append([row.id for row in wanted])
        return [(-float(row.id), -10.0) for row in wanted]

    return score_rows


def test_only_missing_rows_are_scored_with_one_known_row_as_a_check(tmp_path):
    cache, calls = ReferenceCache(tmp_path / "references.json"), []
    cache.filled(["k1", "k3"], rows("1", "3"), counting(calls))
    found = cache.filled(["k1", "k2", "k3"], rows("1", "2", "3"), counting(calls))
    assert calls == [["1", "3"], ["2", "1"]]
    assert found == [(-1.0, -10.0), (-2.0, -10.0), (-3.0, -10.0)]
    assert set(json.loads(cache.path.read_text())) == {"k1", "k2", "k3"}


def test_a_complete_cache_asks_no_model(tmp_path):
    cache, calls = ReferenceCache(tmp_path / "references.json"), []
    cache.filled(["k1"], rows("1"), counting(calls))
    assert cache.filled(["k1"], rows("1"), counting(calls)) == [(-1.0, -10.0)]
    assert len(calls) == 1


def test_a_cache_that_says_something_else_is_refused(tmp_path):
    cache = ReferenceCache(tmp_path / "references.json")
    cache.path.write_text(json.dumps({"k1": [-7.0, -10.0]}))
    with pytest.raises(UserError, match="not those of the model"):
        cache.filled(["k1", "k2"], rows("1", "2"), counting([]))


def test_a_failing_scorer_keeps_the_cache(tmp_path):
    cache = ReferenceCache(tmp_path / "references.json")
    cache.filled(["k1"], rows("1"), counting([]))
    before = cache.path.read_bytes()

    def broken(wanted):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.filled(["k1", "k2"], rows("1", "2"), broken)
    assert cache.path.read_bytes() == before


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
