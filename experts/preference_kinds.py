"""The outcomes of preference rows by the kind of rejected answer, as parts of a report's rows."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

BY_KIND = "by_kind"


def by_kind(kinds: Sequence[str], gaps: Sequence[float]) -> dict[str, dict[str, float]]:
    """{BY_KIND: kind -> the share of its rejected answers that score lower than the chosen one}; `gaps` is how much
    lower each does. Nothing where the kinds are not known."""
    found: dict[str, list[bool]] = {}
    for kind, gap in zip(kinds, gaps, strict=True) if kinds else ():
        found.setdefault(kind, []).append(gap > 0)
    return {BY_KIND: {kind: fmean(wins) for kind, wins in found.items()}} if found else {}
