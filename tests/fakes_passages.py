"""What a grounding judge would find, without one: three scripted findings for any answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Found:
    """A claim with the passage that supports, contradicts or nearly touches it."""

    claim: str
    verdict: str
    passage: str
    document_id: str


def passages(expert: str, question: str, answer: str) -> Sequence[Found]:
    """A supported claim that names who was asked what, a contradicted one, one that is not found."""
    return (
        Found(f"{expert} on: {question}", "supported", "The servicer must answer within 30 days.", "escrow-basics#2"),
        Found("You have 90 days.", "contradicted", "You have 30 days.", "escrow-basics#3"),
        Found("That sounds hard.", "unsupported", "", ""),
    )
