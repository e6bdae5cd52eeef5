"""What a verifier takes and gives: yes/no conditions of a task, a score for each, and advice on those that fail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from domains.example import Message

Answer_contra = TypeVar("Answer_contra", contravariant=True)


@dataclass(frozen=True)
class Task:
    """A request. `facts` are what a rule needs to check an answer (the numbers of a loan, a schema, a source)."""

    id: str
    request: tuple[Message, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Condition:
    """A yes/no question about an answer."""

    id: str
    question: str


@dataclass(frozen=True)
class Critique:
    """A score in [0, 1] for each condition, and advice: one line for each that failed."""

    scores: tuple[float, ...]
    advice: str


class Verifier(Protocol[Answer_contra]):
    """Decides whether an answer is good, and says what is missing."""

    name: str

    def conditions(self, task: Task) -> tuple[Condition, ...]:
        """The questions that an answer to the task must answer with yes."""
        ...

    def judge(self, task: Task, conditions: Sequence[Condition], answer: Answer_contra) -> Critique | None:
        """Scores and advice; None when the answer could not be judged."""
        ...
