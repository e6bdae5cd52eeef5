"""Calls of functions as text and back, with arguments that no caller should send."""

from __future__ import annotations

import json

import pytest

from ui.tool_calls import call_schema, call_text, read_calls, read_whole_call


def test_a_call_comes_back_as_it_was() -> None:
    text = call_text("find_rate", '{"years": 30}')
    said = read_calls(text)
    (call,) = said.tool_calls
    assert said.content is None
    assert call["function"] == {"name": "find_rate", "arguments": '{"years": 30}'}


@pytest.mark.parametrize("arguments", ["{", "", "[" * 100_000, "9" * 5_000, "[" * 900 + "]" * 900])
def test_arguments_that_cannot_be_read_stay_a_text(arguments: str) -> None:
    """Also those that are read but cannot be written; whichever happens, nothing is raised and nothing is lost."""
    text = call_text("f", arguments)
    assert arguments in text
    inside = text.removeprefix("<tool_call>\n").removesuffix("\n</tool_call>")
    assert inside.startswith('{"name": "f", "arguments": ')


@pytest.mark.parametrize("inside", ["[" * 100_000, '{"name": 5}', "null", '{"arguments": {}}', "{"])
def test_what_is_no_call_stays_text(inside: str) -> None:
    text = f"<tool_call>\n{inside}\n</tool_call>"
    said = read_calls(text)
    assert (said.content, said.tool_calls) == (text, ())


def test_the_arguments_of_a_call_are_json() -> None:
    (call,) = read_calls('<tool_call>\n{"name": "f", "arguments": {"a": "é"}}\n</tool_call>').tool_calls
    assert json.loads(call["function"]["arguments"]) == {"a": "é"}


def test_a_whole_answer_is_a_call_or_stays_text() -> None:
    (call,) = read_whole_call('{"name": "f", "arguments": {"a": 1}}').tool_calls
    assert call["function"]["name"] == "f"
    cut = read_whole_call('{"name": "f", "argum')
    assert (cut.content, cut.tool_calls) == ('{"name": "f", "argum', ())


def test_definitions_of_parameters_stay_in_reach() -> None:
    """`#/$defs/x` means the top of the schema, so what it names is moved there."""
    parameters = {"type": "object", "properties": {"a": {"$ref": "#/$defs/x"}}, "$defs": {"x": {"type": "integer"}}}
    found = json.loads(call_schema([{"name": "f", "parameters": parameters}, {"name": "g"}]))
    assert found["$defs"] == {"x": {"type": "integer"}}
    first, second = (kind["properties"] for kind in found["anyOf"])
    assert first["arguments"] == {"type": "object", "properties": {"a": {"$ref": "#/$defs/x"}}}
    assert second == {"name": {"const": "g"}, "arguments": {"type": "object"}}


@pytest.mark.parametrize("parameters", ["text", None, [], {"$defs": [1]}, {"$defs": None}])
def test_parameters_that_are_no_schema_are_left_to_the_grammar_to_refuse(parameters: object) -> None:
    (kind,) = json.loads(call_schema([{"name": "f", "parameters": parameters}]))["anyOf"]
    assert kind["properties"]["name"] == {"const": "f"}
