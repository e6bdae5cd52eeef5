"""Numbers in digits and in words, with units; what counts as the same number and what as another one."""

from __future__ import annotations

import pytest

from judges.quantities import conflicts, quantities


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("within three business days", 72.0, "hour"),
        ("within 3 days", 72.0, "hour"),
        ("a 30-day notice", 720.0, "hour"),
        ("two weeks", 336.0, "hour"),
        ("one hour", 1.0, "hour"),
        ("twenty-five minutes", 25 / 60, "hour"),
        ("2 years", 24.0, "month"),
        ("3.5 percent", 3.5, "percent"),
        ("20%", 20.0, "percent"),
        ("$1,800", 1800.0, "dollar"),
        ("$1.5 million", 1_500_000.0, "dollar"),
        ("two hundred dollars", 200.0, "dollar"),
        ("one thousand two hundred dollars", 1200.0, "dollar"),
    ],
)
def test_known_units(text: str, value: float, unit: str):
    (found,) = quantities(text)
    assert (found.value, found.unit) == (pytest.approx(value), unit)


def test_other_units_are_the_nouns_that_follow():
    (found,) = quantities("five firm blows, then stop")
    assert found.value == 5
    assert {"firm", "blow"} == found.nouns
    assert quantities("one sixth of the bills")[0].value == pytest.approx(1 / 6)


def test_a_range_takes_the_unit_after_its_second_number():
    assert [(q.value, q.unit) for q in quantities("30 to 60 days")] == [(720.0, "hour"), (1440.0, "hour")]


@pytest.mark.parametrize("text", ["", "no one", "one of them", "this one", "no numbers here", "the third page"])
def test_no_number(text: str):
    assert quantities(text) == []


@pytest.mark.parametrize(
    ("claim", "passage", "found"),
    [
        ("within five business days", "within three business days", [("five business", "three business")]),
        ("within 3 days", "within three business days", []),
        ("a two-week wait", "a wait of 14 days", []),
        ("one year", "twelve months", []),
        ("call 800-111-2222", "call (800) 333-4444", [("800-111-2222", "(800) 333-4444")]),
        ("call 1-800-111-2222", "call 800-111-2222", []),
        ("ten teeth", "within three days", [("ten teeth", "")]),
        ("no number", "within three days", []),
    ],
)
def test_conflicts(claim: str, passage: str, found: list[tuple[str, str]]):
    texts = [(each.claim, each.passage) for each in conflicts(claim, passage, passage)]
    assert [(claim[:4], passage[:5]) for claim, passage in texts] == [(c[:4], p[:5]) for c, p in found]


def test_numbers_that_the_person_gave_need_no_support():
    assert conflicts("Your $620 payment", "It is $500.", "It is $500.", quantities("I pay $620 now")) == []
    assert conflicts("Your $620 payment", "It is $500.", "It is $500.")


def test_the_passage_around_may_have_the_number():
    """Another number in the sentence is no conflict when the claim's is in the passage."""
    sentence = "Later changes come 60 days ahead."
    assert conflicts("210 days ahead", sentence, f"The first comes 210 days ahead. {sentence}") == []
