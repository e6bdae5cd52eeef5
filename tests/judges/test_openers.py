"""Opener diversity: hand-counted sets, the formula model against the varied one, edge and hostile input."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domains.errors import UserError
from judges.metrics import metrics
from judges.openers import opener, opener_diversity, opener_rows

FORMULA = ["I totally understand your worry.", "I totally understand. Call them.", "I totally understand, and yes."]
VARIED = ["Weeks without sleep wear anyone down.", "Call the servicer first.", "No, that fee is optional."]


def test_one_formula_has_no_diversity_and_varied_answers_have_all_of_it():
    same, varied = opener_diversity(FORMULA), opener_diversity(VARIED)
    assert (same.distinct, same.simpson, same.entropy_bits, same.evenness) == (1, 0.0, 0.0, 0.0)
    assert (varied.distinct, varied.simpson, varied.evenness) == (3, 1.0, pytest.approx(1.0))
    assert same.most_common[0].text == "i totally understand"
    assert same.most_common[0].share == 1.0


def test_counted_by_hand():
    """Openers a, a, b, c: 6 pairs, 1 of them equal -> simpson 5/6; entropy 0.5 * 1 + 2 * 0.25 * 2 = 1.5 bits of 2."""
    found = opener_diversity(["a x", "A, y", "b", "c"], num_words=1)
    assert found.distinct_share == 0.75
    assert found.simpson == pytest.approx(5 / 6)
    assert found.entropy_bits == pytest.approx(1.5)
    assert found.evenness == pytest.approx(0.75)
    assert [(o.text, o.count) for o in found.most_common] == [("a", 2), ("b", 1), ("c", 1)]


def test_rows_average_to_the_simpson_index():
    """Openers a, a, b, c: shares of others that differ 2/3, 2/3, 1, 1; their mean is 5/6."""
    rows = opener_rows("dph", {"1": "a", "2": "A!", "3": "b", "4": "c", "5": " ... "}, num_words=1)
    assert [row.value for row in rows] == [pytest.approx(2 / 3), pytest.approx(2 / 3), 1.0, 1.0, None]
    found = metrics(rows)[0]
    assert (found.metric, found.n, found.unscored) == ("opener_diversity", 4, 1)
    assert found.value == pytest.approx(5 / 6)


def test_case_punctuation_and_apostrophes_do_not_make_an_opener():
    assert opener("“I’m SO sorry,” she said") == opener("i'm so -- sorry") == "i'm so sorry"


@pytest.mark.parametrize("answers", [[], [""], ["", " ", "?!"], ["one answer only"]])
def test_too_few_answers_have_no_diversity(answers: list[str]):
    found = opener_diversity(answers)
    assert (found.simpson, found.entropy_bits, found.evenness) == (None, None, None)
    assert found.n + found.empty == len(answers)
    assert "Too few" in found.sentence()
    assert all(row.value is None for row in opener_rows("a", {str(i): a for i, a in enumerate(answers)}))


def test_the_sentence_names_the_most_common_opener():
    assert "'i totally understand', begins 75%" in opener_diversity([*FORMULA, VARIED[0]]).sentence()


def test_below_one_word_is_refused():
    with pytest.raises(UserError, match="num_words is 0"):
        opener_diversity(["a"], num_words=0)


@given(st.lists(st.text(max_size=20), max_size=12))
def test_always_between_zero_and_one_and_blind_to_order(answers: list[str]):
    found = opener_diversity(answers)
    assert found == opener_diversity(answers[::-1])
    for value in (found.simpson, found.evenness, found.distinct_share):
        assert value is None or -1e-9 <= value <= 1 + 1e-9
