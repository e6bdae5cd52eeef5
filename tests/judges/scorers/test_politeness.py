"""Politeness: minimal pairs of requests and answers. Human-rated requests were used outside of the tests."""

from __future__ import annotations

import json
import time
from math import exp
from pathlib import Path
from statistics import median

import pytest

from judges.scorers.politeness import BASE, Judge, politeness, strategies_in
from judges.verdict import Answered

PAIRS = [
    ("Could you please send me the form?", "Send me the form."),
    ("Thanks for the edit! Would you mind adding a source?", "Why didn't you add a source?"),
    ("Hi! I was wondering if you could take a look at this.", "You need to look at this again."),
    ("Sorry to trouble you, is there a way to undo it?", "What the hell did you do?"),
    ("Great question. Perhaps we can look at your letter together.", "You obviously didn't read your letter."),
    ("I think the date may be wrong, could you check it?", "The date is wrong. Fix it!!"),
    ("You may want to call your servicer first; I'm happy to help.", "Stop complaining and call your servicer."),
    ("Would it be possible to clarify the second step?", "Your second step makes no sense."),
    ("Have you considered asking a neighbor? You're not alone.", "It's your own fault for never asking."),
]


@pytest.mark.parametrize(("polite", "rude"), PAIRS)
def test_minimal_pairs(polite: str, rude: str):
    better, worse = Judge()([Answered("Q?", polite), Answered("Q?", rude)])
    assert better.value is not None
    assert worse.value is not None
    assert better.value > 0.5 > worse.value


def test_parts_are_the_strategies_that_were_used():
    strategies = politeness("Thank you! Could you help?").parts["strategies"]
    assert {"gratitude", "counterfactual_request"} <= strategies.keys()
    assert "insult" not in strategies


def test_the_question_does_not_count():
    answer = "Ask for the form."
    rude, polite = Judge()([Answered("You idiot!", answer), Answered("Thank you so much!", answer)])
    assert rude == polite


def test_typographic_apostrophes_do_not_matter():
    assert politeness("You didn’t even read it.") == politeness("You didn't even read it.")


def test_an_empty_answer_is_unscored():
    assert Judge()([Answered("Q?", " ")])[0].value is None


def test_hostile_texts_take_linear_time():
    start = time.process_time()
    for text in ("you " * 10_000, "a ,,,," * 5000, "!?" * 10_000, "word." * 5000, "x" * 40_000, "-" * 40_000):
        strategies_in(text)
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    ("polite", "rude"),
    [
        ("Could you add the version? It would help us to reproduce it.", "How are we meant to guess the version?"),
        ("I like the new lead. Might a map fit there too?", "What was wrong with the old lead?"),
        ("If you have a minute, what does the log say?", "So what does the log say? You never told us."),
    ],
)
def test_a_polite_request_is_above_a_rude_one_with_the_same_content(polite: str, rude: str):
    better, worse = politeness(polite).value, politeness(rude).value
    assert better is not None
    assert worse is not None
    assert better > worse + 0.2


def test_the_value_is_the_logistic_of_the_parts():
    verdict = politeness("Hi! Could you help?")
    total = BASE + sum(verdict.parts["strategies"].values()) + verdict.parts["tone"]
    assert verdict.value == pytest.approx(1 / (1 + exp(-total)), abs=1e-3)


def test_equal_answers_are_judged_alike_and_in_order():
    found = Judge()(
        [Answered("a", "Fix it."), Answered("b", ""), Answered("c", "Thank you!"), Answered("d", "Fix it.")]
    )
    assert found[0] == found[3]
    assert found[1].value is None
    assert found[2] == politeness("Thank you!")
    assert Judge()([]) == []


def test_requests_as_on_talk_pages_and_question_sites():
    """12 polite and 12 impolite requests that were written before the judge read them: at least 10 of 12 on each side
    of 0.5, and every impolite one under the median of the polite ones."""
    lines = (Path(__file__).parents[2] / "data" / "out_of_style.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if row["kind"] == "request"]
    values = [verdict.value or 0.0 for verdict in Judge()([Answered("", row["text"]) for row in rows])]
    polite = [value for row, value in zip(rows, values, strict=True) if row["polite"]]
    impolite = [value for row, value in zip(rows, values, strict=True) if not row["polite"]]
    assert (len(polite), len(impolite)) == (12, 12)
    assert sum(value > 0.5 for value in polite) >= 10
    assert sum(value < 0.5 for value in impolite) >= 10
    assert max(impolite) < median(polite)


@pytest.mark.parametrize(("polite", "rude"), PAIRS)
def test_swapping_the_question_and_the_answer_lowers_the_score(polite: str, rude: str):
    """A polite answer to a rude request; with the arguments swapped the rude text is judged."""
    right, swapped = Judge()([Answered(rude, polite), Answered(polite, rude)])
    assert (right.value or 0) > (swapped.value or 1)
