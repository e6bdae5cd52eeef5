"""Whether an answer calls the functions that it should, with the right arguments; or none, where none is right.

The reference is an answer in the project's own format (`domains.tool_calls`), or words where nothing is to be called.
Names and types must be equal, texts up to case, spaces and punctuation, as in the AST check of the Berkeley Function
Calling Leaderboard (https://gorilla.cs.berkeley.edu/leaderboard.html); the order of calls does not count.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from domains.domain import Domain
from domains.tool_calls import ToolCall, parse
from judges.verdict import Answered, Verdict

IGNORED = re.compile(r"[ ,./_*^-]")


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
    right = matched(wanted, made)
    said = "are those of the reference" if right else "differ from the reference"
    return Verdict(float(right), f"The calls {said}.", parts)


def names_equal(wanted: Sequence[ToolCall], made: Sequence[ToolCall]) -> bool:
    """Whether the same functions are called equally often."""
    return sorted(call.name for call in wanted) == sorted(call.name for call in made)


def matched(wanted: Sequence[ToolCall], made: Sequence[ToolCall]) -> bool:
    """Whether the calls are the same in some order."""
    left = list(made)
    for call in wanted:
        same = next((other for other in left if equal_calls(call, other)), None)
        if same is None:
            return False
        left.remove(same)
    return not left


def equal_calls(a: ToolCall, b: ToolCall) -> bool:
    """Whether two calls are the same."""
    return a.name == b.name and equal(dict(a.arguments), dict(b.arguments))


def equal(a: Any, b: Any) -> bool:
    """Whether two values are the same: texts loosely, 30 and 30.0 alike, true and 1 not."""
    if isinstance(a, str) and isinstance(b, str):
        return loose(a) == loose(b)
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(equal, a, b))
    return bool(a == b)


def loose(text: str) -> str:
    """A text without what does not count."""
    return IGNORED.sub("", text).lower().replace("'", '"')
