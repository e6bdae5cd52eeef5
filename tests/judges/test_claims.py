"""Which sentences of an answer can be checked."""

from __future__ import annotations

import pytest

from judges.claims import claims, content_stems, stem


@pytest.mark.parametrize(
    "text",
    ["", "What did the letter say?", "That sounds exhausting for both of you.", "I'm so sorry about the house.", "OK."],
)
def test_nothing_to_check(text: str):
    assert claims(text) == []


def test_facts_and_advice_are_checked():
    text = "That must hurt. The servicer has 30 days. Ask for the escrow analysis in writing. Does that help?"
    assert claims(text) == ["The servicer has 30 days.", "Ask for the escrow analysis in writing."]


def test_a_number_makes_a_feeling_checkable():
    assert claims("It hurts that rates rose to 7 percent this week.")


@pytest.mark.parametrize(
    "forms",
    [
        ("require", "requires", "required", "requiring"),
        ("bathe", "bathing", "bathed"),
        ("servicer", "servicers", "servicer's"),
        ("stop", "stopped", "stopping"),
        ("policy", "policies"),
    ],
)
def test_one_stem(forms: tuple[str, ...]):
    assert len({stem(form) for form in forms}) == 1


def test_function_words_carry_no_content():
    assert content_stems("You should have been there with it") == frozenset()
