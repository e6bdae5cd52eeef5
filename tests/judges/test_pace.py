"""The shared pause, Retry-After and the budget."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from judges.endpoint import Endpoint
from judges.pace import Budget, Pace, Refused, Spent, pause_seconds, retry_after_seconds
from tests.fakes_judges import Body, failed, said, scripted_endpoint

HELLO = [{"role": "user", "content": "Hello"}]


def test_all_workers_wait_for_the_longest_pause():
    """At second 10 one worker is told to pause 5 s, another 2 s: both wait until second 15."""
    now, slept = [10.0], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    pace = Pace(sleep, lambda: now[0])
    pace.wait()
    pace.back_off(5.0)
    pace.back_off(2.0)
    pace.wait()
    pace.wait()
    assert slept == [5.0]


def test_retry_after_is_a_number_or_a_date():
    assert retry_after_seconds({"retry-after": " 7 "}) == 7.0
    later = datetime.now(UTC) + timedelta(seconds=100)
    assert retry_after_seconds({"retry-after": format_datetime(later, usegmt=True)}) == pytest.approx(100, abs=3)
    past = datetime.now(UTC) - timedelta(hours=1)
    assert retry_after_seconds({"retry-after": format_datetime(past, usegmt=True)}) == 0.0
    for useless in ({}, {"retry-after": ""}, {"retry-after": "soon"}, {"retry-after": "-3"}, {"retry-after": "inf"}):
        assert retry_after_seconds(useless) is None


def test_without_it_the_pause_doubles_up_to_a_limit():
    """0.5, 1, 2, ... seconds, each with a quarter of jitter; never over 60 s, and 75 s with it."""
    for attempt, seconds in enumerate((0.5, 1.0, 2.0, 4.0)):
        assert 0.75 * seconds <= pause_seconds({}, attempt) <= 1.25 * seconds
    assert pause_seconds({}, 50) <= 75.0
    assert pause_seconds({"retry-after": "86400"}, 0) == 60.0


def quick(url: str, waits: list[float], **settings: int) -> Endpoint:
    """An endpoint whose pauses are noted and not slept."""
    budget = Budget(**{key: settings.pop(key) for key in ("max_calls", "max_tokens") if key in settings})
    now = [0.0]

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        now[0] += seconds

    return Endpoint(url, "m", retries=settings.get("retries", 2), pace=Pace(sleep, lambda: now[0]), budget=budget)


def test_overload_is_retried_after_the_time_that_the_endpoint_asks_for():
    replies = iter([(*failed(429, "slow down"), {"Retry-After": "7"}), failed(503, "busy"), said("hi")])
    waits: list[float] = []
    with scripted_endpoint(lambda body: next(replies)) as server:
        endpoint = quick(server.url, waits)
        with endpoint.open() as client:
            assert endpoint.complete(client, HELLO).text == "hi"
    assert waits[0] == 7.0
    assert 0.75 <= waits[1] <= 1.25
    assert endpoint.budget.calls == 3


def test_tries_are_bounded_and_what_is_left_is_refused_for_now():
    with scripted_endpoint(lambda body: failed(429, "slow down")) as server:
        endpoint = quick(server.url, [], retries=3)
        with endpoint.open() as client, pytest.raises(Refused, match="slow down") as refusal:
            endpoint.complete(client, HELLO)
    assert refusal.value.for_now
    assert len(server.requests) == 4


def test_a_bad_request_is_not_retried():
    with scripted_endpoint(lambda body: failed(400, "too long")) as server:
        endpoint = quick(server.url, [])
        with endpoint.open() as client, pytest.raises(Refused, match="too long") as refusal:
            endpoint.complete(client, HELLO)
    assert not refusal.value.for_now
    assert len(server.requests) == 1


def test_options_that_a_model_does_not_know_are_changed_once():
    """Reasoning models refuse `temperature` and know `max_tokens` under a newer name."""

    def script(body: Body) -> tuple[int, Body]:
        wrong = next((name for name in ("temperature", "max_tokens") if name in body), None)
        return failed(400, "unsupported", wrong) if wrong else said("hi")

    with scripted_endpoint(script) as server:
        endpoint = quick(server.url, [])
        with endpoint.open() as client:
            assert endpoint.complete(client, HELLO, max_tokens=9).text == "hi"
    assert server.requests[-1]["max_completion_tokens"] == 9
    assert len(server.requests) == 3


def test_the_budget_stops_requests():
    budget = Budget(max_calls=2)
    budget.take()
    budget.take()
    with pytest.raises(Spent, match="2 calls"):
        budget.take()
    tokens = Budget(max_tokens=10)
    tokens.take()
    tokens.add_tokens(10)
    with pytest.raises(Spent, match="10 tokens"):
        tokens.take()
    unlimited = Budget()
    for _ in range(100):
        unlimited.take()


def test_tokens_are_counted_by_characters_when_the_endpoint_does_not_say():
    """5 characters asked and 10 said, 4 a token, rounded up: 4."""
    with scripted_endpoint(lambda body: said("0123456789")) as server:
        endpoint = quick(server.url, [])
        with endpoint.open() as client:
            endpoint.complete(client, HELLO)
    assert endpoint.budget.tokens == 4
