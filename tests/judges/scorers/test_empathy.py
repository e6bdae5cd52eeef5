"""Empathy: planted answers whose order is known, stock phrases, swapped arguments, and the shipped preference pairs."""

from __future__ import annotations

import json
import time
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pytest

from domains.domain import Domain
from judges.heads.cues import read
from judges.heads.fit import macro_f1, spearman
from judges.scorers.empathy import AXES, Judge, empathy
from judges.verdict import Answered

QUESTION = "My mother with dementia wanders at night and I haven't slept in weeks. I feel like I'm failing her."
WARM = (
    "I'm so sorry. Weeks without sleep while your mother wanders would wear anyone down, and feeling tired is not "
    "failing her. A door alarm can wake you before she gets out."
)
COLD = "Wandering is common in dementia. Install door alarms and locks. Keep a recent photo. Register with the police."
SAD_POST = "My best friend died in March and nobody at work even asks how I am. I cry in the stairwell."
ANSWERED = [
    (QUESTION, WARM),
    (SAD_POST, "I'm so sorry about your friend. Crying in a stairwell because nobody asks must be so lonely. Hugs."),
    ("failed my exam again", "ugh that hurts after all the work you put in, i'm sorry. which part went wrong for you?"),
    ("My landlord wants us out by June.", "That must be frightening with so little time, I hope you find a place."),
]


def value(answer: str, question: str = QUESTION) -> float:
    found = empathy(question, answer).value
    assert found is not None
    return found


def levels(answer: str, question: str = QUESTION) -> tuple[int, ...]:
    parts = empathy(question, answer).parts
    return tuple(parts[axis] for axis in AXES)


@pytest.mark.parametrize(
    "opener",
    [
        "I totally understand.",
        "I'm so sorry to hear that.",
        "I totally understand your concern. That must be so hard for you.",
        "I am truly sorry you're going through this. I completely understand how you feel.",
        "I totally get it.",
        "I’m so sorry to hear about your situation.",
    ],
)
def test_stock_openers_are_weak_at_most_and_noted(opener: str):
    """EPITOME calls "I understand how you feel" a weak interpretation and a bare "sorry" a weak reaction."""
    verdict = empathy(QUESTION, f"{opener} {COLD}")
    assert max(verdict.parts[axis] for axis in AXES) <= 1
    assert verdict.parts["exploration"] == 0
    assert verdict.parts["stock_phrases"]
    assert verdict.value is not None
    assert verdict.value < value(WARM) - 0.15


def test_warm_and_specific_beats_formula_beats_cold():
    assert value(WARM) > value(f"I'm so sorry to hear that. {COLD}") > value(COLD)
    assert value(COLD) < 0.15
    assert levels(COLD) == (0, 0, 0)


@pytest.mark.parametrize(
    ("reply", "axis", "level"),
    [
        ("I went through this with my dad last year, I felt like a zombie and I cried every night.", 1, 2),
        ("been there, i didn't sleep for a month when my nan was sick", 1, 2),
        ("Oh that breaks my heart, I feel so sad for you both.", 0, 2),
        ("Hope you get some rest soon, hang in there", 0, 1),
        ("How often does your mother get up at night, and who helps you?", 2, 2),
        ("Lock the doors.", 0, 0),
        ("Lock the doors.", 1, 0),
        ("Lock the doors.", 2, 0),
        ("Try melatonin and ask the doctor about it.", 1, 0),
        ("Maybe you aren't cut out for this.", 0, 0),
    ],
)
def test_planted_replies(reply: str, axis: int, level: int):
    assert levels(reply)[axis] == level


@pytest.mark.parametrize(("question", "answer"), ANSWERED)
def test_question_and_answer_swapped_score_less(question: str, answer: str):
    assert value(answer, question) > value(question, answer) + 0.05


@pytest.mark.parametrize(
    ("less", "more", "axis"),
    [
        (COLD, f"{COLD} What time does your mother get up, and is she afraid?", "exploration"),
        (COLD, f"I'm really sad for you, and I hope that you can sleep soon. {COLD}", "emotional_reaction"),
        (COLD, f"You must feel so worn out after weeks of listening for her at night. {COLD}", "interpretation"),
        ("ok", "ok hugs, i hope it gets better", "emotional_reaction"),
    ],
)
def test_adding_a_part_raises_its_axis(less: str, more: str, axis: str):
    assert empathy(QUESTION, more).parts["expected"][axis] > empathy(QUESTION, less).parts["expected"][axis] + 0.1


def test_sarcasm_and_dismissal_are_below_warmth():
    for reply in ("Calm down, it's no big deal lol.", "Sounds like a fun night, bring popcorn.", "deal with it"):
        assert value(reply) < value(WARM) / 2


def test_parts_agree_with_each_other():
    parts = empathy(QUESTION, WARM).parts
    for axis in AXES:
        assert sum(parts["probabilities"][axis]) == pytest.approx(1.0, abs=1e-3)
        expected = sum(level * p for level, p in enumerate(parts["probabilities"][axis]))
        assert parts["expected"][axis] == pytest.approx(expected, abs=1e-3)
    assert empathy(QUESTION, WARM).value == pytest.approx(sum(parts["expected"].values()) / 6, abs=1e-4)
    assert "i'm so sorry" in parts["evidence"]["emotional_reaction"]


@pytest.mark.parametrize("answer", ["", " \n\t"])
def test_an_empty_answer_is_zero(answer: str):
    verdict = Judge()([Answered(QUESTION, answer)])[0]
    assert verdict.value == 0.0
    assert [verdict.parts[axis] for axis in AXES] == [0, 0, 0]
    assert "empty" in verdict.explanation


def test_a_batch_is_in_order_and_equal_to_single_rows():
    rows = [Answered(QUESTION, WARM), Answered(QUESTION, ""), Answered(SAD_POST, COLD), Answered(QUESTION, WARM)]
    batch = Judge()(rows)
    assert batch[0] == batch[3]
    for row, verdict in zip(rows, batch, strict=True):
        assert verdict.value == pytest.approx(empathy(row.question, row.answer).value, abs=1e-3)
    assert Judge()([]) == []


@pytest.mark.parametrize("answer", ["❤️", "...", "???", "漢字かな", "\u202e abc", "I", "a" * 5000])
def test_odd_texts_are_scored(answer: str):
    assert 0.0 <= value(answer) <= 1.0


def cases(name: str) -> dict[str, list[Any]]:
    rows = Domain.load(name).records("preferences.jsonl")[:30]
    found: dict[str, list[Any]] = {}
    for row in rows:
        for kind, answer in zip(("chosen", *row.rejected_kinds), row.candidates, strict=True):
            found.setdefault(kind, []).append(Answered(row.prompt[-1].content, answer))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mortgage", "caregiving"])
def test_chosen_answers_are_more_empathic_than_cold_and_jargon_ones(name: str):
    """By the chance that a chosen answer is above another one (0.5 = no difference) and by the mean."""
    found = {kind: [v.value for v in Judge()(cases(name)[kind])] for kind in ("chosen", "cold", "jargon")}
    for kind in ("cold", "jargon"):
        wins = mean(float(a > b) for a in found["chosen"] for b in found[kind])
        assert wins > 0.65
        assert mean(found["chosen"]) > 1.5 * mean(found[kind])


def test_hostile_texts_take_linear_time():
    texts = (
        "so very really " * 4000, "after a b c d " * 4000, "i am " + "so " * 10_000, "was a " * 8000,
        "i'm so sorry " * 4000, "not a not a " * 4000, "honestly i i i " * 4000, "we" * 20_000, "?" * 20_000,
    )  # fmt: skip
    start = time.process_time()
    for text in texts:
        read(text, text)
    assert time.process_time() - start < 5


def test_replies_in_another_style_than_the_training_rows():
    """30 short replies to one post as people write them in peer support, labelled before the judge read them; some of
    them have no capital letter or no empathy at all. Nothing was fitted to them. On each axis macro-F1 is above 0.5
    (always saying 0 gives 0.25 to 0.29), and the sum is ordered as labelled (Spearman above 0.6)."""
    rows = [row for row in out_of_style() if row["kind"] == "reply"]
    verdicts = Judge()([Answered(row["post"], row["text"]) for row in rows])
    labels = np.array([row["levels"] for row in rows])
    found = np.array([[verdict.parts[axis] for axis in AXES] for verdict in verdicts])
    for axis in range(len(AXES)):
        never = macro_f1(labels[:, axis], np.zeros(len(rows), dtype=int))
        assert macro_f1(labels[:, axis], found[:, axis]) > 0.5 > never + 0.2
    values = np.array([verdict.value for verdict in verdicts])
    assert spearman(values, labels.sum(1).astype(float)) > 0.6


def out_of_style() -> list[dict[str, Any]]:
    lines = (Path(__file__).parents[2] / "data" / "out_of_style.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]
