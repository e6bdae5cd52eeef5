"""Function calls through the service with the official `openai` client: choice, streams, results that are fed back."""

from __future__ import annotations

import json

import openai
import pytest

from domains.tool_calls import ToolCall, call_text
from router.assistant import AUTO
from tests.fakes_assistant import ScriptedAssistant
from tests.ui.test_service import running

TOOLS_EXPERT = "tools/calls"
ASK = [{"role": "user", "content": "What is the payment?"}]
PARAMETERS = {"type": "object", "properties": {"loan": {"type": "number"}}, "required": ["loan"]}
TOOLS = [{"type": "function", "function": {"name": name, "description": "x", "parameters": PARAMETERS}}
         for name in ("payment", "respite")]  # fmt: skip
CALLS = [ToolCall("payment", {"loan": 200000}), ToolCall("respite", {"loan": 2})]
TEXT = call_text(CALLS)


@pytest.fixture(scope="module")
def up():
    with running(ScriptedAssistant(extra=(TOOLS_EXPERT,))) as service:
        yield service


@pytest.fixture
def calls(up):
    """The next answer calls two functions, a piece at each space."""
    up.assistant.scripts[:] = [TEXT.split(" ")]
    return up


def test_a_request_with_tools_goes_to_the_tools_expert(calls):
    answer = calls.client.chat.completions.create(model=AUTO, messages=ASK, tools=TOOLS)
    assert answer.model_extra["expertsmith"]["expert"] == TOOLS_EXPERT
    assert answer.model_extra["expertsmith"]["strategy"] == "tools"
    (choice,) = answer.choices
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    found = [(call.function.name, json.loads(call.function.arguments)) for call in choice.message.tool_calls]
    assert found == [(call.name, call.arguments) for call in CALLS]


def test_a_request_without_tools_does_not(up):
    answer = up.client.chat.completions.create(model=AUTO, messages=ASK)
    assert answer.model_extra["expertsmith"]["expert"] != TOOLS_EXPERT


def test_a_stream_gives_the_name_first_and_then_the_arguments(calls):
    with calls.client.chat.completions.create(model=AUTO, messages=ASK, tools=TOOLS, stream=True) as stream:
        chunks = [chunk.choices[0] for chunk in stream]
    pieces = [piece for chunk in chunks for piece in chunk.delta.tool_calls or []]
    heads = [piece for piece in pieces if piece.id]
    assert [(piece.index, piece.function.name, piece.function.arguments) for piece in heads] == [
        (0, "payment", ""), (1, "respite", "")]  # fmt: skip
    assert len({piece.id for piece in heads}) == 2
    assert len([piece for piece in pieces if piece.index == 0]) > 2
    for place, call in enumerate(CALLS):
        text = "".join(piece.function.arguments for piece in pieces if piece.index == place)
        assert json.loads(text) == call.arguments
    assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == ["tool_calls"]
    assert not any(chunk.delta.content for chunk in chunks)


def test_the_accumulating_stream_of_the_client_reads_it(calls):
    with calls.client.chat.completions.stream(model=AUTO, messages=ASK, tools=TOOLS) as stream:
        kinds = [event.type for event in stream]
        message = stream.get_final_completion().choices[0].message
    assert "tool_calls.function.arguments.delta" in kinds
    assert [call.function.name for call in message.tool_calls] == ["payment", "respite"]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", (True, False, None)),
        ("none", (False, False, None)),
        ("required", (True, True, None)),
        ({"type": "function", "function": {"name": "respite"}}, (True, False, "respite")),
    ],
)
def test_the_choice_reaches_whoever_decodes(up, choice, expected):
    up.client.chat.completions.create(
        model="general", messages=ASK, tools=TOOLS, tool_choice=choice, parallel_tool_calls=False
    )
    sampling = up.assistant.asked[-1][2]
    assert (sampling.tools is not None, sampling.call_required, sampling.call_only) == expected
    assert sampling.parallel_calls is False


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "pay"}}}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": "always"}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": "function"}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"type": "function"}}, "tool_choice.function"),
        ({"tools": [TOOLS[0], TOOLS[0]]}, "tools"),
        ({"tools": TOOLS, "parallel_tool_calls": "no"}, "parallel_tool_calls"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(up, fields, param):
    response = up.chat(messages=ASK, **fields)
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)


def test_results_are_fed_back(calls):
    """Two results that follow each other are one turn of what is told to the model."""
    first = calls.client.chat.completions.create(model=AUTO, messages=ASK, tools=TOOLS).choices[0].message
    results = [{"role": "tool", "tool_call_id": call.id, "content": f"result {i}"}
               for i, call in enumerate(first.tool_calls)]  # fmt: skip
    answer = calls.client.chat.completions.create(
        model=AUTO, messages=[*ASK, first.model_dump(exclude_none=True), *results], tools=TOOLS
    )
    assert answer.choices[0].finish_reason == "stop"
    said, told = calls.assistant.asked[-1][0][1:]
    assert (said.role, said.content) == ("assistant", TEXT)
    assert told.role == "user"
    assert told.content.count("<tool_response>") == 2
    assert told.content.index("result 0") < told.content.index("result 1")


def test_several_answers_each_have_their_calls(calls):
    answer = calls.client.chat.completions.create(model="general", messages=ASK, tools=TOOLS, n=2)
    assert [len(choice.message.tool_calls) for choice in answer.choices] == [2, 2]
    ids = {call.id for choice in answer.choices for call in choice.message.tool_calls}
    assert len(ids) == 4


def test_the_best_of_several_is_of_the_tools_expert_too(up):
    """The fake's tools expert has no head, so it is refused by its name."""
    response = up.chat(messages=ASK, tools=TOOLS, best_of=2)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "user_error")
    assert TOOLS_EXPERT in response.json()["error"]["message"]


def test_the_best_of_several_without_tools_is_never_of_the_tools_expert(up):
    """The question asks for a calculation, which /v1/route gives to the tools expert."""
    sums = [{"role": "user", "content": "Calculate 5% of 80 for my mother."}]
    assert up.client.post("/route", body={"messages": sums}, cast_to=object)["expert"] == TOOLS_EXPERT
    for number in (1, 2):
        answer = up.client.chat.completions.create(model=AUTO, messages=sums, extra_body={"best_of": number})
        assert answer.model_extra["expertsmith"]["expert"] != TOOLS_EXPERT


def test_an_unknown_model_is_still_refused(up):
    with pytest.raises(openai.NotFoundError):
        up.client.chat.completions.create(model="tools/nothing", messages=ASK, tools=TOOLS)
