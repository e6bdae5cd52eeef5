"""BERTScore with the embedded encoder, against the bert-score package where that works."""

from __future__ import annotations

import bert_score
import pytest

from judges.encoder import encoder_folder
from judges.scorers.bertscore import Judge
from judges.verdict import Answered

PAIRS = [
    ("Call your servicer and ask for a payoff letter.", "Ask the servicer for a payoff statement."),
    ("She may wander at night because she is restless.", "Rates fell, so refinancing may pay."),
    ("Same words.", "Same words."),
    ("OK", "Yes."),
    ("Ünïcode, 漢字 and 😀 too", "x [SEP] y"),
    ("Move the snacks and read the label aloud to him every evening. " * 12, "A short one."),
]


def rows(pairs: list[tuple[str, str]]) -> list[Answered]:
    return [Answered("Q?", answer, reference) for reference, answer in pairs]


def test_agrees_with_the_package():
    expected = bert_score.score(
        [a for _, a in PAIRS], [r for r, _ in PAIRS], model_type=str(encoder_folder()), num_layers=6
    )
    for i, verdict in enumerate(Judge()(rows(PAIRS))):
        ours = (verdict.parts["precision"], verdict.parts["recall"], verdict.value)
        assert ours == pytest.approx([column[i].item() for column in expected], abs=1e-4)


def test_an_answer_is_closer_to_its_own_reference():
    own, other = Judge()(rows([PAIRS[0], (PAIRS[0][0], PAIRS[1][1])]))
    assert own.value is not None
    assert other.value is not None
    assert own.value > other.value + 0.2


def test_nothing_is_cut_off():
    """Two 700-word texts that differ only after the 512th token: a package that cuts gives 1.0."""
    head = "the servicer must answer in writing " * 100
    same, different = Judge()(rows([(head, head), (head + "call a counselor", head + "purple elephants sing")]))
    assert same.value == pytest.approx(1.0, abs=1e-4)
    assert different.value is not None
    assert different.value < 0.9999
    assert different.parts["num_windows"] > 1


def test_empty_answers_are_zero_and_missing_references_unscored():
    empty, blank, missing, no_reference = Judge()(
        [Answered("Q?", "", "A."), Answered("Q?", " \n", "A."), Answered("Q?", "A."), Answered("Q?", "A.", " ")]
    )
    assert (empty.value, blank.value) == (0.0, 0.0)
    assert "empty" in empty.explanation
    assert (missing.value, no_reference.value) == (None, None)


def test_order_and_duplicates_do_not_matter():
    repeated = Judge()(rows([*PAIRS, *reversed(PAIRS)]))
    assert repeated[: len(PAIRS)] == repeated[len(PAIRS) :][::-1]


def test_the_model_may_be_a_folder():
    assert Judge(model=str(encoder_folder()))(rows(PAIRS[:1]))[0].value == Judge()(rows(PAIRS[:1]))[0].value


def test_no_rows_no_model():
    assert Judge(model="no such model")([]) == []
