"""`bench router`: any labelled rows, split and named as documented; its baselines' parts."""

import json

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from domains.domain import Domain
from domains.errors import UserError
from domains.example import Utterance
from router.benches._rows import OUT_OF_SCOPE, Rows, cut, domain_rows, read_rows, shortened
from router.benches._setfit import BATCH_PAIRS, MAX_STEPS, PAIRS_PER_EXAMPLE, Strategy, contrastive_pairs, tune
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


def test_bad_rows_are_told_by_line(tmp_path):
    """Seven of them (lines 2 to 8): five are shown."""
    path = write_jsonl(tmp_path / "rows.jsonl", [MANY[0], *({"text": "x"} for _ in range(7)), *MANY[1:]])
    with pytest.raises(UserError, match="^7 bad rows. ") as error:
        read_rows(path)
    said = str(error.value)
    assert [line for line in range(1, 10) if f"rows.jsonl:{line}: label: missing." in said] == [2, 3, 4, 5, 6]
    assert said.endswith("And 2 more.")


def test_repeated_texts_are_told(tmp_path):
    """Three texts again, two of them with another label than the first time, which is the one that counts."""
    again = [MANY[0] | {"text": f"  {MANY[0]['text']}"}, MANY[1] | {"label": "pears"}, MANY[2] | {"label": "OOS"}]
    rows = read_rows(write_jsonl(tmp_path / "rows.jsonl", [*MANY, *again]))
    assert rows.notes == (
        "3 rows repeat the text of an earlier one and are left out, 2 of them although they have another label.",
    )
    labels = {row.text: row.label for row in (*rows.train, *rows.dev, *rows.test)}
    assert [labels[row["text"]] for row in MANY[:3]] == ["apples"] * 3
    assert read_rows(write_jsonl(tmp_path / "once.jsonl", MANY)).notes == ()


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        read_rows(tmp_path / "none.jsonl")


def test_cut_takes_all_rows_once():
    rows = [Utterance(str(i), f"text {i}", "ab"[i % 2]) for i in range(15)]
    parts = cut(rows, (0.5, 0.7))
    assert sorted(row.id for part in parts for row in part) == sorted(row.id for row in rows)


def test_fewer_rows_take_turns():
    found = tuple(Utterance(str(i), str(i), "a" if i < 8 else "b") for i in range(10))
    rows = shortened(Rows(found, found[:9], found), 4)
    assert [row.label for row in rows.test] == ["a", "b", "a", "b"]
    assert [row.label for row in rows.dev] == ["a", "b", "a", "a"]
    assert rows.train == found


def test_domain_rows_keep_their_splits(built):
    domain = Domain.load(built.domain.folder)
    assert domain_rows([domain]).test == domain.utterances("test")


def test_pairs_are_of_both_kinds():
    targets = [0, 0, 0, 1, 1, 2]
    pairs = contrastive_pairs(targets)
    assert len(pairs) == PAIRS_PER_EXAMPLE * (5 + 6)  # the only row of label 2 has no partner
    assert all(a != b for a, b in pairs)
    assert pairs == contrastive_pairs(targets)


@pytest.mark.parametrize(("each", "size"), [(0, 1), (7, 7), (1000, PAIRS_PER_EXAMPLE)])
def test_fewer_pairs_of_each_example(each, size):
    pairs = contrastive_pairs([0, 0, 1, 1], each)
    assert len(pairs) == size * (4 + 4)
    assert {first for first, _ in pairs} == {0, 1, 2, 3}


class Bag(torch.nn.Module):
    """A trainable vector per text; counts how often it is read."""

    def __init__(self, texts):
        super().__init__()
        torch.manual_seed(0)
        self.places = {text: place for place, text in enumerate(texts)}
        self.vectors = torch.nn.Parameter(torch.randn(len(texts), 8) / 1000)
        self.num_calls = 0

    def preprocess(self, texts):
        return {"ids": torch.tensor([self.places[text] for text in texts])}

    def forward(self, features):
        self.num_calls += 1
        return {"sentence_embedding": self.vectors[features["ids"]]}

    def encode(self, texts, **options):
        return torch.nn.functional.normalize(self.vectors[self.preprocess(texts)["ids"]], dim=-1).detach().numpy()


def test_tuning_is_bounded_and_draws_a_label_together():
    """200 examples have at least one pair of each kind, 400 pairs; ten steps of 16 pairs read two batches each. What is
    made smaller is the squared distance of the cosines to 1 within a label and 0 between two."""
    texts, targets = [str(i) for i in range(200)], [i % 2 for i in range(200)]
    bag = Bag(texts)
    tune(bag, texts, targets, 10)
    assert bag.num_calls == 2 * 10
    small = Bag(texts[:8])
    same = np.equal.outer(targets[:8], targets[:8])
    before = np.square(cosines(small, texts[:8]) - same).mean()
    tune(small, texts[:8], targets[:8], MAX_STEPS)
    assert small.num_calls == 2 * (8 * 2 * PAIRS_PER_EXAMPLE // BATCH_PAIRS)  # all pairs are fewer than the bound
    assert np.square(cosines(small, texts[:8]) - same).mean() < 0.9 * before


def cosines(bag, texts):
    vectors = bag.encode(texts)
    return vectors @ vectors.T


def test_the_head_knows_the_labels_that_have_examples():
    """And no texts have no scores: sklearn refuses an empty table."""
    head = LogisticRegression().fit(np.eye(2), [0, 2])
    bag = Bag(["x"])
    bag.vectors = torch.nn.Parameter(torch.tensor([[1.0, 0.0]]))
    strategy = Strategy(bag, head, ("a", "b", "c"))
    (scores,) = strategy(["x"])
    assert scores["b"] == 0.0 < scores["c"] < 0.5 < scores["a"]
    assert strategy([]) == []


def test_benches_of_both_packages_are_found():
    assert find_bench("router").__name__ == "router.benches.router"
    assert find_bench("preference").__name__ == "experts.benches.preference"
    with pytest.raises(UserError, match="Did you mean 'router'"):
        find_bench("ruoter")


def test_data_is_for_a_bench_that_takes_it(capsys, tmp_path):
    assert main(["bench", "preference", "--data", str(tmp_path / "x.jsonl"), "--json"]) == 1
    assert "takes no --data" in json.loads(capsys.readouterr().out)["error"]
