"""The assistant over a back-end: who answers, what is refused before the router works, and answers that are dropped."""

from __future__ import annotations

import gc
import json
import time

import pytest

from domains.errors import UserError
from domains.example import Message
from router.assistant import AUTO, Answer, Busy, Closing, Sampling
from router.backends.in_process import InProcess
from router.fit import load_router
from router.local import LocalAssistant
from router.route import Router
from router.scheduler import Limits
from tests.fakes_router import Keywords

ASK = (Message("user", "Where does the kettle go?"),)
ENDLESS = Sampling(max_tokens=1000, stop=("never there",))


@pytest.fixture
def assistant(engine):
    made = LocalAssistant(
        InProcess(engine, Limits(max_waiting=2, max_waiting_per_client=2)), load_router(engine.home, "fixed", engine)
    )
    yield made
    made.close(0)


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_named_and_routed(assistant):
    assert assistant.route(ASK).expert == "general"
    assert [route.expert for route in assistant.routes([ASK, ASK])] == ["general", "general"]
    assert assistant.route(ASK, "toy/structured").confidence == 1.0
    with pytest.raises(UserError, match="Did you mean 'toy/structured'"):
        assistant.route(ASK, "toy/structurd")
    reply = assistant.reply(ASK, "toy/structured", Sampling(max_tokens=3))
    assert list(reply.pieces)[-1].completion_tokens == 3


def test_an_answer_that_is_dropped_ends(assistant):
    reply = assistant.reply(ASK, AUTO, ENDLESS)
    next(reply.pieces)
    del reply
    gc.collect()
    wait_for(lambda: assistant.gauges()["cancelled"] == 1)
    assert assistant.gauges()["running"] == 0


def test_a_full_queue_refuses_before_the_router_works(assistant):
    with pytest.raises(Busy):
        assistant.reply(ASK, "no such expert, and nobody looks", Sampling(num_answers=3))


def test_closing(assistant):
    reply = assistant.reply(ASK, AUTO, ENDLESS)
    assert assistant.is_ready()
    assert assistant.close(0) == 1
    assert not assistant.is_ready()
    with pytest.raises(Closing):
        list(reply.pieces)
    with pytest.raises(Closing):
        assistant.reply(ASK)


def test_a_schema_that_cannot_be_followed_is_refused_at_once(assistant):
    with pytest.raises(UserError, match="JSON schema"):
        assistant.reply(ASK, AUTO, Sampling(json_schema='{"type": "nothing"}'))
    reply = assistant.reply(ASK, AUTO, Sampling(json_schema='{"enum": ["yes"]}', max_tokens=20))
    assert "".join(piece.text for piece in reply.pieces) == '"yes"'


def test_what_is_tool_shaped_goes_to_the_tools_expert_and_nothing_else_does():
    class Backend:
        experts = ("toy/structured", "tools/calls", "general")

        def check_room(self, client, num_answers):
            """There is always room."""

        def start(self, messages, expert, sampling, client):
            return Answer(0)

    tools = json.dumps([{"type": "function", "function": {"name": "rate"}}])
    words = Keywords({"kettle": "tools/calls"}, Backend.experts)
    local = LocalAssistant(Backend(), Router(words, "words", 0.5, tools="tools/calls"))
    asked = (Message("user", "Calculate 5% of 80."),)
    assert (local.route(asked).expert, local.route(asked).strategy) == ("tools/calls", "calculation")
    assert local.route(asked, "general").expert == "general"
    assert local.reply(ASK, AUTO, Sampling(tools=tools)).route.expert == "tools/calls"
    assert local.reply(ASK, "general", Sampling(tools=tools)).route.expert == "general"
    assert local.route(ASK).expert == "tools/calls"
    assert local.reply(ASK).route.expert != "tools/calls"
