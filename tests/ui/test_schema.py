"""Every rule of the request schema: the value that breaks it is refused, and the refusal names the field."""

from __future__ import annotations

import json

import pytest

from router.assistant import TokenLogprob
from ui.bodies import logprobs_body
from ui.openai_errors import RequestError
from ui.schema import (
    MAX_ANSWERS,
    MAX_CHARACTERS,
    MAX_MESSAGES,
    MAX_SCHEMA_CHARACTERS,
    MAX_TOKENS,
    MAX_TOOLS,
    ChatRequest,
    notice_for,
    parse,
)

CARE = [{"role": "user", "content": "My mother wanders at night."}]


SCHEMA = {"name": "label", "schema": {"type": "object"}}
LONG_SCHEMA = {"name": "label", "schema": {"type": "object", "description": "x" * MAX_SCHEMA_CHARACTERS}}
TOOL = {"type": "function", "function": {"name": "rate"}}


def with_parameters(schema: object) -> dict[str, object]:
    return {"type": "function", "function": {"name": "f", "parameters": schema}}


def calling(*names: str) -> dict[str, object]:
    return {"role": "assistant", "tool_calls": [{"id": name, "function": {"name": name}} for name in names]}


def result(name: str | None) -> dict[str, object]:
    return {"role": "tool", "content": f"of {name}", **({"tool_call_id": name} if name else {})}


def says(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": MAX_ANSWERS + 1}, "n"),
        ({"n": 0}, "n"),
        ({"best_of": MAX_ANSWERS + 1}, "best_of"),
        ({"best_of": 2, "n": 3}, "best_of"),
        ({"best_of": 2, "stream": True}, "best_of"),
        ({"best_of": 2, "temperature": 0.0}, "best_of"),
        ({"max_tokens": MAX_TOKENS + 1}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"max_completion_tokens": MAX_TOKENS + 1}, "max_completion_tokens"),
        ({"temperature": 2.1}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"stream": "yes"}, "stream"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"stop": ""}, "stop[0]"),
        ({"stop": 5}, "stop"),
        ({"model": None}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": says("a") * (MAX_MESSAGES + 1)}, "messages"),
        ({"messages": says("a" * (MAX_CHARACTERS + 1))}, "messages"),
        ({"messages": says("a" * 16_000) * 3}, "messages"),
        ({"messages": says("  ")}, "messages"),
        ({"messages": [{"role": "system", "content": "Be brief."}]}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}, {"role": "judge", "content": "x"}]}, "messages[1].role"),
        ({"messages": [*CARE, {"role": "assistant", "content": None}]}, "messages[1].content"),
        ({"messages": [*CARE, {"role": "assistant", "tool_calls": [{}]}]}, "messages[1].tool_calls[0].function"),
        ({"messages": [*CARE, calling("a"), result("b")]}, "messages"),
        ({"messages": [*CARE, calling("a"), result("a"), *CARE, result("a")]}, "messages"),
        (
            {"messages": [*CARE, calling("a"), {"role": "tool", "tool_call_id": 5, "content": "x"}]},
            "messages[2].tool_call_id",
        ),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        ({"messages": [*CARE, {"role": "user", "content": [{"type": "image_url"}]}]}, "messages[1].content[0].type"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"logprobs": True, "max_tokens": 1, "top_logprobs": 21}, "top_logprobs"),
        ({"response_format": {"type": "yaml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"response_format": {"type": "text", "json_schema": SCHEMA}}, "response_format.json_schema"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}},
            "response_format.json_schema.schema",
        ),
        ({"response_format": {"type": "json_schema", "json_schema": LONG_SCHEMA}}, "response_format.json_schema"),
        ({"tools": [TOOL] * (MAX_TOOLS + 1)}, "tools"),
        ({"tools": [TOOL | {"function": {"name": "f", "description": "x" * MAX_SCHEMA_CHARACTERS}}]}, "tools"),
        ({"tools": [{"type": "retrieval"}]}, "tools[0].type"),
        ({"tools": [TOOL | {"function": {}}]}, "tools[0].function.name"),
        ({"tools": [with_parameters("x")]}, "tools[0].function.parameters"),
        ({"tools": [with_parameters([1])]}, "tools[0].function.parameters"),
        ({"tools": [with_parameters({"type": "object", "properties": ["a"]})]}, "tools[0].function.parameters"),
        ({"tools": [TOOL, with_parameters({"required": 5})]}, "tools[1].function.parameters"),
        ({"tools": [with_parameters({"properties": {"a": {"enum": 5}}})]}, "tools[0].function.parameters"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": "any", "tools": [TOOL]}, "tool_choice"),
        ({"tool_choice": 5, "tools": [TOOL]}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {"name": "other"}}, "tools": [TOOL]}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {}}, "tools": [TOOL]}, "tool_choice.function.name"),
        (
            {"tool_choice": "required", "tools": [TOOL], "response_format": {"type": "json_object"}},
            "tool_choice",
        ),
        ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
    ],
)
def test_bad_field_is_refused_by_name(fields: dict[str, object], param: str) -> None:
    good = {"model": "auto", "messages": CARE}
    assert parse(ChatRequest, json.dumps(good).encode()).model == "auto"
    with pytest.raises(RequestError) as caught:
        parse(ChatRequest, json.dumps(good | fields).encode())
    assert (caught.value.status, caught.value.param) == (400, param)
    assert caught.value.message.startswith(param)


def test_refusal_says_what_was_given_and_what_is_allowed() -> None:
    with pytest.raises(RequestError) as caught:
        parse(ChatRequest, json.dumps({"model": "auto", "messages": CARE, "max_tokens": 2000}).encode())
    assert caught.value.message == "max_tokens: input should be less than or equal to 1024, not 2000."


def test_notice_is_that_of_the_experts_domain() -> None:
    notices = {"mortgage": "Not legal advice."}
    assert notice_for("mortgage/structured", notices) == "Not legal advice."
    assert notice_for("general", notices) == ""


def test_logprobs_are_finite() -> None:
    """JSON has no infinity, so it becomes -9999."""
    entry = TokenLogprob("a", -0.5, (("a", -0.5), ("c", float("-inf"))))
    (found,) = logprobs_body([entry])["content"]
    assert (found["token"], found["logprob"], found["bytes"]) == ("a", -0.5, [97])
    assert [(rival["token"], rival["logprob"]) for rival in found["top_logprobs"]] == [("a", -0.5), ("c", -9999.0)]


@pytest.mark.parametrize(
    "schema",
    [
        None,
        {},
        {"type": "object", "properties": {"a": True, "b": {"$ref": "#/$defs/b"}}, "$defs": {"b": {"type": "null"}}},
        {"type": "object", "properties": {"a": {"type": "array", "items": [{"type": "string"}]}}},
        {"$schema": "an unknown draft", "properties": {"a": {"minimum": 1, "exclusiveMinimum": True}}},
    ],
)
def test_a_schema_of_any_draft_is_taken_as_it_is(schema: object) -> None:
    """Lists of items are of draft 7, a true exclusiveMinimum is of draft 4."""
    body = {"model": "auto", "messages": CARE, "tools": [with_parameters(schema)]}
    asked = parse(ChatRequest, json.dumps(body).encode())
    assert json.loads(asked.declared_tools or "") == [with_parameters(schema)]


@pytest.mark.parametrize("order", ["abc", "cab", "bca"])
def test_results_are_told_in_the_order_of_their_calls(order: str) -> None:
    """The model sees no ids. What follows another answer is not mixed with it."""
    turns = [*CARE, calling("a", "b", "c"), *map(result, order), calling("c"), result("c")]
    asked = parse(ChatRequest, json.dumps({"model": "auto", "messages": turns}).encode())
    first, second = (message.content.split() for message in asked.conversation if "_response" in message.content)
    assert [word for word in first if len(word) == 1] == ["a", "b", "c"]
    assert [word for word in second if len(word) == 1] == ["c"]


def test_results_without_ids_stay_as_they_came() -> None:
    turns = [*CARE, calling("a", "b"), result("b"), result(None)]
    asked = parse(ChatRequest, json.dumps({"model": "auto", "messages": turns}).encode())
    assert asked.conversation[-1].content.index("of b") < asked.conversation[-1].content.index("of None")
