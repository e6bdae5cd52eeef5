"""Answers as they are written, of one or several experts at once, with a tick while nothing comes; and the line of
questions that are being answered.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import GeneratorType
from typing import Self

from domains.errors import UserError
from router.assistant import Piece, Reply
from router.route import Route

TICK_SECONDS = 1.0
MAX_IN_LINE = 24


@dataclass(frozen=True)
class Event:
    """What came of answer `place`: its routing decision, then its pieces; `end` once."""

    place: int
    route: Route | None = None
    piece: Piece | None = None
    end: bool = False


class Streams:
    """Reads answers in threads of their own, so that who shows them never waits in vain. Leaving the context ends
    them all; an answer that is busy ends at its next piece."""

    def __init__(self, tick_seconds: float = TICK_SECONDS) -> None:
        self.tick_seconds = tick_seconds
        self.events: queue.SimpleQueue[Event | Exception] = queue.SimpleQueue()
        self.num_open = 0
        self.closed = threading.Event()
        self.replies: list[Reply] = []

    def __enter__(self) -> Self:
        """Streams are for one `with`."""
        return self

    def __exit__(self, *error: object) -> None:
        """End the answers. A generator is closed by the thread that runs it, anything else from here."""
        self.closed.set()
        for reply in self.replies:
            close = getattr(reply.pieces, "close", None)
            if close is not None and not isinstance(reply.pieces, GeneratorType):
                close()

    def start(self, place: int, ask: Callable[[], Reply]) -> None:
        """Begin an answer."""
        self.num_open += 1
        threading.Thread(target=self.read, args=(place, ask), daemon=True, name=f"answer-{place}").start()

    def read(self, place: int, ask: Callable[[], Reply]) -> None:
        """The body of a thread."""
        try:
            reply = ask()
            self.replies.append(reply)
            self.events.put(Event(place, route=reply.route))
            while not self.closed.is_set() and (piece := next(reply.pieces, None)) is not None:
                self.events.put(Event(place, piece=piece))
            if isinstance(reply.pieces, GeneratorType):
                reply.pieces.close()
            self.events.put(Event(place, end=True))
        except Exception as error:  # it is the reader's
            self.events.put(error)

    def __iter__(self) -> Iterator[Event | None]:
        """Events of all answers as they come, None after each second without one; an answer's error is raised here."""
        while self.num_open:
            try:
                event = self.events.get(timeout=self.tick_seconds)
            except queue.Empty:
                yield None
                continue
            if isinstance(event, Exception):
                raise event
            self.num_open -= event.end
            yield event


@dataclass
class Line:
    """Questions that are being answered, in order of arrival, of all readers of the page."""

    room: int = MAX_IN_LINE
    tickets: list[object] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def place(self) -> Iterator[Callable[[], int]]:
        """Stand in line; inside, the number of questions before this one can be asked for."""
        ticket = object()
        with self.lock:
            if len(self.tickets) >= self.room:
                raise UserError(
                    f"{len(self.tickets)} questions are being answered now, and no more can wait. "
                    "Your question is still in its box: please ask again in a minute."
                )
            self.tickets.append(ticket)
        try:
            yield lambda: self.before(ticket)
        finally:
            with self.lock:
                self.tickets.remove(ticket)

    def before(self, ticket: object) -> int:
        """How many came before."""
        with self.lock:
            return self.tickets.index(ticket)
