"""A bounded load on a running service: clients that stream, wait, read slowly, leave early or send nonsense, at once.

Nothing may be lost: every request gets a whole answer or a refusal, except where its client left.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np

KINDS = {"stream": 45, "plain": 25, "slow": 10, "leave": 10, "malformed": 10}
SLOW_SECONDS = 0.05
CONTEXT = "This has gone on for a while, and here is what was said so far. "
REPEATS = {0: 6, 4: 3, 20: 1}  # how often the context comes before a question, and how often that is asked
QUESTIONS = (
    "My escrow payment went up by $180 a month. What can I do?",
    "My mother refuses to bathe and gets angry when I insist.",
    "Which label fits: application, closing, escrow, payment? The servicer says my June check never came.",
    "What is a good way to keep a diary?",
)
NONSENSE = (b"{", b"[]", b'{"model": 5}', b'{"model": "auto", "messages": []}', b"\xff\xfe", b'{"model": "nobody"}')


@dataclass(frozen=True)
class Plan:
    """How many clients ask for how long; each answer has at most `max_tokens`.
    `kinds` are the weights of the ways to ask, and each client asks `at_least` so often, whatever the time. With
    several keys, separated by spaces, the last client has the last key for itself and the others share the first: a
    fair service keeps no queue for it. A slow reader reads nothing for `stall_seconds` once it has seen a word."""

    seconds: float = 20.0
    clients: int = 16
    max_tokens: int = 48
    at_least: int = 1
    seed: int = 0
    key: str | None = None
    stall_seconds: float = 2.0
    kinds: Mapping[str, int] = field(default_factory=lambda: KINDS)


@dataclass
class Tally:
    """What came of the requests: `completed`, `refused` (with a status that says why), `reported` (an error told in a
    stream), `left` by their client, `malformed` and told so, `broken` (the connection ended), `lost` (none of these).
    Times in seconds."""

    outcomes: Counter[str] = field(default_factory=Counter)
    first: list[float] = field(default_factory=list)
    first_alone: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    tokens: int = 0
    seconds: float = 0.0

    def row(self) -> dict[str, Any]:
        """The numbers, in milliseconds."""
        counts = {name: self.outcomes[name] for name in ("completed", "refused", "reported", "left", "malformed")}
        times = {"time_to_first_token": self.first, "per_token": self.gaps}
        times |= {"time_to_first_token_alone": self.first_alone} if self.first_alone else {}
        found = {
            f"{name}_p{share}_ms": round(1000 * float(np.percentile(values, share)), 1) if values else None
            for name, values in times.items()
            for share in (50, 95)
        }
        rate = {"requests_per_second": self.outcomes.total(), "tokens_per_second": self.tokens}
        rates = {name: round(value / self.seconds, 2) if self.seconds else None for name, value in rate.items()}
        return {"requests": self.outcomes.total(), **counts, "broken": self.outcomes["broken"],
                "lost": self.outcomes["lost"], **found, **rates}  # fmt: skip


def run_load(url: str, plan: Plan) -> Tally:
    """Load a service for a while; returns when every request has ended. `url` ends without /v1."""
    return asyncio.run(load(url, plan))


async def load(url: str, plan: Plan) -> Tally:
    """All clients at once."""
    tally = Tally()
    started = time.monotonic()
    limits = httpx.Limits(max_connections=2 * plan.clients)
    async with httpx.AsyncClient(base_url=url, timeout=300, limits=limits) as client:
        asking = [
            Client(client, plan, random.Random(plan.seed + i), tally, headers_of(plan, i)) for i in range(plan.clients)
        ]
        await asyncio.gather(*(each.ask_until(started + plan.seconds) for each in asking))
    tally.seconds = time.monotonic() - started
    return tally


def headers_of(plan: Plan, client: int) -> dict[str, str]:
    """The key of a client."""
    keys = (plan.key or "").split()
    return {"Authorization": f"Bearer {keys[-1 if client == plan.clients - 1 else 0]}"} if keys else {}


@dataclass(frozen=True)
class Client:
    """One client: asks, and asks again."""

    http: httpx.AsyncClient
    plan: Plan
    chance: random.Random
    tally: Tally
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def first_times(self) -> list[float]:
        """Where its times to the first token go; those of the client with a key for itself stand apart."""
        alone = bool(self.headers) and self.headers != headers_of(self.plan, -1)
        return self.tally.first_alone if alone else self.tally.first

    async def ask_until(self, deadline: float) -> None:
        """Ask until the time is over; a refusal is waited out, shortly."""
        asks: dict[str, Callable[[], Awaitable[str]]] = {
            "stream": self.stream,
            "plain": self.plain,
            "slow": lambda: self.stream(pause=SLOW_SECONDS),
            "leave": lambda: self.stream(leave=True),
            "malformed": self.malformed,
        }
        count = 0
        while time.monotonic() < deadline or count < self.plan.at_least:
            count += 1
            (kind,) = self.chance.choices(list(self.plan.kinds), list(self.plan.kinds.values()))
            try:
                outcome = await asks[kind]()
            except httpx.TransportError:
                outcome = "broken"
            self.tally.outcomes[outcome] += 1
            if outcome in ("refused", "broken"):
                await asyncio.sleep(0.2 + 0.3 * self.chance.random())

    def body(self, stream: bool) -> dict[str, Any]:
        """A request that is answered."""
        (repeats,) = self.chance.choices(list(REPEATS), list(REPEATS.values()))
        messages = [{"role": "user", "content": CONTEXT * repeats + self.chance.choice(QUESTIONS)}]
        return {"model": "auto", "messages": messages, "max_tokens": self.plan.max_tokens, "stream": stream}

    async def plain(self) -> str:
        """Wait for the whole answer."""
        response = await self.http.post("/v1/chat/completions", json=self.body(False), headers=self.headers)
        if response.status_code != 200:
            return refused(response.status_code)
        answer = response.json()
        self.tally.tokens += answer["usage"]["completion_tokens"]
        return "completed" if answer["choices"][0]["finish_reason"] else "lost"

    async def stream(self, pause: float = 0.0, leave: bool = False) -> str:
        """Read the answer as it comes, perhaps slowly, perhaps not to its end."""
        started = time.monotonic()
        body, headers = self.body(True), self.headers
        async with self.http.stream("POST", "/v1/chat/completions", json=body, headers=headers) as response:
            if response.status_code != 200:
                return refused(response.status_code)
            seen = 0
            async for event in events(response):
                if event == "[DONE]":
                    return "completed"
                now, seen, ended = time.monotonic(), seen + has_text(event), is_error(event)
                if ended:
                    return "reported"
                if leave and seen:
                    return "left"
                if has_text(event) and not pause:
                    (self.tally.gaps if seen > 1 else self.first_times).append(now - started)
                    started = now
                self.tally.tokens += has_text(event)
                await asyncio.sleep(self.plan.stall_seconds if pause and seen == 1 and has_text(event) else pause)
        return "lost"

    async def malformed(self) -> str:
        """Send nonsense; it must be refused."""
        nonsense = self.chance.choice(NONSENSE)
        response = await self.http.post("/v1/chat/completions", content=nonsense, headers=self.headers)
        if response.status_code in (429, 503):
            return "refused"
        return "malformed" if 400 <= response.status_code < 500 else "lost"


def refused(status: int) -> str:
    """Whether a status is a refusal that says when or why, or a failure."""
    return "refused" if status in (429, 503, 504) else "lost"


async def events(response: httpx.Response) -> AsyncIterator[str]:
    """The data of server-sent events."""
    async for line in response.aiter_lines():
        if line.startswith("data: "):
            yield line.removeprefix("data: ")


def has_text(event: str) -> bool:
    """Whether an event brings text of the answer."""
    choices = json.loads(event).get("choices") or [{}]
    return bool(choices[0].get("delta", {}).get("content"))


def is_error(event: str) -> bool:
    """Whether an event tells an error."""
    return "error" in json.loads(event)
