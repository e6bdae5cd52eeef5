"""The remote back-end: a service of ours over a scripted assistant plays the other server."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import openai
import pytest

from domains.errors import UserError
from domains.example import Message
from router.assistant import Answer, BackendFailed, Busy, Closing, Sampling, TimedOut
from router.backends.openai_server import connect, failures_told, name_there, request_options
from router.scheduler import Limits
from tests.fakes_assistant import EXPERTS, OTHER_WORDS, ScriptedAssistant
from tests.fakes_judges import failed, scripted_endpoint
from tests.ui.test_service import running

CARE = (Message("user", "My mother wanders at night."),)


@pytest.fixture(scope="module")
def scripted():
    failures = {"Break": RuntimeError("secret detail")}
    with running(ScriptedAssistant(failures=failures)) as up:
        yield up


@pytest.fixture
def server(scripted):
    scripted.assistant.busy = None
    made = connect(f"{scripted.url}/v1", None, EXPERTS)
    yield made
    scripted.assistant.busy = None
    made.client.close()


def test_answers_are_passed_on_with_their_counts(server):
    """12 words, 7 + 12 tokens, as the fake says."""
    pieces = list(server.start(CARE, "mortgage/structured", Sampling(), ""))
    assert "".join(p.text for p in pieces) == " ".join(["mortgage/structured says:", *OTHER_WORDS])
    assert len(pieces) >= 12
    assert (pieces[-1].finish_reason, pieces[-1].prompt_tokens, pieces[-1].completion_tokens) == ("stop", 7, 12)
    cut = list(server.start(CARE, "general", Sampling(max_tokens=2), ""))
    assert cut[-1].finish_reason == "length"


def test_settings_arrive(server, scripted):
    wanted = Sampling(5, 0.7, 0.9, 3, ("END",), 2, 1, json.dumps({"type": "object"}))
    pieces = list(server.start(CARE, "general", wanted, ""))
    assert scripted.assistant.asked[-1] == (CARE, "general", wanted)
    assert {piece.choice for piece in pieces} == {0, 1}
    assert sum(piece.completion_tokens for piece in pieces) == 10
    assert [p.logprobs[0].top for p in pieces if p.logprobs][0] == (("A", -0.1),)


@pytest.mark.parametrize(
    ("wanted", "choice"),
    [
        ({}, None),
        ({"call_required": True}, "required"),
        ({"call_only": "rate"}, {"type": "function", "function": {"name": "rate"}}),
    ],
)
def test_which_calls_are_wanted_is_passed_on(wanted, choice):
    tools = json.dumps([{"type": "function", "function": {"name": "rate"}}])
    options = request_options(CARE, Sampling(tools=tools, parallel_calls=False, **wanted))
    assert (options.get("tool_choice"), options["parallel_tool_calls"]) == (choice, False)
    assert not {"tool_choice", "parallel_tool_calls"} & set(request_options(CARE, Sampling(**wanted)))


def test_function_calls_become_text_again():
    call = '<tool_call>{"name": "rate", "arguments": {"years": 30}}</tool_call>'
    tools = json.dumps([{"type": "function", "function": {"name": "rate"}}])
    with running(ScriptedAssistant(words=[call])) as up:
        made = connect(f"{up.url}/v1", None, ["general"])
        pieces = list(made.start(CARE, "general", Sampling(tools=tools), ""))
        made.client.close()
    assert "".join(p.text for p in pieces) == f"general says:{call}"


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (Busy("full", 7), Busy),
        (Closing("closing"), BackendFailed),
        (UserError("The conversation is too long."), UserError),
        (TimedOut("late"), BackendFailed),
    ],
)
def test_errors_are_told_in_our_own_terms(server, scripted, error, found):
    scripted.assistant.busy = error
    with pytest.raises(found) as caught:
        list(server.start(CARE, "general", Sampling(), ""))
    if isinstance(caught.value, Busy):
        assert caught.value.retry_after_seconds == 7
    if found is UserError:
        assert "too long" in str(caught.value)


def test_a_bug_of_the_server_is_a_failed_backend(server):
    with pytest.raises(BackendFailed):
        list(server.start((Message("user", "Break"),), "general", Sampling(), ""))


def test_requests_under_way_are_bounded_and_closing_tells_the_rest():
    """The other server is held, so nothing ends: two requests fit, the third is refused, and a client has one."""
    with running(ScriptedAssistant()) as up:
        made = connect(f"{up.url}/v1", None, ["general"], Limits(max_waiting=2, max_waiting_per_client=1))
        with up.assistant.speaking:
            answers = [made.start(CARE, "general", Sampling(), client) for client in "ab"]
            with pytest.raises(Busy):
                made.start(CARE, "general", Sampling(), "c")
            assert made.gauges()["running"] == 2
            assert made.close(0.1) == 2
            for answer in answers:
                with pytest.raises(Closing):
                    list(answer)
            with pytest.raises(Closing):
                made.check_room("c", 1)
            assert not made.is_ready()
        made.client.close()


def test_the_time_of_an_answer_is_bounded_also_where_words_keep_coming():
    """Eleven words, 0.2 seconds apart, with half a second for the answer: no single wait is too long."""
    with running(ScriptedAssistant(delay_seconds=0.2)) as up:
        made = connect(f"{up.url}/v1", None, ["general"], Limits(seconds=0.5))
        started = time.monotonic()
        with pytest.raises(TimedOut, match=r"0\.5 seconds"):
            list(made.start(CARE, "general", Sampling(), "a"))
        assert time.monotonic() - started < 1.5
        made.client.close()


def test_connecting_names_what_is_missing(scripted):
    with pytest.raises(UserError, match="no model for toy/structured"):
        connect(f"{scripted.url}/v1", None, ["general", "toy/structured"])
    with pytest.raises(UserError, match="cannot be used"):
        connect("http://127.0.0.1:9/v1", None, ["general"])


def test_names_of_experts_on_servers_that_take_no_slash():
    there = ["a__b", "c--d", "e/f"]
    assert [name_there(name, there) for name in ("a/b", "c/d", "e/f", "g/h")] == ["a__b", "c--d", "e/f", None]


def test_what_is_not_asked_for_is_not_sent():
    options = request_options(CARE, Sampling())
    assert not {"seed", "stop", "logprobs", "top_logprobs", "tools", "response_format"} & set(options)


def test_no_head_and_ready(server):
    assert server.is_ready()
    with pytest.raises(UserError, match="best_of"):
        server.rewards(CARE, "general", ["a"])


MODELS = {"object": "list", "data": [{"id": "general", "object": "model", "created": 0, "owned_by": "x"}]}


@pytest.mark.parametrize(("given", "seconds"), [("7", 7), ("soon", 1), ("a date", 100)])
def test_how_long_a_busy_server_wants_us_to_wait(given, seconds):
    """A number, no number at all, and an HTTP date a hundred seconds from now: the reader is always told."""
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    headers = {"retry-after": later if given == "a date" else given}
    with scripted_endpoint(lambda body: (*failed(429, "busy"), headers), MODELS) as up:
        made = connect(up.url, None, ["general"])
        told = made.start(CARE, "general", Sampling(), "").queue.get(timeout=5)
        made.client.close()
    assert isinstance(told, Busy)
    assert told.retry_after_seconds == pytest.approx(seconds, abs=3 if given == "a date" else 0)


def test_the_reader_is_told_also_of_an_error_that_cannot_be_put_into_words():
    error = openai.RateLimitError("busy", response=httpx.Response(429, request=httpx.Request("POST", "/")), body=None)
    error.response = None
    answer = Answer()
    with pytest.raises(AttributeError), failures_told(answer):
        raise error
    assert isinstance(answer.queue.get(timeout=5), BackendFailed)
