"""Readability by hand-counted texts, against textstat 0.7.3, and on 40 texts in an easier and a harder version."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from scipy.stats import pearsonr

from domains.domain import Domain
from judges.scorers.readability import (
    Judge,
    automated_readability,
    coleman_liau,
    count,
    flesch_kincaid_grade,
    flesch_reading_ease,
    gunning_fog,
    smog,
)
from judges.verdict import Answered
from tests.fakes_judges import textstat


def test_by_hand():
    """12 words, 2 sentences, 15 syllables (happy, refinance = 2 + 3): grade 0.39*6 + 11.8*15/12 - 15.59 = 1.50."""
    verdict = Judge()([Answered("ignored " * 50, "The cat sat on the mat. We are happy to refinance it.")])[0]
    assert (verdict.parts["words"], verdict.parts["sentences"]) == (12, 2)
    assert verdict.value == pytest.approx(0.39 * 6 + 11.8 * 15 / 12 - 15.59, abs=0.01)
    assert verdict.parts["flesch_reading_ease"] == pytest.approx(206.835 - 1.015 * 6 - 84.6 * 15 / 12, abs=0.01)
    assert verdict.parts["gunning_fog"] == pytest.approx(0.4 * (6 + 100 / 12), abs=0.01)
    assert "lower" in verdict.explanation


def test_smog_needs_three_sentences():
    """Three sentences with one polysyllable: 1.043 * sqrt(30 / 3) + 3.1291 = 6.43."""
    assert smog(count("One here. Two there.")) is None
    assert smog(count("One here. Two there. An emergency.")) == pytest.approx(6.427, abs=0.001)


@pytest.mark.parametrize("text", ["", " \n", "...", "— !"])
def test_no_words_is_unscored(text: str):
    verdict = Judge()([Answered("Q?", text)])[0]
    assert verdict.value is None
    assert (verdict.parts["words"], verdict.parts["smog"]) == (0, None)


def test_jargon_is_harder_than_plain_words():
    plain, jargon = Judge()(
        [
            Answered("Q?", "Call your bank. Ask for more time to pay. Write down who you talked to."),
            Answered(
                "Q?", "Loss mitigation evaluation necessitates documentation substantiating delinquency amelioration."
            ),
        ]
    )
    assert plain.value is not None
    assert jargon.value is not None
    assert plain.value + 10 < jargon.value


def varied_texts() -> list[str]:
    """Documents, warm, cold and technical answers of both domains."""
    texts: list[str] = []
    for name in ("mortgage", "caregiving"):
        domain = Domain.load(name)
        texts += [document.text for document in domain.documents][::3]
        texts += [text for row in domain.records("preferences.jsonl")[::4] for text in row.candidates]
    return texts


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (flesch_kincaid_grade, "flesch_kincaid_grade"),
        (flesch_reading_ease, "flesch_reading_ease"),
        (gunning_fog, "gunning_fog"),
        (coleman_liau, "coleman_liau_index"),
        (automated_readability, "automated_readability_index"),
    ],
)
def test_differential_with_textstat(ours, theirs: str):
    """Textstat counts hyphenation points, which are too few ("about" = 1): levels differ, the order must not."""
    texts = varied_texts()
    reference = getattr(textstat(), theirs)
    assert len(texts) > 100
    assert pearsonr([ours(count(text)) for text in texts], [reference(text) for text in texts]).statistic >= 0.95


def test_smog_against_textstat():
    """Where it is defined: three sentences or more."""
    pairs = [(smog(count(text)), textstat().smog_index(text)) for text in varied_texts()]
    defined = [(ours, theirs) for ours, theirs in pairs if ours is not None and theirs > 0]
    assert len(defined) > 100
    assert pearsonr(*zip(*defined, strict=True)).statistic >= 0.9


def test_letters_by_hand():
    """3 words (We, owe, $1,200 as 1,200), 1 sentence, 2 + 3 + 4 = 9 letters and digits: Coleman-Liau 5.88 * 9 / 3 -
    29.6 / 3 - 15.8, automated index 4.71 * 9 / 3 + 0.5 * 3 - 21.43."""
    counts = count("We owe $1,200.")
    assert (counts.words, counts.sentences, counts.letters) == (3, 1, 9)
    assert coleman_liau(counts) == pytest.approx(5.88 * 3 - 29.6 / 3 - 15.8)
    assert automated_readability(counts) == pytest.approx(4.71 * 3 + 1.5 - 21.43)


def version_pairs() -> list[tuple[str, str]]:
    lines = (Path(__file__).parents[2] / "data" / "readability_pairs.jsonl").read_text(encoding="utf-8").splitlines()
    return [(row["easier"], row["harder"]) for row in map(json.loads, lines)]


def graded(answer: str, question: str = "", reference: str | None = None) -> float:
    value = Judge()([Answered(question, answer, reference)])[0].value
    assert value is not None
    return value


def test_easier_and_harder_versions_are_told_apart():
    pairs = version_pairs()
    assert len(pairs) == 40
    assert sum(graded(easier) < graded(harder) for easier, harder in pairs) >= 0.95 * len(pairs)


def test_the_answer_is_judged_and_nothing_else():
    """A hard question with an easy answer; swapped, the grade is that of the hard text, which is worse."""
    pairs = version_pairs()
    assert all(graded(easy, hard) < graded(hard, easy) for easy, hard in pairs[:30])
    assert all(graded(easy, hard, hard) == graded(easy) for easy, hard in pairs)
