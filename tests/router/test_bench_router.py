"""`bench router` as a whole on models without weights: the form of its result, baselines that fail, and going on."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from router.benches.router import UNCACHED, Contenders, run
from router.material import Given
from router.reader import ModelReader
from tests.fakes import write_jsonl
from tests.fakes_router import Keywords, WordEncoder
from ui.cli import main

STRATEGIES = ["few_shot", "nearest", "blend", "semantic_router", "setfit"]
NUMBERS = {"macro_f1", "auroc_out_of_scope", "ece", "p50_ms"}
WORDS = {"lost": "cards/lost", "late": "cards/late", "song": "general"}


def rows(each: int = 20, words: Sequence[str] = ("lost", "late", "song")) -> list[dict[str, str]]:
    """One word of a text, said three times, is its label; what is about a song is for nobody."""
    labels = {"lost": "cards/lost", "late": "cards/late", "song": "OOS"}
    return [{"text": f"{word} {word} {word} {i}", "label": labels[word]} for word in words for i in range(each)]


def by_keywords(given, quick):
    """A baseline that knows the words; of its two ways one knows nothing."""
    return [Keywords({}, given.labels), Keywords(WORDS, given.labels)]


def by_nobody(given, quick):
    raise ModuleNotFoundError("No module named 'routes'")


def by_mistake(given, quick):
    raise ZeroDivisionError("in the middle\nof nowhere")


def by_hand(given, quick):
    raise KeyboardInterrupt


@pytest.fixture
def bench(tmp_path, model, tokenizer):
    """Runs the bench on rows with two baselines; `bench.encoder` counts what is read."""

    def measured(semantic_router=by_keywords, setfit=by_keywords, data=None, digest="tiny", **options):
        sources = Given(measured.encoder, ModelReader(model, tokenizer, digest))
        baselines = {"semantic_router": semantic_router, "setfit": setfit}
        path = write_jsonl(tmp_path / "rows.jsonl", rows() if data is None else data)
        return run(home=tmp_path / "home", data=path, contenders=Contenders(sources, baselines), **options)

    measured.encoder = WordEncoder()
    measured.folder = tmp_path / "home" / "bench" / "router"
    return measured


def test_the_result_has_a_row_for_each_and_is_json(bench):
    """Of 20 rows a label 5 are test rows. The words say the label, so all but a random reader are always right."""
    found = bench()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert [row["strategy"] for row in found["rows"]] == STRATEGIES
    for row in found["rows"]:
        assert set(row) == {"strategy", "accuracy", "n"} | NUMBERS
        assert all(isinstance(row[name], float) for name in NUMBERS)
        assert row["n"] == 15
        assert row["p50_ms"] >= 0
    scores = {row["strategy"]: (row["macro_f1"], row["auroc_out_of_scope"]) for row in found["rows"]}
    assert scores["nearest"] == scores["semantic_router"] == scores["setfit"] == (1.0, 1.0)
    assert found[UNCACHED] > 0
    assert UNCACHED == "few_shot_uncached_p50_ms"
    assert found["labels"] == ["cards/late", "cards/lost", "general"]
    assert found["num_rows"] == {"train": 36, "dev": 9, "test": 15}
    assert (found["notes"], found["default"] in STRATEGIES[:3]) == ([], True)


def test_a_baseline_that_cannot_run_has_a_row_with_the_reason(bench, capsys):
    found = {row["strategy"]: row for row in bench(by_nobody, by_mistake)["rows"]}
    assert list(found) == STRATEGIES
    for name in ("semantic_router", "setfit"):
        assert set(found[name]) == {"strategy", "accuracy", "n", "reason"} | NUMBERS
        assert all(found[name][key] is None for key in {"accuracy", "n"} | NUMBERS)
    assert found["semantic_router"]["reason"] == "No module named 'routes'; the README says how to install it."
    assert found["setfit"]["reason"] == "ZeroDivisionError: in the middle of nowhere"
    assert "Traceback" in capsys.readouterr().err
    assert found["nearest"]["macro_f1"] == 1.0


def test_what_failed_is_tried_again_and_nothing_else(bench):
    first = bench(by_nobody, by_mistake)
    num_read = bench.encoder.num_read
    again = bench()
    assert bench.encoder.num_read == num_read > 0
    assert again["rows"][:3] == first["rows"][:3]
    assert [row["macro_f1"] for row in again["rows"][3:]] == [1.0, 1.0]
    assert again[UNCACHED] == first[UNCACHED]


def test_a_bench_that_is_interrupted_goes_on(bench):
    with pytest.raises(KeyboardInterrupt):
        bench(by_hand)
    num_read = bench.encoder.num_read
    (path,) = bench.folder.iterdir()
    kept = {row["key"]: row["result"] for row in map(json.loads, path.read_text().splitlines())}
    assert list(kept) == ["fit", *STRATEGIES[:3]]
    found = bench()
    assert bench.encoder.num_read == num_read
    assert found["rows"][:3] == [kept[name] for name in STRATEGIES[:3]]
    assert bench(by_hand, by_hand) == found  # all is there


def test_results_are_kept_for_these_rows_and_models_only(bench):
    bench()
    bench(data=rows(each=12))
    bench(digest="another")
    bench(quick=True)
    assert len(list(bench.folder.iterdir())) == 4


def test_without_rows_out_of_scope_there_is_nothing_to_tell_apart(bench):
    found = bench(data=rows(words=("lost", "late")))
    assert [row["auroc_out_of_scope"] for row in found["rows"]] == [None] * 5
    assert all(row["macro_f1"] is not None for row in found["rows"])


def test_few_rows_leave_none_to_choose_on(bench):
    """Of three rows a label two are train, none dev, one test."""
    found = bench(data=rows(each=3))
    assert found["num_rows"] == {"train": 6, "dev": 0, "test": 3}
    assert [row["n"] for row in found["rows"]] == [3] * 5


def test_a_label_without_training_rows(bench):
    """It is in the test rows only, so nobody can find it."""
    split = [row | {"split": "test" if i % 4 == 0 else "train"} for i, row in enumerate(rows())]
    new = [{"text": f"gold number {i}", "label": "gold", "split": "test"} for i in range(3)]
    found = bench(data=[*split, *new])
    assert found["labels"] == ["cards/late", "cards/lost", "gold", "general"]
    assert all(row["macro_f1"] < 1.0 for row in found["rows"])


def test_quick_measures_fewer_rows(bench):
    """60 dev and 60 test rows at most; of 300 rows a label 45 and 75 are there."""
    found = bench(data=rows(each=300), quick=True)
    assert (found["num_rows"]["dev"], found["num_rows"]["test"]) == (60, 60)


def test_bad_rows_end_the_command_before_any_model_is_read(tmp_path, capsys):
    path = write_jsonl(tmp_path / "rows.jsonl", [*rows(), {"text": "", "label": "x"}])
    assert main(["bench", "router", "--data", str(path), "--home", str(tmp_path / "home"), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["error"].startswith("1 bad rows. rows.jsonl:61: text: must be")
    assert not (tmp_path / "home").exists()
