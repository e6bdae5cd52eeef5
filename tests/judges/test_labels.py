"""People's labels: blind order, resuming, what a line holds, kappa, and the judge against people."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from domains.errors import UserError
from judges.agreement import CHOICES, cohen_kappa
from judges.labels import Label, Session, between_people, read_labels, read_pairs
from judges.pairwise import PairVerdict
from judges.people import against_people, consensus
from judges.scoring import BadRows
from judges.verdict import Answered, Verdict


def pairs_file(folder: Path, count: int = 20) -> Path:
    path = folder / "pairs.jsonl"
    rows = [
        {"question": f"Q{n}?", "a": f"a{n}", "b": f"b{n}", "source_a": "base", "source_b": "ours"} for n in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_session_goes_through_all_pairs_and_resumes(tmp_path: Path):
    out = tmp_path / "labels.jsonl"
    seen = []
    for stop_after in (7, 99):
        session = Session.open(pairs_file(tmp_path), out, "kim")
        for _ in range(stop_after):
            showing = session.next()
            if showing is None:
                break
            seen.append(showing.pair.id)
            session.choose(showing, "first")
    assert len(seen) == len(set(seen)) == 20
    assert Session.open(pairs_file(tmp_path), out, "kim").next() is None
    other = Session.open(pairs_file(tmp_path), out, "lee")
    assert len(other.done) == 0
    assert other.next() is not None


def test_the_order_is_blind_mixed_and_the_same_after_a_pause(tmp_path: Path):
    session = Session.open(pairs_file(tmp_path, 60), tmp_path / "out.jsonl", "kim")
    first = session.next()
    assert first is not None
    again = Session.open(pairs_file(tmp_path, 60), tmp_path / "out.jsonl", "kim").next()
    assert first == again
    sides, order = [], []
    while (showing := session.next()) is not None:
        sides.append(showing.a_is_first)
        order.append(showing.pair.question)
        session.choose(showing, "tie")
    assert 15 < sum(sides) < 45
    assert order != sorted(order)


@pytest.mark.parametrize(
    ("button", "with_a_first", "with_b_first"), [("first", "a", "b"), ("second", "b", "a"), ("tie",) * 3]
)
def test_the_choice_is_kept_in_terms_of_a_and_b(tmp_path: Path, button, with_a_first: str, with_b_first: str):
    session = Session.open(pairs_file(tmp_path), tmp_path / "out.jsonl", "kim")
    while (showing := session.next()) is not None:
        assert {showing.first, showing.second} == {showing.pair.a, showing.pair.b}
        session.choose(showing, button)
    labels = read_labels(tmp_path / "out.jsonl")
    assert {label.shown_first for label in labels} == {"a", "b"}
    assert all(x.choice == (with_a_first if x.shown_first == "a" else with_b_first) for x in labels)
    assert all("source" not in line for line in (tmp_path / "out.jsonl").read_text().splitlines())


def test_a_second_choice_for_the_same_pair_is_not_taken(tmp_path: Path):
    session = Session.open(pairs_file(tmp_path), tmp_path / "out.jsonl", "kim")
    showing = session.next()
    assert showing is not None
    session.choose(showing, "first")
    session.choose(showing, "second")
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 1


def test_files_that_cannot_be_used_are_user_errors(tmp_path: Path):
    path = pairs_file(tmp_path)
    with pytest.raises(UserError, match="is the input"):
        Session.open(path, path, "kim")
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"question": "Q", "a": "x"}\n{"question": "Q", "a": "x", "b": 3}\nno\n')
    with pytest.raises(BadRows) as error:
        read_pairs(bad)
    assert [problem.line for problem in error.value.problems] == [1, 2, 3]
    bad.write_text('{"question": "Q", "a": "x", "b": "y", "choice": "better"}\n')
    with pytest.raises(BadRows, match="one of a, b, tie"):
        read_labels(bad)
    bad.write_text('{"id": "1", "question": "Q", "a": "x", "b": "y"}\n' * 2)
    with pytest.raises(UserError, match="id '1' twice"):
        read_pairs(bad)
    bad.write_text("")
    with pytest.raises(UserError, match="no pairs"):
        read_pairs(bad)
    with pytest.raises(UserError, match="does not exist"):
        read_labels(tmp_path / "nothing.jsonl")


def test_kappa_by_hand():
    """20 + 15 of 50 agree; marginals .5/.5 and .6/.4: expected .5, (.7 - .5) / .5 = .4 (Fleiss 2003)."""
    first = ["a"] * 25 + ["b"] * 25
    second = ["a"] * 20 + ["b"] * 5 + ["a"] * 10 + ["b"] * 15
    found = cohen_kappa(first, second)
    assert (found.value, found.n) == (pytest.approx(0.4), 50)
    assert found.low is not None
    assert found.high is not None
    assert 0.1 < found.low < 0.4 < found.high < 0.7


def test_kappa_is_that_of_scikit_learn():
    draw = np.random.default_rng(5)
    for _ in range(20):
        first, second = (draw.choice(CHOICES, 30).tolist() for _ in range(2))
        second = [a if draw.random() < 0.5 else b for a, b in zip(first, second, strict=True)]
        assert cohen_kappa(first, second).value == pytest.approx(cohen_kappa_score(first, second))


def test_kappa_at_its_ends():
    assert cohen_kappa(["a", "b", "tie"], ["a", "b", "tie"]).value == pytest.approx(1.0)
    assert cohen_kappa(["a", "a"], ["a", "a"]).value == 0.0
    assert cohen_kappa([], []).value is None
    assert cohen_kappa(["a"], ["b"]).low is None


def label(item: int, choice: str, who: str = "kim") -> Label:
    return Label(str(item), f"Q{item}?", f"long answer {item}", f"b{item}", choice, who)


def test_the_majority_speaks_for_people():
    labels = [label(1, "a"), label(1, "a", "lee"), label(1, "b", "max"), label(2, "a"), label(2, "b", "lee")]
    assert consensus(labels) == {"1": "a", "2": "tie"}


def test_kappa_between_two_people_on_what_both_labelled():
    labels = [label(n, "a" if n < 5 else "b") for n in range(10)] + [label(n, "a", "lee") for n in range(4)]
    (found,) = between_people(labels)
    assert (found.first, found.second, found.kappa.n) == ("kim", "lee", 4)
    assert between_people(labels[:10]) == []


class Likes:
    """A judge that gives 1 to answers with a word and 0 to others; None to some."""

    def __init__(self, word: str, unscored: str = "no such answer") -> None:
        self.word, self.unscored = word, unscored

    def __call__(self, rows: list[Answered]) -> list[Verdict]:
        return [Verdict(None if row.answer == self.unscored else float(self.word in row.answer), "") for row in rows]


def test_a_judge_against_people():
    """20 pairs, people prefer b (the shorter) in 16 and call 4 a tie: the judge that likes 'b' is right on 16 of 16.

    Kappa is 0, because it never says anything but 'b'. The one that likes 'long' is right on none.
    """
    labels = [label(n, "b" if n < 16 else "tie") for n in range(20)]
    good = against_people("x", Likes("b"), labels)  # type: ignore[arg-type]
    assert (good.calibration.agreement, good.calibration.n, good.calibration.trusted) == (1.0, 16, True)
    assert (good.kappa.value, good.kappa.n, good.num_labels) == (pytest.approx(0.0), 20, 20)
    bad = against_people("x", Likes("long"), labels)  # type: ignore[arg-type]
    assert (bad.calibration.agreement, bad.calibration.trusted) == (0.0, False)


def test_pairs_that_the_judge_cannot_score_are_left_out():
    labels = [label(n, "b") for n in range(4)]
    found = against_people("x", Likes("b", unscored="b1"), labels)  # type: ignore[arg-type]
    assert (found.calibration.n, found.kappa.n) == (3, 3)


def test_a_pairwise_judge_against_people():
    labels = [label(n, "ab"[n % 2]) for n in range(12)]
    sides = iter("ab" * 6)
    found = against_people("x", Likes(""), labels, lambda pairs: [PairVerdict(next(sides), False, "") for _ in pairs])  # type: ignore
    assert (found.calibration.agreement, found.kappa.value) == (1.0, pytest.approx(1.0))
    assert found.as_dict().keys() >= {"agreement", "kappa", "people", "num_labels", "position_flip_rate"}
