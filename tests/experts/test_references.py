"""Reference sums come from the cache where it has them, and are bound to what they were computed from."""

import json
from dataclasses import replace

import pytest
import torch

from domains.errors import UserError
from domains.example import Message, Preference
from experts.checkpoint import Checkpoint, load, load_tokenizer
from experts.device import DTYPE, Device
from experts.encoding import completion_ids, prompt_ids
from experts.references import ReferenceCache, number_format_of, row_key
from experts.train import Trainable
from tests.experts.test_logprobs import alone
from tests.experts.test_train import ROWS

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


def test_a_complete_cache_is_asked_for_one_row_as_a_check(tmp_path):
    cache, calls = ReferenceCache(tmp_path / "references.json"), []
    cache.filled(["k1", "k2"], rows("1", "2"), counting(calls))
    assert cache.filled(["k1", "k2"], rows("1", "2"), counting(calls)) == [(-1.0, -10.0), (-2.0, -10.0)]
    assert calls == [["1", "2"], ["1"]]
    cache.path.write_text(json.dumps({"k1": [-7.0, -10.0], "k2": [-2.0, -10.0]}))
    with pytest.raises(UserError, match="not those of the model"):
        cache.filled(["k1", "k2"], rows("1", "2"), counting(calls))


@pytest.mark.parametrize("kept", [[float("nan"), -10.0], [-1.0], [-1.0, -10.0, -3.0]])
def test_a_cache_with_no_number_or_another_count_is_refused(tmp_path, kept):
    cache = ReferenceCache(tmp_path / "references.json")
    cache.path.write_text(json.dumps({"k1": kept}))
    with pytest.raises(UserError, match="not those of the model"):
        cache.filled(["k1"], rows("1"), counting([]))


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_sums_that_are_not_finite_are_refused_and_not_kept(tmp_path, value):
    cache = ReferenceCache(tmp_path / "references.json")
    with pytest.raises(UserError, match="row '1' log-probabilities that are not finite"):
        cache.filled(["k1"], rows("1"), lambda wanted: [(value, -10.0)])
    assert not cache.path.exists()


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
    ("model", "template", "row", "number_format"),
    [
        ("other", "t", ROW, "float32"),
        ("m", "other", ROW, "float32"),
        ("m", "t", ROW, "bfloat16"),
        ("m", "t", Preference("a", ROW.prompt, "There!", ROW.rejected), "float32"),
        ("m", "t", Preference("a", ROW.prompt, ROW.chosen, ("No.", "Never.")), "float32"),
        ("m", "t", Preference("a", (Message("system", "Where?"),), ROW.chosen, ROW.rejected), "float32"),
    ],
)
def test_the_key_is_the_model_the_template_the_number_format_and_the_text(model, template, row, number_format):
    known = row_key("m", "t", ROW, "float32")
    assert known == row_key("m", "t", Preference("other id", ROW.prompt, ROW.chosen, ROW.rejected), "float32")
    assert row_key(model, template, row, number_format) != known


def test_the_number_format_is_that_of_the_weights_and_of_the_computation(model, tokenizer):
    bf16 = Device("cpu", torch.bfloat16, "sdpa", "sdpa")
    fp32 = Device("cpu", torch.float32, "sdpa", "sdpa")
    assert number_format_of(fp32, None) == number_format_of(fp32, Trainable(model, tokenizer, fp32)) == "float32"
    assert number_format_of(bf16, None) == "bfloat16 under bfloat16"
    assert number_format_of(bf16, Trainable(model, tokenizer, bf16)) == "float32 under bfloat16"


def test_cached_sums_are_those_of_the_model_itself(base, tmp_path, monkeypatch):
    """A real model: the first pass, the pass from the file, and each candidate scored alone agree."""
    monkeypatch.setenv(DTYPE, "float32")
    cache = ReferenceCache(tmp_path / "references.json", row_tokens=96)
    online = cache.column(Checkpoint(base), ROWS, None)
    before = cache.path.read_bytes()
    assert cache.column(Checkpoint(base), ROWS, None) == online
    assert cache.path.read_bytes() == before
    model, tokenizer = load(Checkpoint(base), torch.float32, "sdpa"), load_tokenizer(base)
    for row, sums in zip(ROWS, online, strict=True):
        prompt = prompt_ids(tokenizer, row.prompt)
        expected = [alone(model, prompt, completion_ids(tokenizer, text)) for text in row.candidates]
        assert sums == pytest.approx(expected, rel=1e-4)
