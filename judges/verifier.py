"""A verifier: a task, the yes/no conditions that its request comes to, and a critique of an answer.

A verifier is frozen: it never learns. Each file of `judges/verifiers` has a dataclass `Verifier` whose fields are its
settings, all with defaults, and a class method `for_domain(domain)` that makes one (None: no domain is known).
The loop of verifier and learner: SuperIntelliAgent, arXiv 2511.23436.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from pydantic import JsonValue

from domains.domain import Domain
from domains.example import Message, last_user_turn
from domains.plugins import load_plugin

Answer_contra = TypeVar("Answer_contra", contravariant=True)


@dataclass(frozen=True)
class Task:
    """A request to answer. `facts` is what a rule verifier needs: the numbers of a loan, a JSON schema, a shape."""

    id: str
    request: tuple[Message, ...]
    facts: Mapping[str, JsonValue] = field(default_factory=dict)

    @property
    def question(self) -> str:
        """The last user turn."""
        return last_user_turn(self.request)


@dataclass(frozen=True)
class Condition:
    """A yes/no question about an answer; yes is good."""

    id: str
    question: str


@dataclass(frozen=True)
class Critique:
    """One score in [0, 1] a condition, in their order, and advice: one line for each condition that is not met."""

    scores: tuple[float, ...]
    advice: str

    def __post_init__(self) -> None:
        if not all(0.0 <= score <= 1.0 for score in self.scores):
            raise ValueError(f"scores must be in [0, 1], got {self.scores}")


class Verifier(Protocol[Answer_contra]):
    """Decomposes a request into conditions and scores an answer on each."""

    @property
    def name(self) -> str:
        """The name in the registry."""
        ...

    def conditions(self, task: Task) -> tuple[Condition, ...]:
        """What a good answer to the task meets; the same for every answer."""
        ...

    def judge(self, task: Task, conditions: Sequence[Condition], answer: Answer_contra) -> Critique | None:
        """The critique of one answer; None when it could not be judged."""
        ...


def load_verifier(name: str, domain: Domain | None) -> Verifier[Any]:
    """A verifier by name with the settings of a domain; "safety+reading_level" is a panel of the two."""
    found: list[Verifier[Any]] = [
        load_plugin("judges.verifiers", part, "verifier").Verifier.for_domain(domain) for part in name.split("+")
    ]
    if len(found) == 1:
        return found[0]
    panel: Verifier[Any] = load_plugin("judges.verifiers", "panel", "verifier").Verifier(tuple(found))
    return panel
