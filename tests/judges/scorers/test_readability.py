"""Readability by hand-counted texts, and against textstat 0.7.3."""

from __future__ import annotations

import pytest
from scipy.stats import pearsonr

from domains.domain import Domain
from judges.scorers.readability import Judge, count, flesch_kincaid_grade, flesch_reading_ease, gunning_fog, smog
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
    ],
)
def test_differential_with_textstat(ours, theirs: str):
    """Textstat counts hyphenation points, which are too few ("about" = 1): levels differ, the order must not."""
    texts = varied_texts()
    reference = getattr(textstat(), theirs)
    assert len(texts) > 100
    assert pearsonr([ours(count(text)) for text in texts], [reference(text) for text in texts]).statistic >= 0.95
