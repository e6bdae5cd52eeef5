"""What a judge takes and gives. An unscored verdict (None) is shown and counted, never averaged as 0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from domains.domain import Domain
from domains.tool_calls import Function


@dataclass(frozen=True)
class Answered:
    """An answer to judge, with the question and, where there are some, a reference and programmatic checks.

    `finished` is False when generation was cut at its token limit, None when unknown; `functions` are those that the
    answer could call.
    """

    question: str
    answer: str
    reference: str | None = None
    checks: tuple[dict[str, Any], ...] = ()
    finished: bool | None = None
    functions: tuple[Function, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """A judge's value (None = unscored) with a one-sentence explanation and named parts."""

    value: float | None
    explanation: str
    parts: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The form in files: value, explanation, parts."""
        return {"value": self.value, "explanation": self.explanation, "parts": self.parts}


class Judge(Protocol):
    """Judges rows in batch; the result has one verdict per row, in order.

    Each file of `judges/scorers` has a dataclass `Judge` whose fields are its settings, all with defaults, and a class
    method `for_domain(domain)` that makes one for a domain (None: no domain is known).
    """

    @classmethod
    def for_domain(cls, domain: Domain | None) -> Judge:
        """The judge with the settings of a domain."""
        ...

    def __call__(self, rows: Sequence[Answered]) -> list[Verdict]:
        """One verdict per row."""
        ...
