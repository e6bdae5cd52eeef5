"""Calls while they are written: the deltas say the same whatever pieces the text comes in."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.assistant import Piece, TokenLogprob
from ui.tool_calls import Said, read_calls
from ui.tool_stream import CallEvents, ToolStream

ONE = '<tool_call>[{"name": "rate", "arguments": {"years": 30, "note": "a } b"}}]</tool_call>'
TWO = 'Let me see.\n<tool_call>[{"name": "a", "arguments": {}}, {"name": "b", "arguments": {"x": [1, 2]}}]</tool_call>'
HERMES = '<tool_call>\n{"name": "a", "arguments": {"q": "</tool_call>"}}\n</tool_call>\n' + ONE
TURNED = '<tool_call>{"arguments": {"x": 1}, "name": "a"}</tool_call>'
AS_TEXT = '<tool_call>{"name": "a", "arguments": "{\\"x\\": 1}"}</tool_call>'
LLAMA = '<tool_call>[{"name": "a", "parameters": {"x": 1}}]</tool_call>'
BARE = '[{"name": "a", "arguments": {"x": 1}}]'
WELL_FORMED = [
    ONE,
    TWO,
    HERMES,
    TURNED,
    AS_TEXT,
    LLAMA,
    BARE,
    f"{ONE} Done.",
    "No call < here.",
    '{"json": 1}',
    "  x ",
    "",
]


def deltas(text: str, cuts: list[int]) -> tuple[str, list[dict[str, str]]]:
    """The content and the calls (id, name, arguments) that a client puts together."""
    stream = ToolStream()
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    found = [d for a, b in zip(places, places[1:], strict=False) for d in stream.add(text[a:b])] + stream.end()
    calls: list[dict[str, str]] = []
    for piece in (piece for delta in found for piece in delta.get("tool_calls", [])):
        if "id" in piece:
            assert (piece["type"], piece["index"]) == ("function", len(calls))
            calls.append({"id": piece["id"], "name": piece["function"]["name"], "arguments": ""})
        calls[piece["index"]]["arguments"] += piece["function"]["arguments"]
    return "".join(delta.get("content") or "" for delta in found), calls


@pytest.mark.parametrize("text", WELL_FORMED)
@given(cuts=st.lists(st.integers(0, 200), max_size=12))
@settings(max_examples=25, deadline=None)
def test_a_stream_says_what_the_whole_answer_says(text: str, cuts: list[int]) -> None:
    said = read_calls(text)
    content, calls = deltas(text, cuts)
    assert content == (said.content or "")
    whole = [(call["function"]["name"], json.loads(call["function"]["arguments"])) for call in said.tool_calls]
    assert [(call["name"], json.loads(call["arguments"])) for call in calls] == whole
    assert len({call["id"] for call in calls}) == len(calls)


def test_the_name_comes_first_and_the_arguments_as_they_are_written() -> None:
    stream = ToolStream()
    assert stream.add('Wait. <tool_call>[{"name": "ra') == [{"content": "Wait."}]
    (opened,) = stream.add('te", "arguments": {')[:1]
    assert opened["tool_calls"][0]["function"] == {"name": "rate", "arguments": ""}
    assert stream.sent == ["{"]
    assert stream.add('"years": 3') == [{"tool_calls": [{"index": 0, "function": {"arguments": '"years": 3'}}]}]
    assert stream.num_whole == 0
    assert stream.add("0}}") == [{"tool_calls": [{"index": 0, "function": {"arguments": "0}"}}]}]
    assert (stream.num_whole, stream.add("]</tool_call>"), stream.end()) == (1, [], [])


def test_what_may_become_a_tag_waits() -> None:
    stream = ToolStream()
    assert stream.add("2 <") == [{"content": "2"}]
    assert stream.add("tool") == []
    assert stream.add("box> x") == [{"content": " <toolbox> x"}]


@pytest.mark.parametrize(
    "text", ["<tool_call>[nothing]</tool_call>", '<tool_call>{"name": 5, "arguments": {}}', "<tool_call>"]
)
def test_a_tag_without_a_call_is_not_shown(text: str) -> None:
    """Neither in a stream nor in a whole answer; the words beside it are."""
    assert deltas(f"So: {text}", list(range(len(text)))) == ("So:", [])
    assert read_calls(f"So: {text}") == Said("So:", ())


@pytest.mark.parametrize("size", range(TWO.index("}") + 1, len(TWO)))
def test_a_list_that_is_cut_keeps_its_whole_calls_and_repeats_nothing(size: int) -> None:
    """The second call is begun in the stream as soon as its name is there."""
    said = read_calls(TWO[:size])
    content, calls = deltas(TWO[:size], list(range(size)))
    assert content == said.content == "Let me see."
    whole = [call["function"]["name"] for call in said.tool_calls]
    assert whole == ["a", "b"][: 1 + (TWO[:size].count("}") > 2)]
    assert [call["name"] for call in calls][: len(whole)] == whole


def test_the_words_after_a_tag_that_is_not_well_formed_are_said() -> None:
    """What a value of it holds ends no tag."""
    text = '<tool_call>[{"name": "a", "arguments": {"x": "</tool_call>"}}, 5]</tool_call> Done.'
    assert read_calls(text).content == "Done."
    assert deltas(text, list(range(len(text))))[0] == "Done."


def test_a_call_that_is_broken_off_was_begun() -> None:
    content, calls = deltas('<tool_call>[{"name": "a", "arguments": {"x": tru}}]</tool_call> more', [40, 50])
    assert content == "more"
    assert [(call["name"], call["arguments"]) for call in calls] == [("a", '{"x": tru}}]')]


def test_chunks_end_with_the_reason_and_keep_log_probabilities() -> None:
    """Two pieces with one log-probability each; the first is held back, so both come with the second."""
    entry = TokenLogprob("x", -0.5)
    events = CallEvents()
    assert list(events.chunks({}, Piece("<tool_call>", logprobs=(entry,)))) == []
    last = Piece('[{"name": "a", "arguments": {}}]</tool_call>', "stop", logprobs=(entry,))
    named, written, ended = list(events.chunks({}, last))
    assert len(named["choices"][0]["logprobs"]["content"]) == 2
    assert written["choices"][0]["logprobs"] is None
    assert ended["choices"][0]["finish_reason"] == "tool_calls"
    cut = CallEvents()
    assert [c["choices"][0]["finish_reason"] for c in cut.chunks({}, Piece(ONE, "length"))][-1] == "length"
