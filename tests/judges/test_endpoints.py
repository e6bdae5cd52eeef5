"""Several endpoints as one: the least loaded is asked, one that dies is taken out, no row is lost or doubled."""

import subprocess
import sys
import threading
from collections import Counter

import pytest

from domains.errors import UserError
from domains.example import Message
from experts.answers import Answerer, AnswerStore, Decoding
from experts.remote import RemoteModel
from judges.endpoint import Budget, Endpoint, Refused, Spent
from judges.endpoints import Endpoints, endpoints_of
from judges.pace import Pace
from tests.fakes_judges import failed, said, scripted_endpoint

PROMPTS = [(Message("user", f"Question {i}?"),) for i in range(40)]
DECODING = Decoding(7, 4)
DEAD = "http://127.0.0.1:9/v1"  # nothing listens on the discard port of this machine


def pool(*urls, **settings):
    settings = {"retries": 0, "concurrency": 2, "timeout_seconds": 5.0} | settings
    return Endpoints(tuple(Endpoint(url, "m1", **settings) for url in urls), retries=1)


def asked(body):
    return body["messages"][-1]["content"]


def answers_of(found, folder, prompts=PROMPTS):
    return Answerer(RemoteModel(found), AnswerStore.open(folder / "a.jsonl"))(prompts, DECODING)


def ask(found, text="Hello"):
    with found.open() as clients:
        return found.complete(clients, [{"role": "user", "content": text}])


def told(name, *waits):
    """A script that answers with the endpoint's name; it waits for all of some events first."""

    def script(body):
        for event in waits:
            assert event.wait(5)
        return said(f"{name}: {asked(body)}")

    return script


def test_both_are_asked_and_the_rows_are_in_order(tmp_path):
    with scripted_endpoint(told("a")) as first, scripted_endpoint(told("b")) as second:
        answers = answers_of(pool(first.url, second.url), tmp_path)
    assert [answer.text.partition(": ")[2] for answer in answers] == [asked_of(prompt) for prompt in PROMPTS]
    assert min(len(first.requests), len(second.requests)) > 0
    assert len(first.requests) + len(second.requests) == len(PROMPTS)


def asked_of(prompt):
    return prompt[0].content


def test_the_least_loaded_is_asked(tmp_path):
    """The first takes two requests and keeps them until the second has had the other 38."""
    go_on = threading.Event()
    count = Counter()

    def fast(body):
        count["fast"] += 1
        if count["fast"] == 38:
            go_on.set()
        return said("b")

    with scripted_endpoint(told("a", go_on)) as first, scripted_endpoint(fast) as second:
        answers_of(pool(first.url, second.url), tmp_path)
        assert (len(first.requests), len(second.requests)) == (2, 38)


SERVER = """
import sys
from tests.fakes_judges import said, scripted_endpoint
with scripted_endpoint(lambda body: said("from " + sys.argv[1])) as endpoint:
    print(endpoint.url, flush=True)
    sys.stdin.read()
"""


def server(name):
    return subprocess.Popen(
        [sys.executable, "-c", SERVER, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_one_of_two_servers_is_killed_in_the_middle(tmp_path):
    """Two processes; one gets the signal that cannot be caught once ten answers are kept. Every row is there once, from
    both servers, and those that the dead one owed come from the other."""
    first, second = server("first"), server("second")
    try:
        found = pool(first.stdout.readline().strip(), second.stdout.readline().strip())
        store = AnswerStore.open(tmp_path / "a.jsonl")
        kept = []

        class Killing(RemoteModel):
            def answer(self, prompts, decoding, keep):
                def keep_and_kill(place, answer):
                    kept.append(place)
                    keep(place, answer)
                    if len(kept) >= 10 and first.poll() is None:  # several threads: the count may jump over ten
                        first.kill()
                        first.wait()

                super().answer(prompts, decoding, keep_and_kill)

        answers = Answerer(Killing(found), store)(PROMPTS, DECODING)
    finally:
        for process in (first, second):
            process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()
    assert sorted(kept) == list(range(len(PROMPTS)))
    assert all(answer.failure == "" for answer in answers)
    assert {answer.text for answer in answers} == {"from first", "from second"}
    assert found.load.strikes[0] > 0
    lines = (tmp_path / "a.jsonl").read_text().splitlines()
    assert len(lines) == len(PROMPTS)


def test_without_any_that_works_it_is_a_user_error(tmp_path, caplog):
    with pytest.raises(UserError, match="cannot be reached"):
        answers_of(pool(DEAD, "http://127.0.0.1:19/v1"), tmp_path)
    assert len([r for r in caplog.records if "0 are left" in r.message]) == 1


def test_a_dead_endpoint_is_taken_out_at_the_third_strike(caplog):
    """Failures at the same time are one strike; the other endpoint answers all along; a success begins anew."""
    with scripted_endpoint(told("b")) as second:
        now = [0.0]
        paused = Pace(sleep=lambda seconds: None, clock=lambda: now[0])
        dead = Endpoint(DEAD, "m1", retries=0, pace=paused)
        found = Endpoints((dead, Endpoint(second.url, "m1", retries=0)))
        for strikes, seconds in ((1, 0), (1, 0), (2, 100), (2, 0), (3, 100)):
            now[0] += seconds
            assert ask(found).text == "b: Hello"
            assert found.load.strikes[0] == strikes
        assert list(found.load.out) == [0]
        assert "asked no more; 1 are left" in caplog.text
        found.load.strikes[1] = 2
        assert ask(found).text == "b: Hello"
        assert found.load.strikes[1] == 0


def test_an_overloaded_endpoint_is_left_alone_and_the_other_serves():
    """429 with Retry-After 30: the row goes to the other at once, and so do the next ones."""
    busy = {"retry-after": "30"}
    with (
        scripted_endpoint(lambda body: (*failed(429, "busy"), busy)) as first,
        scripted_endpoint(told("b")) as second,
    ):
        found = pool(first.url, second.url)
        assert [ask(found).text for _ in range(4)] == ["b: Hello"] * 4
    assert len(first.requests) == 1
    assert found.load.out == {}


def test_what_every_endpoint_refuses_for_now_is_refused():
    """One retry: each is asked twice."""
    with scripted_endpoint(lambda body: failed(503, "busy")) as first, scripted_endpoint(told("b")) as second:
        found = pool(first.url, second.url)
        assert ask(found).text == "b: Hello"
    with (
        scripted_endpoint(lambda body: failed(503, "busy")) as first,
        scripted_endpoint(lambda body: failed(500, "broken")) as second,
    ):
        found = pool(first.url, second.url)
        with pytest.raises(Refused) as refused:
            ask(found)
        assert refused.value.for_now
        assert (len(first.requests), len(second.requests)) == (2, 2)


def test_a_request_that_is_wrong_is_asked_once():
    with scripted_endpoint(lambda body: failed(400, "too long")) as first, scripted_endpoint(told("b")) as second:
        with pytest.raises(Refused, match="too long"):
            ask(pool(first.url, second.url))
        assert (len(first.requests), len(second.requests)) == (1, 0)


def test_a_spent_budget_is_not_asked_elsewhere():
    with scripted_endpoint(told("a")) as first, scripted_endpoint(told("b")) as second:
        found = Endpoints((Endpoint(first.url, "m1", budget=Budget(max_calls=1, calls=1)), Endpoint(second.url, "m1")))
        with pytest.raises(Spent):
            ask(found)
        assert second.requests == []


def test_one_that_does_not_have_the_model_is_taken_out(caplog):
    with scripted_endpoint(lambda body: failed(404, "no model")) as first, scripted_endpoint(told("b")) as second:
        found = pool(first.url, second.url)
        assert [ask(found).text for _ in range(2)] == ["b: Hello"] * 2
        assert len(first.requests) == 1
    assert "refused model 'm1'" in caplog.text


SLOW = [(Message("user", f"Slow {i}?"),) for i in range(2)]


@pytest.fixture
def slow_script():
    """Answers, but not what is slow; until the end of the test."""
    over = threading.Event()

    def script(body):
        if asked(body).startswith("Slow"):
            over.wait(20)
        return said("in time")

    yield script
    over.set()


def test_requests_that_are_always_late_fail_alone(tmp_path, slow_script):
    """One retry: each slow prompt is asked twice, between the others and again when they are done, and then it is
    `failed`; no endpoint is taken out."""
    together = threading.Barrier(2)

    def script(body):
        if asked(body) in {"Question 0?", "Question 1?"}:  # at a time, so that both endpoints reply
            together.wait(5)
        return slow_script(body)

    with scripted_endpoint(script) as first, scripted_endpoint(script) as second:
        found = pool(first.url, second.url, timeout_seconds=0.5)
        answers_of(found, tmp_path, PROMPTS[:2])
        answers = answers_of(found, tmp_path, [*SLOW, *PROMPTS[2:20]])
        assert ["within 0.5 s" in answer.failure for answer in answers] == [True] * 2 + [False] * 18
        assert all("refused" in answer.failure for answer in answers_of(found, tmp_path, SLOW))
        assert found.load.out == {}
        slow = [asked(body) for body in (*first.requests, *second.requests) if asked(body).startswith("Slow")]
        assert Counter(slow) == {"Slow 0?": 4, "Slow 1?": 4}
        assert ask(found).text == "in time"


def test_one_endpoint_that_serves_others_refuses_what_is_late(slow_script):
    """Two late requests in a row are theirs, the third is the endpoint's; a reply begins anew. An endpoint that has
    never replied is to blame at once."""
    with scripted_endpoint(slow_script) as server:
        found = Endpoint(server.url, "m1", retries=0, timeout_seconds=0.5)
        for _ in range(2):
            assert ask(found).text == "in time"
            for _ in range(2):
                with pytest.raises(Refused, match="within 0.5 s") as refused:
                    ask(found, "Slow?")
                assert refused.value.for_now
        with pytest.raises(UserError, match="within 0.5 s"):
            ask(found, "Slow?")
        with pytest.raises(UserError, match="within 0.5 s"):
            ask(Endpoint(server.url, "m1", retries=0, timeout_seconds=0.5), "Slow?")


def test_urls_of_the_command_line():
    one = endpoints_of("http://a/v1", "m", "KEY")
    two = endpoints_of("http://a/v1, http://b/v1", "m", "KEY")
    assert isinstance(one, Endpoint)
    assert [member.url for member in two.members] == ["http://a/v1", "http://b/v1"]
    assert (two.url, two.model_name, two.concurrency) == ("http://a/v1", "m", 2 * one.concurrency)
    assert RemoteModel(one).digest == RemoteModel(two).digest
    for wrong in ("http://a/v1,http://a/v1", "http://a/v1,"):
        with pytest.raises(UserError, match="twice, or none"):
            endpoints_of(wrong, "m", "KEY")
