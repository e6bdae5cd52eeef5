"""Route, then answer: what the service, the chat page and `expertsmith ask` all call."""

from __future__ import annotations

import queue
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from domains.example import Message
from router.route import Route

AUTO = "auto"


@dataclass(frozen=True)
class Sampling:
    """How to answer: temperature 0 is greedy; `max_tokens` bounds the answer; `stop` are strings that end it.

    `num_answers` answers are generated (sampled ones with seeds seed, seed + 1, ...). `logprobs` is the number of
    alternatives to report with each token's log-probability, None for neither. `json_schema` is a schema, as JSON text,
    that the answer fits. `tools` are function declarations for the chat template, as JSON text; a call is required with
    `call_required`, and of one function with `call_only`; `parallel_calls` allows several in one answer.
    """

    max_tokens: int = 200
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    num_answers: int = 1
    logprobs: int | None = None
    json_schema: str | None = None
    tools: str | None = None
    call_required: bool = False
    call_only: str | None = None
    parallel_calls: bool = True


@dataclass(frozen=True)
class TokenLogprob:
    """A generated token, its log-probability (nats) and the most likely tokens at its place, best first."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Piece:
    """A piece of one of the answers (`choice`). Each answer's last has a `finish_reason` ("stop" or "length") and the
    token counts."""

    text: str
    finish_reason: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    choice: int = 0
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True)
class Reply:
    """The routing decision (made before the first token) and the answer as it is generated. Closing the pieces ends
    the generation."""

    route: Route
    pieces: Iterator[Piece]


class Busy(Exception):
    """More requests wait than are accepted; there may be room in `retry_after_seconds`."""

    def __init__(self, message: str, retry_after_seconds: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class TimedOut(Exception):
    """The answer was not finished in the time that a request gets."""


class Closing(Exception):
    """The assistant is shutting down and did not finish this answer."""


class BackendFailed(Exception):
    """Another server that generates the answers cannot be reached or failed."""


class Assistant(Protocol):
    """Answers conversations with the experts of a home folder. Thread-safe."""

    @property
    def experts(self) -> tuple[str, ...]:
        """Names that can be asked for, `general` among them (`auto` is accepted everywhere too)."""
        ...

    def route(self, messages: Sequence[Message], expert: str = AUTO) -> Route:
        """The router's choice, or the named expert (an unknown name is a UserError). Nothing is generated."""
        ...

    def check_room(self, client: str, num_answers: int) -> None:
        """Raise `Busy` when this many more answers of a client could not even wait; takes no time."""
        ...

    def routes(self, conversations: Sequence[Sequence[Message]]) -> list[Route]:
        """The router's choices for several conversations."""
        ...

    def answering(self, messages: Sequence[Message], expert: str, sampling: Sampling) -> Route:
        """Who `reply` would let answer: `auto` is the tools expert where functions may be called, and only there."""
        ...

    def reply(
        self, messages: Sequence[Message], expert: str = AUTO, sampling: Sampling | None = None, client: str = ""
    ) -> Reply:
        """Route and start the answer; clients share the machine equally. `Busy` when too many requests wait."""
        ...

    def rewards(self, messages: Sequence[Message], expert: str, answers: Sequence[str]) -> list[float]:
        """How good the expert's own preference head finds answers; a UserError where it has no head."""
        ...

    def digest(self, expert: str) -> str:
        """Which weights answer as an expert, or as `auto`; empty where this is not known."""
        ...

    def gauges(self) -> dict[str, float]:
        """Numbers for monitoring: what runs, waits and has been done."""
        ...

    def is_ready(self) -> bool:
        """Whether a request would be served now."""
        ...

    def close(self, seconds: float) -> int:
        """Accept nothing more, finish for at most `seconds`, tell the rest; returns how many answers were told."""
        ...


class Answer(Iterator[Piece]):
    """Pieces that one thread writes and another reads; `close` ends the answer from any thread.

    It holds at most one piece per generated token, so a slow reader holds up nobody.
    """

    def __init__(self, num_choices: int = 1) -> None:
        self.queue: queue.SimpleQueue[Piece | Exception | None] = queue.SimpleQueue()
        self.open_choices = num_choices
        self.closed = False

    def put(self, piece: Piece) -> None:
        """Add a piece."""
        self.queue.put(piece)

    def fail(self, error: Exception) -> None:
        """End with an error, which the reader gets."""
        self.closed = True
        self.queue.put(error)

    def close(self) -> None:
        """End it: whoever reads gets no more, whoever writes may stop."""
        self.closed = True
        self.queue.put(None)

    def __next__(self) -> Piece:
        """The next piece, as soon as it is there."""
        if self.open_choices == 0:
            raise StopIteration
        item = self.queue.get()
        if isinstance(item, Piece):
            self.open_choices -= item.finish_reason is not None
            return item
        self.open_choices = 0
        raise item or StopIteration


class Listener(Iterator[Piece]):
    """An answer as its reader holds it: whoever drops it, or closes it, ends the generation."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    def __next__(self) -> Piece:
        return next(self.answer)

    def close(self) -> None:
        """End the answer, from any thread."""
        self.answer.close()

    def __del__(self) -> None:
        self.answer.close()
