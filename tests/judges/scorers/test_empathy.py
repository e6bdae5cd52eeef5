"""Empathy: planted answers whose order is known, stock openers, and the shipped preference pairs."""

from __future__ import annotations

import time
from statistics import mean

import pytest

from domains.domain import Domain
from judges.scorers.empathy import Judge, empathy
from judges.verdict import Answered

QUESTION = "My mother with dementia wanders at night and I haven't slept in weeks. I feel like I'm failing her."
WARM = (
    "Weeks without sleep while your mother wanders would wear anyone down, and feeling tired is not failing her. "
    "A door alarm can wake you before she gets out."
)
COLD = "Wandering is common in dementia. Install door alarms and locks. Keep a recent photo. Register with the police."


def value(answer: str, question: str = QUESTION) -> float:
    found = empathy(question, answer).value
    assert found is not None
    return found


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
def test_stock_openers_are_a_weak_reaction_and_nothing_else(opener: str):
    parts = empathy(QUESTION, f"{opener} {COLD}").parts
    assert parts == {"emotional_reaction": 1, "interpretation": 0, "exploration": 0}


def test_warm_and_specific_beats_formula_beats_cold():
    formula = value(f"I'm so sorry to hear that. {COLD}")
    assert value(WARM) > formula > value(COLD) == 0.0


def test_the_same_words_to_another_question_are_less_specific():
    assert value(WARM) > value(WARM, "Can I deduct points when I refinance?")


def test_asking_about_the_situation_is_exploration():
    assert empathy(QUESTION, "How often does your mother get up at night?").parts["exploration"] == 2
    assert empathy(QUESTION, "Would you like a list?").parts["exploration"] == 1
    assert empathy(QUESTION, "Lock the doors.").parts["exploration"] == 0


def test_dismissal_is_no_warmth():
    assert (
        empathy(QUESTION, "Calm down, it is hard for every tired daughter whose mother wanders.").parts[
            "emotional_reaction"
        ]
        == 0
    )


def test_the_value_is_the_sum_over_six_and_an_empty_answer_is_zero():
    for answer in (WARM, COLD, ""):
        verdict = Judge()([Answered(QUESTION, answer)])[0]
        assert verdict.value == pytest.approx(sum(verdict.parts.values()) / 6, abs=1e-4)
    assert value("") == 0.0


@pytest.mark.parametrize("name", ["mortgage", "caregiving"])
def test_chosen_answers_are_more_empathic_than_cold_and_jargon_ones(name: str):
    values: dict[str, list[float]] = {"chosen": [], "cold": [], "jargon": []}
    for row in Domain.load(name).records("preferences.jsonl"):
        for kind, answer in zip(("chosen", *row.rejected_kinds), row.candidates, strict=True):
            values.setdefault(kind, []).append(value(answer, row.prompt[-1].content))
    assert mean(values["chosen"]) > mean(values["cold"]) + 0.15
    assert mean(values["chosen"]) > mean(values["jargon"]) + 0.15


def test_hostile_texts_take_linear_time():
    start = time.perf_counter()
    for text in ("so very really " * 4000, "after a b c d " * 4000, "i am " + "so " * 10_000, "was a " * 8000):
        empathy(text, text)
    assert time.perf_counter() - start < 5
