"""Calls against calls: planted right and wrong answers."""

from __future__ import annotations

import pytest

from domains.readers import RowError
from domains.tool_calls import Function, ToolCall, call_text
from judges.scorers.tool_call import Judge
from judges.scoring import answered
from judges.verdict import Answered

PAY = ToolCall("payment", {"loan": 200000, "city": "St. Paul", "fixed": True, "years": [15, 30]})
REMIND = ToolCall("remind", {"at": {"hour": 8}})
REFERENCE = call_text([PAY, REMIND])


def value(answer: str, reference: str | None = REFERENCE, finished: bool | None = True) -> float | None:
    (verdict,) = Judge.for_domain(None)([Answered("?", answer, reference, finished=finished)])
    assert verdict.explanation
    return verdict.value


def changed(**arguments: object) -> str:
    return call_text([ToolCall(PAY.name, {**PAY.arguments, **arguments}), REMIND])


@pytest.mark.parametrize(
    "answer",
    [
        REFERENCE,
        call_text([REMIND, PAY]),
        f"Let me see. {REFERENCE}",
        changed(city=" ST. PAUL"),
        changed(loan=200000.0),
    ],
)
def test_right(answer):
    assert value(answer) == 1.0


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "I cannot do that.",
        call_text([PAY]),
        call_text([PAY, PAY, REMIND]),
        call_text([PAY, PAY]),
        changed(loan="200000"),
        changed(fixed=1),
        changed(years=[30, 15]),
        changed(years=[15]),
        changed(more=1),
        call_text([ToolCall("payments", PAY.arguments), REMIND]),
        call_text([PAY, ToolCall("remind", {"at": {"hour": 9}})]),
    ],
)
def test_wrong(answer):
    assert value(answer) == 0.0


def test_a_cut_answer_is_no_call():
    assert value(REFERENCE, finished=False) == 0.0


def test_where_nothing_is_to_be_called():
    assert value("How much is the loan?", "What loan?") == 1.0
    assert value(REFERENCE, "What loan?") == 0.0
    (verdict,) = Judge()([Answered("?", "words", "words")])
    assert verdict.parts["needs_call"] is False


@pytest.mark.parametrize("reference", [None, " "])
def test_without_a_reference_it_is_unscored(reference):
    assert value(REFERENCE, reference) is None


RATED = Function(
    "payment", "", {"type": "object", "properties": {"loan": {}, "years": {"type": "integer", "default": 30}}}
)
SHORT, WRITTEN = (call_text([ToolCall("payment", {"loan": 5, **more})]) for more in ({}, {"years": 30}))


@pytest.mark.parametrize(("answer", "reference"), [(SHORT, WRITTEN), (WRITTEN, SHORT)])
def test_a_default_that_is_written_out_is_right_where_the_declaration_is_known(answer, reference):
    known, unknown = Judge()(
        [Answered("?", answer, reference, functions=(RATED,)), Answered("?", answer, reference)],
    )
    assert (known.value, unknown.value) == (1.0, 0.0)


def test_rows_of_a_file_may_declare_the_functions():
    row = {
        "question": "?",
        "answer": SHORT,
        "reference": WRITTEN,
        "functions": [RATED.as_dict() | {"description": "P."}],
    }
    assert Judge()([answered(row)])[0].value == 1.0
    with pytest.raises(RowError, match="list of declarations"):
        answered({**row, "functions": ["payment"]})
