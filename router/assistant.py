"""Route, then answer: what the service, the chat page and `expertsmith ask` all call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from domains.example import Message
from router.route import Route

AUTO = "auto"


@dataclass(frozen=True)
class Sampling:
    """How to generate: temperature 0 is greedy; `max_tokens` bounds the answer; `stop` are strings that end it."""

    max_tokens: int = 200
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Piece:
    """A piece of an answer. The last one has a `finish_reason` ("stop" or "length") and the token counts."""

    text: str
    finish_reason: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True)
class Reply:
    """The routing decision (made before the first token) and the answer as it is generated."""

    route: Route
    pieces: Iterator[Piece]


class Assistant(Protocol):
    """Answers conversations with the experts of a home folder. Thread-safe: requests wait for each other."""

    @property
    def experts(self) -> tuple[str, ...]:
        """Names that can be asked for, `general` among them (`auto` is accepted everywhere too)."""
        ...

    def reply(self, messages: Sequence[Message], expert: str = AUTO, sampling: Sampling | None = None) -> Reply:
        """Route (or take the named expert; an unknown name is a UserError) and start the answer."""
        ...

    def label_logprobs(self, messages: Sequence[Message], expert: str, top: int) -> dict[str, float]:
        """Log-probabilities (nats) of the `top` most likely first tokens of the answer."""
        ...
