"""The fuzz of the service with the in-process back-end behind it: a small model, its tokenizer, the running batch and
the grammars see what requests ask for. No answer is a server error, and every refusal is an OpenAI error body.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode

from experts.build import Build
from router.assistant import AUTO
from router.backends.in_process import InProcess
from router.engine import Engine
from router.local import LocalAssistant
from router.route import Router
from tests.fakes_router import Keywords
from tests.ui.test_fuzz import BAD, CHECKS, GOOD, HEADERS
from tests.ui.test_service import KEY, Running, running

CHAT = "/v1/chat/completions"
LONGEST = 6  # tokens of an answer: the model never ends one by itself
FEW = settings(max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
TYPES = st.sampled_from(["string", "integer", "number", "boolean", "null", "object", "array", "nothing"])
LEAVES = st.one_of(
    st.fixed_dictionaries({"type": TYPES | st.lists(TYPES, max_size=3)}),
    st.fixed_dictionaries({"enum": st.lists(JSON_VALUES, max_size=3)}),
    st.fixed_dictionaries({"const": JSON_VALUES}),
    st.fixed_dictionaries({"type": st.just("string"), "pattern": st.text("ab[](){}^$*+?\\.|\u00e9", max_size=8)}),
    st.fixed_dictionaries(
        {"type": st.just("string"), "minLength": st.integers(-1, 9), "maxLength": st.integers(-1, 9)}
    ),
    st.fixed_dictionaries({"type": st.just("number"), "minimum": JSON_VALUES, "multipleOf": st.integers(-1, 3)}),
    st.fixed_dictionaries({"type": st.just("string"), "format": st.sampled_from(["date", "email", "uuid", "?"])}),
    st.fixed_dictionaries({"$ref": st.sampled_from(["#", "#/$defs/x", "#/properties/a", "http://127.0.0.1:1/x", ""])}),
)
SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.fixed_dictionaries(
            {
                "type": st.just("object"),
                "properties": st.dictionaries(st.text(max_size=4), inner, max_size=3),
                "required": st.lists(st.text(max_size=4), max_size=2),
                "additionalProperties": st.booleans() | inner,
            }
        ),
        st.fixed_dictionaries({"type": st.just("array"), "items": inner, "maxItems": st.integers(-1, 3)}),
        st.dictionaries(st.sampled_from(["anyOf", "oneOf", "allOf"]), st.lists(inner, max_size=3), max_size=2),
        st.fixed_dictionaries({"not": inner}),
    ),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def up(built: Build) -> Iterator[Running]:
    engine = Engine(built.home)
    words = Keywords({"e": "toy/conversation", "a": "toy/structured"}, tuple(engine.experts))
    assistant = LocalAssistant(InProcess(engine), Router(words, "words", 0.5))
    with running(assistant, KEY) as service:
        yield service
    assistant.close(0)


@pytest.fixture(scope="module")
def api(up: Running) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_url(f"{up.url}/openapi.json", headers=HEADERS)


@pytest.mark.parametrize(("path", "method", "mode"), GOOD + BAD)
def test_no_request_breaks_the_back_end(
    up: Running, api: schemathesis.BaseSchema, path: str, method: str, mode: GenerationMode
) -> None:
    """The model of a good request is one that is there, or nearly all would end with 404; answers are kept short."""
    names = st.sampled_from((AUTO, *up.assistant.experts))

    @FEW
    @given(case=api[path][method].as_strategy(generation_mode=mode), name=names, tokens=st.integers(1, LONGEST))
    def check(case: schemathesis.Case, name: str, tokens: int) -> None:
        if path == CHAT and mode == GenerationMode.POSITIVE:
            case.body = {**case.body, "model": name, "max_completion_tokens": tokens}
        response = case.call(headers=HEADERS)
        case.validate_response(response, checks=CHECKS, headers=HEADERS)
        check_form(response.status_code, response.text)

    check()


def check_form(status: int, text: str) -> None:
    """An error is said as OpenAI says it, in a body or in the last event of a stream; none is ours."""
    assert status < 500
    if status >= 400:
        check_error(json.loads(text)["error"])
    for line in text.splitlines():
        if line.startswith("data: {"):
            assert "error" not in json.loads(line.removeprefix("data: "))


def check_error(error: dict[str, Any]) -> None:
    assert set(error) == {"message", "type", "code", "param"}
    assert error["message"]
    assert error["code"] != "internal_error"


def asked(up: Running, **fields: Any) -> httpx.Response:
    body = {"model": AUTO, "messages": [{"role": "user", "content": "Where is it?"}], "max_tokens": LONGEST} | fields
    return up.post(CHAT, body, headers=HEADERS)


@pytest.mark.parametrize("name", [AUTO, "toy/structured"])
def test_any_schema_is_followed_or_refused(up: Running, name: str) -> None:
    @FEW
    @given(schema=SCHEMAS, stream=st.booleans())
    def check(schema: dict[str, Any], stream: bool) -> None:
        form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
        response = asked(up, model=name, response_format=form, stream=stream)
        assert response.status_code in {200, 400}
        check_form(response.status_code, response.text)

    check()


@pytest.mark.parametrize("choice", ["auto", "required", {"type": "function", "function": {"name": "first"}}])
def test_any_function_is_offered_or_refused(up: Running, choice: Any) -> None:
    @FEW
    @given(parameters=SCHEMAS, other=st.text(min_size=1, max_size=9), stream=st.booleans())
    def check(parameters: dict[str, Any], other: str, stream: bool) -> None:
        functions = [{"name": "first", "parameters": parameters}, {"name": other, "description": other}]
        tools = [{"type": "function", "function": function} for function in functions]
        response = asked(up, tools=tools, tool_choice=choice, stream=stream)
        assert response.status_code in {200, 400}
        check_form(response.status_code, response.text)

    check()


def test_a_conversation_that_is_too_long_is_refused(up: Running) -> None:
    """The small model's tokens are bytes, of which 4,096 are read."""
    response = asked(up, messages=[{"role": "user", "content": "x" * 4096}])
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "messages"


def test_the_back_end_is_well_afterwards(up: Running) -> None:
    """Nothing runs or waits, nothing failed inside, and the next answer comes."""
    gauges = up.assistant.gauges()
    assert (gauges["running"], gauges["waiting"], gauges["failed"]) == (0, 0, 0)
    assert gauges["finished"] > 0
    assert asked(up).status_code == 200
