"""Reading level: mean of grade(rejected) - grade(chosen), Flesch-Kincaid. Warned of from 2 grades, refused from 6."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from judges.audits._pairs import Finding, Limits, Pair, Pairs, per_kind, too_few
from judges.scorers.readability import readability

GAP = Limits(warn=2.0, refuse=6.0)


def check(pairs: Pairs) -> list[Finding]:
    """The gap of all pairs and of each kind."""
    return per_kind(pairs, reading_level, "reading_level")


def reading_level(kind: str, group: Sequence[Pair]) -> Finding:
    """The finding of one kind; answers without words have no grade."""
    grades = [(readability(pair.chosen).value, readability(pair.rejected).value) for pair in group]
    gaps = [rejected - chosen for chosen, rejected in grades if chosen is not None and rejected is not None]
    if not gaps:
        return too_few("reading_level", kind, 0)
    gap = fmean(gaps)
    text = f"Rejected answers need {abs(gap):.1f} school grades {'more' if gap >= 0 else 'less'} than the chosen ones."
    return Finding("reading_level", kind, gap, len(gaps), GAP.level(abs(gap), kind), text)
