"""Grounding: whether the domain's documents support what an answer claims (judges/scorers/grounding.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from domains.domain import Domain
from domains.example import Document
from judges.passages import index_of
from judges.scorers.grounding import SUPPORT, Grounded, ground
from judges.verifier import Condition, Critique, Task
from judges.verifiers._findings import Finding, critique, passed

CONDITIONS = (
    Condition("not_contradicted", "Is nothing in the answer against the documents?"),
    Condition("supported", "Do the documents support every claim of the answer?"),
)


@dataclass(frozen=True)
class Verifier:
    """`supported` scores the share of supported claims. Without documents, and for an answer without a checkable
    claim, nothing is judged. `support` is how well a passage must match."""

    documents: tuple[Document, ...] = ()
    support: float = SUPPORT
    name: str = "grounding"

    @classmethod
    def for_domain(cls, domain: Domain | None) -> Verifier:
        """The verifier of the domain's documents."""
        return cls(domain.documents if domain else ())

    def conditions(self, task: Task) -> tuple[Condition, ...]:
        """The same for every task."""
        return CONDITIONS

    def judge(self, task: Task, conditions: Sequence[Condition], answer: str) -> Critique | None:
        """Both conditions; the numbers that the person gave need no support."""
        if not self.documents:
            return None
        claims = ground(answer, index_of(self.documents), task.question, self.support)
        if not claims:
            return None
        against = [claim for claim in claims if claim.verdict == "contradicted"]
        loose = [claim for claim in claims if claim.verdict != "supported"]
        findings = {
            "not_contradicted": passed(not against, f"Against the documents: {quoted(against)}"),
            "supported": Finding(1 - len(loose) / len(claims), f"Not in the documents: {quoted(loose)}"),
        }
        return critique(conditions, findings)


def quoted(claims: Sequence[Grounded]) -> str:
    """The claims in quotation marks."""
    return " ".join(f'"{claim.claim}"' for claim in claims)
