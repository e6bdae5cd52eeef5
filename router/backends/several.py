"""Several servers with the same experts as one back-end: each answer comes from the least loaded of them.

One that fails is left alone for a while. An answer that it had not begun is asked of another one; of one that was begun
the reader is told, because its words are out.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from domains.errors import UserError
from domains.example import Message
from router.assistant import Answer, BackendFailed, Busy, Closing, Sampling, TimedOut
from router.backends.backend import Backend
from router.backends.openai_server import connect
from router.scheduler import Limits

REST_SECONDS = 30.0
FAILURES = (BackendFailed, Busy, TimedOut)


@dataclass(frozen=True)
class Asked:
    """One request."""

    messages: Sequence[Message]
    expert: str
    sampling: Sampling
    client: str


@dataclass
class Several:
    """The servers; `resting` has until when each is left alone. One more thread per running answer."""

    servers: tuple[Backend, ...]
    under_way: Counter[int] = field(default_factory=Counter)
    resting: dict[int, float] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def experts(self) -> tuple[str, ...]:
        """Names of the experts."""
        return self.servers[0].experts

    def check_room(self, client: str, num_answers: int) -> None:
        """Refuse what no server has room for."""
        refused: Exception | None = None
        for server in self.servers:
            try:
                return server.check_room(client, num_answers)
            except (Busy, Closing) as error:
                refused = error
        raise refused or Busy("There is no server.")

    def start(self, messages: Sequence[Message], expert: str, sampling: Sampling, client: str) -> Answer:
        """Begin an answer; what goes wrong with it is told by the answer."""
        self.check_room(client, sampling.num_answers)
        answer = Answer(sampling.num_answers)
        asked = Asked(messages, expert, sampling, client)
        threading.Thread(target=self.fetch, args=(answer, asked), name="several", daemon=True).start()
        return answer

    def fetch(self, answer: Answer, asked: Asked) -> None:
        """Try the servers until one begins; then it is that one's answer."""
        tried: set[int] = set()
        while True:
            place = self.take(tried)
            tried.add(place)
            try:
                failure = self.pass_on(answer, self.servers[place], asked)
            finally:
                with self.lock:
                    self.under_way[place] -= 1
            if failure is None:
                return
            if isinstance(failure, BackendFailed):
                self.resting[place] = time.monotonic() + REST_SECONDS
            if len(tried) == len(self.servers) or answer.closed:
                answer.fail(failure)
                return

    def take(self, tried: set[int]) -> int:
        """The least loaded server that was not tried; one that rests only when all do."""
        now = time.monotonic()
        with self.lock:
            left = [place for place in range(len(self.servers)) if place not in tried]
            best = min(left, key=lambda place: (self.resting.get(place, 0.0) > now, self.under_way[place]))
            self.under_way[best] += 1
        return best

    def pass_on(self, answer: Answer, server: Backend, asked: Asked) -> Exception | None:
        """Pass on the pieces of one server; its failure before the first of them is returned."""
        begun = False
        try:
            pieces = server.start(asked.messages, asked.expert, asked.sampling, asked.client)
            for piece in pieces:
                if answer.closed:
                    pieces.close()
                    return None
                answer.put(piece)
                begun = True
        except FAILURES as error:
            if not begun:
                return error
            answer.fail(error)
        except (UserError, Closing) as error:
            answer.fail(error)
        return None

    def rewards(self, messages: Sequence[Message], expert: str, answers: Sequence[str]) -> list[float]:
        """As the first server."""
        return self.servers[0].rewards(messages, expert, answers)

    def digest(self, expert: str) -> str:
        """Nobody says which weights a server of another kind has."""
        return ""

    def gauges(self) -> dict[str, float]:
        """The sums, and how many servers rest."""
        found: Counter[str] = Counter()
        for server in self.servers:
            found.update(server.gauges())
        now = time.monotonic()
        return {**found, "resting": float(sum(until > now for until in self.resting.values()))}

    def is_ready(self) -> bool:
        """Whether one server answers."""
        return any(server.is_ready() for server in self.servers)

    def close(self, seconds: float) -> int:
        """Close all; they share the time."""
        deadline = time.monotonic() + seconds
        return sum(server.close(max(0.0, deadline - time.monotonic())) for server in self.servers)


def connect_all(urls: str, key: str | None, experts: Sequence[str], limits: Limits | None = None) -> Backend:
    """The server of a URL, or those of several, comma-separated; each must have all experts."""
    found = [url.strip() for url in urls.split(",")]
    if not all(found) or len(set(found)) < len(found):
        raise UserError(f"--backend {urls} names a server twice, or none between two commas. Give each URL once.")
    servers = tuple(connect(url, key, experts, limits) for url in found)
    return servers[0] if len(servers) == 1 else Several(servers)
