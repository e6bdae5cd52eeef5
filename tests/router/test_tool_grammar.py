"""Answers under the grammar of function calls: which texts it takes, to the letter, and which it refuses."""

import pytest

from domains.domain import Domain
from domains.errors import UserError
from domains.tool_calls import Function, ToolCall, call_text
from domains.tool_grammar import tool_grammar
from router.grammar import Grammars
from tests.fakes import byte_tokenizer

SCHEMA = {
    "type": "object",
    "properties": {"thing": {"enum": ["hat", "key"]}, "rooms": {"type": "integer", "minimum": 1}},
    "required": ["thing"],
}
FIND, WASH = Function("find", "", SCHEMA), Function("wash", "", {"type": "object", "properties": {}})


@pytest.fixture(scope="module")
def grammars():
    return Grammars(byte_tokenizer(), 258)


def takes(grammars, text, functions=(FIND, WASH), choice="auto"):
    """Whether a text is a whole answer under the grammar."""
    matcher = grammars.of_tools(functions, choice).matcher
    ids = grammars.tokenizer.encode(text, add_special_tokens=False)
    return all(matcher.consume_token(each) for each in ids) and matcher.is_accepting()


HAT, TWO = ToolCall("find", {"thing": "hat"}), ToolCall("find", {"thing": "key", "rooms": 2})


@pytest.mark.parametrize("calls", [[HAT], [TWO], [ToolCall("wash")], [HAT, TWO, ToolCall("wash")]])
def test_right_calls_are_taken_as_they_are_written(grammars, calls):
    assert takes(grammars, call_text(calls))
    assert takes(grammars, call_text(calls), choice="required")


@pytest.mark.parametrize(
    "text",
    [
        call_text([]),
        call_text([ToolCall("lose", {"thing": "hat"})]),
        call_text([ToolCall("find", {})]),
        call_text([ToolCall("find", {"thing": "cup"})]),
        call_text([ToolCall("find", {"thing": "hat", "rooms": 0})]),
        call_text([ToolCall("find", {"thing": "hat", "colour": "red"})]),
        call_text([HAT] * 9),
        call_text([HAT])[: -len("</tool_call>")],
        "Well. " + call_text([ToolCall("lose", {})]),
        '[{"name": "lose", "arguments": {}}]',
    ],
)
def test_calls_that_cannot_run_are_refused(grammars, text):
    assert not takes(grammars, text)
    assert not takes(grammars, text, choice="required")


def test_words_are_an_answer_unless_a_call_is_required(grammars):
    for text in ("On what date?", "No: 3 < 4.\nSorry, 5 > 4 [sic]."):
        assert takes(grammars, text)
        assert not takes(grammars, text, choice="required")


def test_one_function_may_be_chosen(grammars):
    assert takes(grammars, call_text([HAT]), choice="find")
    assert not takes(grammars, call_text([ToolCall("wash")]), choice="find")


def test_what_cannot_be_chosen_is_refused():
    with pytest.raises(UserError, match="Did you mean 'find'"):
        tool_grammar([FIND], "fnd")
    with pytest.raises(UserError, match="no function"):
        tool_grammar([])


def test_every_shipped_call_fits_its_grammar(grammars):
    """One row in ten, and every function at least as a grammar."""
    domain = Domain.load("tools")
    for row in domain.records("calls.jsonl")[::10]:
        assert takes(grammars, row.completion, row.functions), row.id
    for function in domain.functions:
        assert grammars.of_tools([function], function.name)
