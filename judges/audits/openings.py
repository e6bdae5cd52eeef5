"""How differently answers begin (first three words): the chance that two chosen answers open differently.

Warned of at or below 0.90, refused at or below 0.60; one opening of all answers of a rejected kind is warned of too.
Function calls all begin alike by their form, and are not counted.
"""

from __future__ import annotations

from collections.abc import Sequence

from domains.tool_calls import parse
from judges.audits._pairs import ALL, MIN_PAIRS, Finding, Limits, Pair, Pairs, per_kind, too_few
from judges.openers import OpenerDiversity, opener_diversity

DIVERSITY = Limits(warn=0.90, refuse=0.60, low=True)


def check(pairs: Pairs) -> list[Finding]:
    """The chosen answers, then the rejected ones of each kind."""
    chosen = [row.chosen for row in pairs.rows if not parse(row.chosen)]
    if len(chosen) < MIN_PAIRS:
        return [too_few("openings", "chosen", len(chosen))]
    kinds = per_kind(pairs, rejected_openings, "openings")
    return [finding("chosen", ALL, opener_diversity(chosen)), *(each for each in kinds if each.kind != ALL)]


def rejected_openings(kind: str, group: Sequence[Pair]) -> Finding:
    """The rejected answers of one kind."""
    texts = [pair.rejected for pair in group if not parse(pair.rejected)]
    return (
        finding(kind, kind, opener_diversity(texts))
        if len(texts) >= MIN_PAIRS
        else too_few("openings", kind, len(texts))
    )


def finding(name: str, kind: str, diversity: OpenerDiversity) -> Finding:
    """A diversity as a finding."""
    level = DIVERSITY.level(diversity.simpson, kind)
    return Finding("openings", name, diversity.simpson, diversity.n, level, diversity.sentence())
