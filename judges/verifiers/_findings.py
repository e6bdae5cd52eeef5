"""From what a rule found on each condition to a critique."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from judges.verifier import Condition, Critique

MET = 0.5


@dataclass(frozen=True)
class Finding:
    """The score of a condition in [0, 1], and what to change where it is not met."""

    score: float
    advice: str = ""


def passed(holds: bool, advice: str) -> Finding:
    """1 or 0."""
    return Finding(float(holds), "" if holds else advice)


def graded(value: float, low: float, high: float, fall: float) -> float:
    """1 from `low` to `high`, less in proportion outside, 0 from a distance of `fall` on."""
    distance = max(low - value, value - high, 0.0)
    return max(0.0, 1.0 - distance / fall)


def critique(conditions: Sequence[Condition], findings: Mapping[str, Finding]) -> Critique:
    """Scores in the order of the conditions; one line of advice for each that is not fully met, the worst first."""
    found = [(condition, findings[condition.id]) for condition in conditions]
    failed = sorted((each for each in found if each[1].score < 1.0), key=lambda each: each[1].score)
    lines = [f"- {condition.question} {verdict(finding)}" for condition, finding in failed]
    return Critique(tuple(finding.score for _, finding in found), "\n".join(lines))


def verdict(finding: Finding) -> str:
    """How far a condition is met, and what to change, on one line."""
    said = "No." if finding.score < MET else "Not quite."
    return " ".join([said, *finding.advice.split()])
