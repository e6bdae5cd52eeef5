"""Local tools of the chat page: what may run, what a person sees of it, and the conversation with a tools expert."""

from __future__ import annotations

import json

import pytest

from domains.errors import UserError
from domains.example import Message
from domains.tool_calls import Function, ToolCall, call_text, response_text
from ui.chat_panels import bubbles
from ui.chat_state import Conversation, from_browser, to_browser
from ui.chat_tools import MAX_CALLS, MAX_SHOWN, ChatTools, said_words

ADD = Function("add_up", "The sum of two numbers.", {"type": "object", "properties": {"a": {"type": "number"}}})
CALL = call_text([ToolCall("add_up", {"a": 2, "note": "<b>*x*</b>"})])
ANSWER = "It is 4."


def run(call: ToolCall) -> dict[str, object]:
    if call.arguments.get("a") == "bad":
        raise UserError("a must be a number.")
    if call.arguments.get("a") == "bug":
        raise RuntimeError("secret detail")
    return {"sum": call.arguments["a"] * 2}


TOOLS = ChatTools((ADD,), run)


@pytest.mark.parametrize(
    ("call", "result"),
    [
        (ToolCall("add_up", {"a": 2}), {"sum": 4}),
        (ToolCall("add_up", {"a": "bad"}), {"error": "a must be a number."}),
        (ToolCall("add_up", {"a": "bug"}), {"error": "It could not be computed."}),
        (ToolCall("system", {"command": "x"}), {"error": "There is no function 'system' here."}),
        (ToolCall("__class__", {}), {"error": "There is no function '__class__' here."}),
    ],
)
def test_only_listed_functions_run_and_failures_are_told(call, result, caplog):
    assert json.loads(TOOLS.result(call)) == result


def test_results_are_one_text_and_bounded():
    found = TOOLS.results([ToolCall("add_up", {"a": n}) for n in range(MAX_CALLS + 5)])
    assert found.count("<tool_response>") == MAX_CALLS
    assert found.startswith(response_text('{"sum": 0}'))


def test_the_functions_nearest_to_the_question_are_declared():
    many = tuple(Function(f"other_{n}", "Something else.") for n in range(20))
    declared = json.loads(ChatTools((*many, ADD), run).declared("What is the sum of these numbers?"))
    assert len(declared) == MAX_SHOWN
    assert "add_up" in [tool["function"]["name"] for tool in declared]


def test_a_call_and_its_result_have_their_own_places():
    turns = [Message("user", "Add."), Message("assistant", f"Well. {CALL}"),
             Message("user", response_text('{"sum": "<i>4</i>"}')), Message("assistant", ANSWER)]  # fmt: skip
    question, words, call, result, answer = bubbles(turns)
    assert (question["role"], words["content"], answer["content"]) == ("user", "Well.", ANSWER)
    assert call["metadata"] == {"title": "Called add_up"}
    assert call["content"] == 'add_up(a = 2, note = "&lt;b&gt;*x*&lt;/b&gt;")'
    assert (result["metadata"], result["role"]) == ({"title": "Result"}, "assistant")
    assert "<i>" not in result["content"]


def test_the_name_of_a_call_fetches_nothing():
    """The chat log renders a title as Markdown, and a name is text of a model."""
    (call,) = bubbles([Message("assistant", call_text([ToolCall("![a](https://example.org/b.png)<img src=x>")]))])
    assert call["metadata"] == {"title": "Called !\\[a](https://example.org/b.png)&lt;img src=x&gt;"}


@pytest.mark.parametrize("end", [3, 11, 20, len(CALL) - 1])
def test_a_call_that_is_being_written_is_not_shown_as_text(end):
    assert said_words(f"Well. {CALL[: max(end, 11)]}") == "Well."
    (bubble,) = bubbles([Message("assistant", CALL[:11])])
    assert bubble["content"] == "..."


def test_the_question_is_what_the_person_said():
    turns = (Message("user", "Add."), Message("assistant", CALL), Message("user", response_text("4")),
             Message("assistant", ANSWER))  # fmt: skip
    kept = Conversation(turns, expert="tools/calls")
    assert kept.question == "Add."
    assert from_browser(to_browser(kept), ("tools/calls",)) == kept
