"""How fast an endpoint is asked and how much: one pause that all requests share, and a budget of calls and tokens."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

FIRST_PAUSE_SECONDS = 0.5
MAX_PAUSE_SECONDS = 60.0


class Refused(Exception):
    """The endpoint is there but did not serve this one request (too long, filtered, overloaded, unknown option).

    `for_now`: the same request may be served later, in `after_seconds` where the endpoint said so.
    """

    def __init__(self, reason: str, for_now: bool = False, after_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.for_now, self.after_seconds = for_now, after_seconds


class Spent(Refused):
    """The budget is used up; nothing more is asked."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, for_now=True)


@dataclass
class Pace:
    """A pause that holds for every worker: when one is told to slow down, all of them wait."""

    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    resume_at: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def wait(self) -> None:
        """Sleep until the pause is over."""
        with self.lock:
            seconds = self.resume_at - self.clock()
        if seconds > 0:
            self.sleep(seconds)

    def back_off(self, seconds: float) -> None:
        """Let nobody ask for so long; a longer pause that holds already stays."""
        with self.lock:
            self.resume_at = max(self.resume_at, self.clock() + seconds)


@dataclass
class Budget:
    """At most so many requests and tokens (prompt and reply together); 0 = no limit. Every try of a request counts.

    Tokens are known after a reply, so requests that are already under way may pass the limit.
    """

    max_calls: int = 0
    max_tokens: int = 0
    calls: int = 0
    tokens: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def take(self) -> None:
        """Count one request, or raise `Spent`."""
        with self.lock:
            if self.max_calls and self.calls >= self.max_calls:
                raise Spent(f"the budget of {self.max_calls} calls is spent")
            if self.max_tokens and self.tokens >= self.max_tokens:
                raise Spent(f"the budget of {self.max_tokens} tokens is spent")
            self.calls += 1

    def add_tokens(self, tokens: int) -> None:
        """Count the tokens of a reply."""
        with self.lock:
            self.tokens += tokens


def pause_seconds(headers: Mapping[str, str], attempt: int) -> float:
    """How long to wait after try number `attempt` (from 0): what the endpoint asks for, else doubling with jitter."""
    asked = retry_after_seconds(headers)
    if asked is not None:
        return min(asked, MAX_PAUSE_SECONDS)
    return float(min(FIRST_PAUSE_SECONDS * 2**attempt, MAX_PAUSE_SECONDS) * random.uniform(0.75, 1.25))


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """The Retry-After header (RFC 9110, 10.2.3) in seconds, given as a number or a date; None without a usable one."""
    text = (headers.get("retry-after") or "").strip()
    try:
        seconds = float(text)
    except ValueError:
        seconds = seconds_until(text)
    return seconds if 0 <= seconds < float("inf") else None


def seconds_until(date: str) -> float:
    """Seconds from now to an HTTP date, 0 for one that has passed, -1 for a text that is no date."""
    try:
        moment = parsedate_to_datetime(date)
    except ValueError:
        return -1.0
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (aware - datetime.now(UTC)).total_seconds())
