"""Pairs to label from a report: two arms' answers to the same questions, and nothing that tells which is whose."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from domains.errors import UserError
from judges.labels import Session, read_labels
from judges.report import Report, load
from judges.report_pairs import pairs_of

ARMS = {"conversation": "c", "instruct": "i"}
ANSWERS = [("good 0", "bad 0"), ("good 1", "bad 1"), ("same", " same "), ("good 3", ""), ("good 4", "bad 4")]


def report() -> Report:
    samples = [
        {
            "id": f"q{i}",
            "question": f"Q{i}?",
            "reference": "R" if i else "",
            "answers": {"conversation": a, "instruct": b},
        }
        for i, (a, b) in enumerate(ANSWERS)
    ]
    return Report("toy", "Toys", ARMS, (), samples=samples)


def test_a_pair_has_two_different_answers():
    """Of five questions one has equal answers and one an empty one."""
    found = pairs_of(report(), "conversation", "instruct")
    assert [(pair.question, pair.a, pair.b) for pair in found] == [
        (f"Q{i}?", f"good {i}", f"bad {i}") for i in (0, 1, 4)
    ]
    assert [pair.reference for pair in found] == [None, "R", "R"]
    assert len({pair.id for pair in found}) == 3


def test_no_arm_is_named():
    assert not any(arm in str(asdict(pair)) for pair in pairs_of(report(), "conversation", "instruct") for arm in ARMS)


def test_the_same_answers_are_the_same_pair_in_another_report(tmp_path: Path):
    report().write(tmp_path)
    assert pairs_of(load(tmp_path), "conversation", "instruct") == pairs_of(report(), "conversation", "instruct")


@pytest.mark.parametrize(
    ("arms", "words"),
    [(("conversation", "instuct"), "Did you mean 'instruct'"), (("instruct", "instruct"), "different")],
)
def test_arms_without_pairs_are_refused(arms: tuple[str, str], words: str):
    with pytest.raises(UserError, match=words):
        pairs_of(report(), *arms)


def test_both_sides_are_shown_first_and_the_choice_is_kept_by_answer(tmp_path: Path):
    """A person who always takes the first arm's answer, wherever it stands; over 12 labellers both places occur."""
    pairs, places = pairs_of(report(), "conversation", "instruct"), set()
    for number in range(12):
        session = Session.over(pairs, tmp_path / "labels.jsonl", f"person {number}")
        while (showing := session.next()) is not None:
            places.add(showing.a_is_first)
            session.choose(showing, "first" if showing.first.startswith("good") else "second")
    assert places == {True, False}
    labels = read_labels(tmp_path / "labels.jsonl")
    assert len(labels) == 36
    assert {label.choice for label in labels} == {"a"}
