"""A tools expert that was really trained, behind the service, asked by the official `openai` client."""

from __future__ import annotations

import json

import pytest

from domains.example import Message
from domains.tool_calls import Function
from experts.build import run_build
from router.assistant import AUTO
from router.backends.in_process import InProcess
from router.engine import Engine
from router.fit import load_router
from router.local import LocalAssistant
from router.scheduler import Limits
from tests.fakes_tools import FIND, WASH, tiny_tools_build
from tests.ui.test_service import running

pytestmark = pytest.mark.slow
EXPERT = "kit/calls"
ASK = [{"role": "user", "content": "Where is the hat?"}]
BOUNDED = {
    "type": "object",
    "properties": {"thing": {"enum": ["hat", "cup"]}},
    "required": ["thing"],
}  # so that it ends
DECLARED = [{**each, "parameters": BOUNDED} for each in (FIND, WASH)]
TOOLS = [{"type": "function", "function": each} for each in DECLARED]
FUNCTIONS = {each["name"]: Function(each["name"], "", each["parameters"]) for each in DECLARED}


@pytest.fixture(scope="module")
def up(tmp_path_factory):
    built = tiny_tools_build(tmp_path_factory.mktemp("served"))
    run_build(built, lambda line: None)
    engine = Engine(built.home)
    assistant = LocalAssistant(InProcess(engine, Limits()), load_router(built.home, "fixed", engine))
    with running(assistant) as service:
        yield service
    assistant.close(0)


def checked(function) -> str:
    """A call names a declared function, and its arguments fit the schema."""
    arguments = json.loads(function.arguments)
    assert FUNCTIONS[function.name].problems(arguments) == ()
    return str(function.name)


def test_a_required_call_is_a_call_that_fits_its_schema(up):
    answer = up.client.chat.completions.create(
        model=AUTO, messages=ASK, tools=TOOLS, tool_choice="required", max_tokens=300, parallel_tool_calls=False
    )
    assert answer.model_extra["expertsmith"]["expert"] == EXPERT
    (choice,) = answer.choices
    assert choice.finish_reason == "tool_calls"
    (call,) = choice.message.tool_calls
    assert checked(call.function) in FUNCTIONS


def test_the_named_function_is_the_one_that_is_called_and_streamed(up):
    named = {"type": "function", "function": {"name": "wash"}}
    request = {"model": AUTO, "messages": ASK, "tools": TOOLS, "tool_choice": named, "max_tokens": 300,
               "parallel_tool_calls": False}  # fmt: skip
    with up.client.chat.completions.create(**request, stream=True) as stream:
        pieces = [piece for chunk in stream for piece in chunk.choices[0].delta.tool_calls or []]
    whole = up.client.chat.completions.create(**request).choices[0]
    assert {piece.function.name for piece in pieces if piece.id} == {"wash"}
    streamed = "".join(piece.function.arguments or "" for piece in pieces if piece.index == 0)
    assert streamed == whole.message.tool_calls[0].function.arguments


def test_no_call_is_made_where_none_is_allowed(up):
    answer = up.client.chat.completions.create(model=AUTO, messages=ASK, tools=TOOLS, tool_choice="none", max_tokens=30)
    assert not answer.choices[0].message.tool_calls


def test_the_same_assistant_answers_without_functions_as_somebody_else(up):
    answer = up.client.chat.completions.create(model=AUTO, messages=ASK, max_tokens=5)
    assert answer.model_extra["expertsmith"]["expert"] != EXPERT
    assert up.assistant.route([Message("user", "Where is the hat?")]).expert == "general"
