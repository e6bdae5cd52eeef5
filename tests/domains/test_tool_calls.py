"""The prompt format of function calls: what is written, what is read back, and what is no call."""

import json

import pytest

from domains.tool_calls import CLOSE, OPEN, Function, ToolCall, call_blocks, call_text, parse, render

SCHEMA = {
    "type": "object",
    "properties": {
        "loan": {"type": "number", "description": "dollars"},
        "kind": {"type": "string", "enum": ["fixed", "adjustable"]},
        "years": {"type": "integer", "default": 30},
        "points": {"type": "array", "items": {"anyOf": [{"type": "number"}, {"type": "null"}]}},
        "place": {"type": "object", "properties": {"zip": {"type": "string", "description": "five\ndigits"}}},
    },
    "required": ["loan", "kind"],
}
PAYMENT = Function("payment", "What a loan\ncosts.", SCHEMA)


def test_a_function_is_a_signature_and_notes():
    """The whole text by hand: optional arguments have a question mark, defaults a value, enums their values."""
    _, declared, _ = render([PAYMENT]).split("\n\n")
    assert declared.splitlines() == [
        'payment(loan: number, kind: "fixed" | "adjustable", years?: integer = 30, points?: (number | null)[], '
        "place?: {zip?: string})",
        "What a loan costs.",
        "- loan: dollars",
        "- place.zip: five digits",
    ]


def test_no_functions_need_no_text():
    assert render([]) == ""


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"type": ["string", "null"]}, "string | null"),
        ({"const": 3}, "3"),
        ({"type": "dict", "properties": {}}, "dict"),
        ({"type": "array", "items": {"type": "string"}}, "string[]"),
        ({"type": "array"}, "array"),
        ({}, "any"),
    ],
)
def test_types(schema, text):
    assert f"f(x?: {text})" in render([Function("f", "", {"properties": {"x": schema}})])


CALLS = (ToolCall("payment", {"loan": 2.5e5, "kind": "fixed"}), ToolCall("today", {}))


def test_what_is_written_is_read_back():
    assert parse(call_text(CALLS)) == CALLS
    assert call_text(CALLS[1:]) == '<tool_call>[{"name": "today", "arguments": {}}]</tool_call>'


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>\n{"name": "today", "arguments": {}}\n</tool_call>',
        'Let me look.\n<tool_call>[{"name": "today"}]</tool_call> Done.',
        '<tool_call>[{"name": "today", "arguments": {}}]',
        '[{"name": "today", "arguments": "{}"}]\n',
        '{"name": "today", "arguments": {}}',
        '<tool_call>broken</tool_call><tool_call>{"name": "today"}</tool_call>',
    ],
)
def test_lenient_reading(text):
    assert parse(text) == (ToolCall("today", {}),)


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "payment", "parameters": {"loan": 1}}',
        '<tool_call>[{"name": "payment", "parameters": "{\\"loan\\": 1}"}]</tool_call>',
    ],
)
def test_arguments_under_another_name(text):
    """Llama 3.1 was trained to call them parameters; a call with both is none."""
    assert parse(text) == (ToolCall("payment", {"loan": 1}),)
    assert parse('{"name": "payment", "parameters": {}, "arguments": {}}') is None


def test_several_tags_are_several_calls_and_a_tag_in_a_value_ends_nothing():
    text = call_text([ToolCall("say", {"text": f"{OPEN} or {CLOSE}?"})])
    assert parse(f"{text}\n{text}") == (ToolCall("say", {"text": f"{OPEN} or {CLOSE}?"}),) * 2
    first, second = call_blocks(f"a {text} b {text} c")
    assert (first.start, first.end, second.start, second.end) == (2, 2 + len(text), 5 + len(text), 5 + 2 * len(text))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "The payment is $1,520.",
        "<tool_call>",
        "<tool_call></tool_call>",
        "<tool_call>[]</tool_call>",
        '<tool_call>{"name": "today"} and more</tool_call>',
        '<tool_call>[{"name": "today"}, {"arguments": {}}]</tool_call>',
        '<tool_call>{"name": "today", "arguments": [1]}</tool_call>',
        '<tool_call>{"name": "today", "arguments": "soon"}</tool_call>',
        '<tool_call>{"name": "", "arguments": {}}</tool_call>',
        '<tool_call>{"name": "f", "arguments": {"x": NaN}}</tool_call>',
        '{"answer": 3}',
        '{"name": "Ada", "age": 3}',
        '{"name": "Ada"}',
        "[" * 100_000,
        f"{OPEN}{'[' * 100_000}",
    ],
)
def test_no_call(text):
    assert parse(text) is None


def test_arguments_are_checked_against_the_schema():
    assert PAYMENT.problems({"loan": 1, "kind": "fixed", "years": 15}) == ()
    assert PAYMENT.required == ("loan", "kind")
    wrong = PAYMENT.problems({"kind": "balloon", "years": "ten", "colour": "red"})
    assert len(wrong) == 4
    text = json.dumps(wrong)
    assert all(word in text for word in ("loan", "balloon", "years", "colour"))
