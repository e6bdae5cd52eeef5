"""Several servers as one back-end: services of ours over scripted assistants, one of them killed in the middle."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager

import pytest

from domains.errors import UserError
from domains.example import Message
from router.assistant import BackendFailed, Busy, Closing, Sampling
from router.backends.several import Several, connect_all
from tests.fakes_assistant import EXPERTS, ScriptedAssistant
from tests.ui.test_service import running

CARE = (Message("user", "My mother wanders at night."),)
SLOW = """
import sys, time
from tests.fakes_assistant import ScriptedAssistant
from tests.ui.test_service import running
with running(ScriptedAssistant(delay_seconds=0.02, words=[sys.argv[1]] * 10)) as up:
    print(up.url, flush=True)
    sys.stdin.read()
"""


@contextmanager
def process(name):
    """A service in a process of its own, which can be killed."""
    started = subprocess.Popen(
        [sys.executable, "-c", SLOW, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        started.url = started.stdout.readline().strip()
        yield started
    finally:
        started.kill()
        started.wait()
        started.stdin.close()
        started.stdout.close()


def closed(made):
    for server in made.servers:
        server.client.close()


def text_of(answer):
    return "".join(piece.text for piece in answer)


def both(first, second):
    return connect_all(f"{first.url}/v1,{second.url}/v1", None, EXPERTS)


def test_answers_come_from_both():
    with running(ScriptedAssistant(words=["one"])) as first, running(ScriptedAssistant(words=["two"])) as second:
        made = both(first, second)
        assert made.experts == EXPERTS
        with first.assistant.speaking, second.assistant.speaking:
            answers = [made.start(CARE, "general", Sampling(), "") for _ in range(6)]
            while made.gauges()["running"] < 6:
                pass
            assert [made.under_way[place] for place in range(2)] == [3, 3]
        assert sorted(map(text_of, answers)) == ["general says: one"] * 3 + ["general says: two"] * 3
        closed(made)


def test_a_server_that_is_killed_loses_no_answer():
    """Twelve answers of two servers, the first of which is killed while it speaks: each ends whole, from one server
    alone, or says that its server failed after its first words. From then on the other one answers all."""
    with process("one") as first, process("two") as second:
        made = both(first, second)
        answers = [made.start(CARE, "general", Sampling(), "") for _ in range(12)]
        begun = next(answers[0])
        first.kill()
        first.wait()
        whole, told = [], 0
        for place, answer in enumerate(answers):
            try:
                whole.append((begun.text if place == 0 else "") + text_of(answer))
            except BackendFailed:
                told += 1
        assert len(whole) + told == 12
        assert {text for text in whole} <= {"general says: " + " ".join([name] * 10) for name in ("one", "two")}
        assert "two" in whole[-1]
        assert [text_of(made.start(CARE, "general", Sampling(), "")).count("two") for _ in range(4)] == [10] * 4
        assert made.gauges()["resting"] == 1
        assert made.is_ready()
        closed(made)


def test_a_busy_or_broken_server_is_passed_over():
    with running(ScriptedAssistant(words=["one"])) as first, running(ScriptedAssistant(words=["two"])) as second:
        made = both(first, second)
        first.assistant.busy = Busy("full", 7)
        assert [text_of(made.start(CARE, "general", Sampling(), "")) for _ in range(3)] == ["general says: two"] * 3
        assert made.gauges()["resting"] == 0
        second.assistant.busy = Busy("full", 7)
        with pytest.raises(Busy):
            text_of(made.start(CARE, "general", Sampling(), ""))
        first.assistant.busy = UserError("The conversation is too long.")
        second.assistant.busy = None
        made.under_way[1] = 5
        with pytest.raises(UserError, match="too long"):
            text_of(made.start(CARE, "general", Sampling(), ""))
        assert made.close(1) == 0
        with pytest.raises(Closing):
            made.start(CARE, "general", Sampling(), "")
        closed(made)


def test_urls_of_the_command_line():
    with running(ScriptedAssistant()) as up:
        url = f"{up.url}/v1"
        one = connect_all(url, None, EXPERTS)
        assert not isinstance(one, Several)
        one.client.close()
        for wrong in (f"{url},{url}", f"{url},"):
            with pytest.raises(UserError, match="twice, or none"):
                connect_all(wrong, None, EXPERTS)
