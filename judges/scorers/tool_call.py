"""Whether an answer calls the functions that it should, with the right arguments; or none, where none is right.

The reference is an answer in the project's own format (`domains.tool_calls`), or words where nothing is to be called.
With the functions that were declared to the model an optional argument may be written out with its default.
What counts as the same call is said in `judges.call_match`; the leaderboard has rules of its own (`judges.bfcl`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from domains.domain import Domain
from domains.tool_calls import ToolCall, parse
from judges.call_match import makes_calls
from judges.verdict import Answered, Verdict


@dataclass(frozen=True)
class Judge:
    """1.0 when the answer makes exactly the calls of the reference, else 0.0. Both kinds of rows count: `parts` says
    which kind a row is, because a model that never calls is right on all rows without a call."""

    @classmethod
    def for_domain(cls, domain: Domain | None) -> Judge:
        """The same for every domain."""
        return cls()

    def __call__(self, rows: Sequence[Answered]) -> list[Verdict]:
        """One verdict per row."""
        return [judge(row) for row in rows]


def judge(row: Answered) -> Verdict:
    """The verdict on one row."""
    if row.reference is None or not row.reference.strip():
        return Verdict(None, "Unscored: there is no reference to compare with.")
    wanted, made = parse(row.reference) or (), parse(row.answer) or ()
    parts = {"needs_call": bool(wanted), "called": bool(made), "names": names_equal(wanted, made)}
    if not wanted:
        return Verdict(float(not made), f"No call was needed, and {'some' if made else 'none'} was made.", parts)
    if not made:
        return Verdict(0.0, "The answer calls nothing.", parts)
    if row.finished is False:
        return Verdict(0.0, "The answer was cut off.", parts)
    right = makes_calls(row.answer, row.reference, row.functions)
    said = "are those of the reference" if right else "differ from the reference"
    return Verdict(float(right), f"The calls {said}.", parts)


def names_equal(wanted: Sequence[ToolCall], made: Sequence[ToolCall]) -> bool:
    """Whether the same functions are called equally often."""
    return sorted(call.name for call in wanted) == sorted(call.name for call in made)
