"""What a back-end does: it generates the answers of named experts. Who answers is decided before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from domains.example import Message
from router.assistant import Answer, Sampling


class Backend(Protocol):
    """Generates answers. Thread-safe."""

    @property
    def experts(self) -> tuple[str, ...]:
        """Names of the experts, `general` among them."""
        ...

    def check_room(self, client: str, num_answers: int) -> None:
        """Raise `Busy` when this many more answers of a client could not even wait, `Closing` during a shutdown."""
        ...

    def start(self, messages: Sequence[Message], expert: str, sampling: Sampling, client: str) -> Answer:
        """Begin an answer; a request that cannot be served is a UserError, too many are `Busy`."""
        ...

    def rewards(self, messages: Sequence[Message], expert: str, answers: Sequence[str]) -> list[float]:
        """How good the expert's preference head finds answers; a UserError where there is none."""
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
        """Accept nothing more, finish for at most `seconds`, tell the rest; returns how many were told."""
        ...
