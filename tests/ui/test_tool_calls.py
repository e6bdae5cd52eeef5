"""Calls of functions as text and back, with arguments that no caller should send."""

from __future__ import annotations

import json

import pytest

from ui.tool_calls import call_text, read_calls


def test_a_call_comes_back_as_it_was():
    text = call_text("find_rate", '{"years": 30}')
    said = read_calls(text)
    (call,) = said.tool_calls
    assert said.content is None
    assert call["function"] == {"name": "find_rate", "arguments": '{"years": 30}'}


@pytest.mark.parametrize("arguments", ["{", "", "[" * 100_000, "9" * 5_000, "[" * 900 + "]" * 900])
def test_arguments_that_cannot_be_read_stay_a_text(arguments: str):
    """Also those that are read but cannot be written; whichever happens, nothing is raised and nothing is lost."""
    text = call_text("f", arguments)
    assert arguments in text
    inside = text.removeprefix("<tool_call>\n").removesuffix("\n</tool_call>")
    assert inside.startswith('{"name": "f", "arguments": ')


@pytest.mark.parametrize("inside", ["[" * 100_000, '{"name": 5}', "null", '{"arguments": {}}', "{"])
def test_what_is_no_call_stays_text(inside: str):
    text = f"<tool_call>\n{inside}\n</tool_call>"
    said = read_calls(text)
    assert (said.content, said.tool_calls) == (text, ())


def test_the_arguments_of_a_call_are_json():
    (call,) = read_calls('<tool_call>\n{"name": "f", "arguments": {"a": "é"}}\n</tool_call>').tool_calls
    assert json.loads(call["function"]["arguments"]) == {"a": "é"}
