"""Every rule of the request schema: the value that breaks it is refused, and the refusal names the field."""

from __future__ import annotations

import json

import pytest

from ui.schema import (
    MAX_CHARACTERS,
    MAX_MESSAGES,
    MAX_TOKENS,
    ChatRequest,
    RequestError,
    logprobs_body,
    notice_for,
    parse,
)

CARE = [{"role": "user", "content": "My mother wanders at night."}]


def says(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 2}, "n"),
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
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        ({"messages": [*CARE, {"role": "user", "content": [{"type": "image_url"}]}]}, "messages[1].content[0].type"),
        ({"logprobs": True}, "logprobs"),
        ({"logprobs": True, "max_tokens": 1, "stream": True}, "logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"logprobs": True, "max_tokens": 1, "top_logprobs": 21}, "top_logprobs"),
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


def test_logprobs_are_ranked_and_finite() -> None:
    """JSON has no infinity, so it becomes -9999; `top` 2 of 3 keeps the best two."""
    first = logprobs_body({"b": -2.0, "c": float("-inf"), "a": -0.5}, top=2)["content"][0]
    assert (first["token"], first["bytes"]) == ("a", [97])
    assert [(rival["token"], rival["logprob"]) for rival in first["top_logprobs"]] == [("a", -0.5), ("b", -2.0)]
    assert logprobs_body({"c": float("-inf")}, top=1)["content"][0]["logprob"] == -9999.0
