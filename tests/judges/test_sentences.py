"""Sentences, words and syllables of texts as people and models write them."""

from __future__ import annotations

import time

import pytest

from judges.sentences import sentences, syllables, words

SYLLABLES = {
    "loan": 1, "eye": 1, "queue": 1, "called": 1, "takes": 1, "needed": 2, "houses": 2, "table": 2, "handled": 2,
    "isn't": 2, "paying": 2, "careful": 2, "statement": 2, "million": 2, "special": 2, "client": 2, "language": 2,
    "idea": 3, "insurance": 3, "serious": 3, "appraisal": 3, "guardian": 3, "video": 3, "agreement": 3, "dementia": 3,
    "emergency": 4, "delirium": 4, "annuity": 4, "refinancing": 4, "evaluation": 5, "800-569-4287": 1, "HUD": 1,
}  # fmt: skip


@pytest.mark.parametrize(("word", "number"), SYLLABLES.items())
def test_syllables(word: str, number: int):
    assert syllables(word) == number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("", 0),
        ("... !!", 0),
        ("One. Two? Three!", 3),
        ("Dr. Lee came at 3.5 p.m. on Main St. in Reno. She left.", 2),
        ("I was up at 5 a.m. Then I called.", 2),
        ("In short: rest.\n- Call her\n- Sit (now).\nNext step: go.", 4),
        ("# Heading\n\nA paragraph without an end\n\nAnother", 3),
        ('He said "Stop." Then he left.', 2),
    ],
)
def test_sentences(text: str, number: int):
    assert len(sentences(text)) == number


def test_words_keep_inner_marks():
    assert words("Don't re-read 3.5% — call 800-569-4287!") == ["Don't", "re-read", "3.5", "call", "800-569-4287"]


@pytest.mark.parametrize("text", ["a " * 20_000, "." * 40_000, "\n " * 20_000, '."' * 20_000, "a-" * 20_000])
def test_hostile_texts_take_linear_time(text: str):
    start = time.perf_counter()
    sentences(text)
    words(text)
    assert time.perf_counter() - start < 2
