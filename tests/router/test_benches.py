"""`bench router`: any labelled rows, split and named as documented; its baselines' parts."""

import json

import pytest

from domains.domain import Domain
from domains.errors import UserError
from domains.example import Utterance
from router.benches._rows import OUT_OF_SCOPE, Rows, cut, domain_rows, read_rows, shortened
from router.benches._setfit import PAIRS_PER_EXAMPLE, contrastive_pairs
from tests.fakes import write_jsonl
from ui.cli import main
from ui.commands import find_bench

MANY = [{"text": f"{label} request {i}", "label": label} for label in ("apples", "pears", "OOS") for i in range(20)]


def test_labels_may_be_numbers(tmp_path):
    numbered = [row | {"label": ("apples", "pears", "OOS").index(row["label"])} for row in MANY]
    assert read_rows(write_jsonl(tmp_path / "rows.jsonl", numbered)).labels == ("0", "1", "2")


def test_rows_are_split_label_by_label(tmp_path):
    """Of 20 rows a label 60% are train, 15% dev and 25% test."""
    rows = read_rows(write_jsonl(tmp_path / "rows.jsonl", MANY))
    assert rows.labels == ("apples", "pears", "general")
    for part, size in ((rows.train, 12), (rows.dev, 3), (rows.test, 5)):
        assert {label: sum(row.label == label for row in part) for label in rows.labels} == dict.fromkeys(
            rows.labels, size
        )


def test_the_split_does_not_depend_on_the_order_of_the_rows(tmp_path):
    first = read_rows(write_jsonl(tmp_path / "a.jsonl", MANY))
    second = read_rows(write_jsonl(tmp_path / "b.jsonl", MANY[::-1]))
    assert {row.text for row in first.test} == {row.text for row in second.test}


def test_given_splits_are_kept_and_dev_is_cut_from_train(tmp_path):
    given = [row | {"split": "test" if i % 4 == 0 else "train"} for i, row in enumerate(MANY)]
    rows = read_rows(write_jsonl(tmp_path / "rows.jsonl", given))
    assert {row.text for row in rows.test} == {row["text"] for row in given if row["split"] == "test"}
    assert len(rows.dev) == 9  # a fifth of 45
    assert len(rows.train) == 36


@pytest.mark.parametrize("name", sorted(OUT_OF_SCOPE))
def test_labels_that_mean_out_of_scope(tmp_path, name):
    changed = [row | {"label": name.upper() if row["label"] == "OOS" else row["label"]} for row in MANY]
    assert read_rows(write_jsonl(tmp_path / "rows.jsonl", changed)).labels[-1] == "general"


def test_a_text_counts_once(tmp_path):
    """The same text again, with other blanks or another label, could be in train and in test at once."""
    again = [row | {"text": f" {row['text']} "} for row in MANY]
    rows = read_rows(write_jsonl(tmp_path / "rows.jsonl", [*MANY, *again]))
    assert len(rows.train) + len(rows.dev) + len(rows.test) == 60


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"text": "x"}], "label: missing"),
        ([{"text": "x", "label": True}], "label: must be"),
        ([{"text": "x", "label": 1.5}], "label: must be"),
        ([{"text": " ", "label": "a"}], "text: must be a non-empty text"),
        ([{"text": "x", "label": "a", "split": "exam"}], "unknown split 'exam'"),
        ([{"text": f"x {i}", "label": "a"} for i in range(9)], "at least two labels"),
        ([], "at least two labels"),
        ([row | {"split": "train"} for row in MANY], "0 test rows"),
    ],
)
def test_rows_that_cannot_be_used_are_answered(tmp_path, rows, said):
    with pytest.raises(UserError, match=said):
        read_rows(write_jsonl(tmp_path / "rows.jsonl", rows))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        read_rows(tmp_path / "none.jsonl")


def test_cut_takes_all_rows_once():
    rows = [Utterance(str(i), f"text {i}", "ab"[i % 2]) for i in range(15)]
    parts = cut(rows, (0.5, 0.7))
    assert sorted(row.id for part in parts for row in part) == sorted(row.id for row in rows)


def test_fewer_test_rows_take_turns():
    test = tuple(Utterance(str(i), str(i), "a" if i < 8 else "b") for i in range(10))
    rows = shortened(Rows(test, (), test), 4)
    assert [row.label for row in rows.test] == ["a", "b", "a", "b"]


def test_domain_rows_keep_their_splits(built):
    domain = Domain.load(built.domain.folder)
    assert domain_rows([domain]).test == domain.utterances("test")


def test_pairs_are_of_both_kinds():
    targets = [0, 0, 0, 1, 1, 2]
    pairs = contrastive_pairs(targets)
    assert len(pairs) == PAIRS_PER_EXAMPLE * (5 + 6)  # the only row of label 2 has no partner
    assert all(a != b for a, b in pairs)
    assert pairs == contrastive_pairs(targets)


def test_benches_of_both_packages_are_found():
    assert find_bench("router").__name__ == "router.benches.router"
    assert find_bench("preference").__name__ == "experts.benches.preference"
    with pytest.raises(UserError, match="Did you mean 'router'"):
        find_bench("ruoter")


def test_data_is_for_a_bench_that_takes_it(capsys, tmp_path):
    assert main(["bench", "preference", "--data", str(tmp_path / "x.jsonl"), "--json"]) == 1
    assert "takes no --data" in json.loads(capsys.readouterr().out)["error"]
