"""Cues: each is found where it is meant and not elsewhere; stock phrases are taken out first."""

from __future__ import annotations

import pytest

from judges.heads.cues import CUES, MOST, NAMES, OPENING, PATTERNS, STOCK, read


@pytest.mark.parametrize(
    ("name", "said", "not_said"),
    [
        ("wish", "hope you feel better", "a hopeless case"),
        ("shared_past", "i lost my dog too", "you lost your dog"),
        ("same", "been there, man", "the bench over there"),
        ("reading", "that must have hurt", "take the must out"),
        ("named_feeling", "how lonely", "a sole borrower"),
        ("own_emotion", "my heart aches for you", "the heart rate is fine"),
        ("not_fault", "it's not your fault", "it's a fault in the pipe"),
        ("advice", "try a warm bath", "a country bath"),
        ("dismissal", "just get over it", "get the cover"),
        ("open_question", "what happened?", "that happened"),
        ("suggesting_question", "have you tried yoga?", "you tried yoga"),
        ("presence", "i'm here for you", "the key is here"),
        ("praise", "so proud of you", "improud"),
        ("validation", "you were right to ask", "turn right"),
        ("stock_sorry", "i'm so sorry to hear that.", "sorry your cat died"),
        ("stock_understanding", "i totally understand your frustration.", "they understand the form"),
        ("stock_courtesy", "thank you for reaching out!", "thank your mum"),
    ],
)
def test_a_cue_is_found_in_its_phrase_only(name: str, said: str, not_said: str):
    assert read("", said).measures[name] > 0
    assert read("", not_said).measures[name] == 0


def test_stock_phrases_do_not_count_twice():
    found = read("", "I'm so sorry to hear that. That must be so hard for you.").measures
    assert found["stock_sorry"] == found["stock_understanding"] == 1
    assert found["sorrow"] == found["reading"] == found["named_feeling"] == 0


def test_every_measure_is_named_and_bounded():
    found = read("my dog died", "I'm so sorry! " * 50 + "Was he old? " * 50).measures
    assert tuple(found) == NAMES
    assert set(STOCK) | set(CUES) == set(PATTERNS)
    assert all(0 <= amount <= max(MOST, 4) for amount in found.values())


def test_steps_are_not_embedded_and_the_opening_is():
    reading = read("q", "That is a lot. Call the bank. You did well. It is late. It is cold.")
    assert reading.said == ("that is a lot.", "you did well.", "it is late.")
    assert len(reading.said) == OPENING
    assert reading.measures["share_of_steps"] == pytest.approx(0.2)
    assert read("q", "Call the bank.").said == ("call the bank.",)


def test_apostrophes_and_case_do_not_matter():
    assert read("q", "I’M SO PROUD OF YOU") == read("q", "i'm so proud of you")


def test_shared_words_are_those_of_the_post():
    assert read("my mother wanders", "your mother may wander").measures["shared_words"] == 2
    assert read("points and rates", "your mother may wander").measures["shared_words"] == 0


def test_no_text_has_no_cues():
    assert not any(read("post", "").measures.values())
