"""Samples that failed (no answer, or a judge that could not judge) in the rows of a report, and whether too many did.

A row failed when its parts say why (`failure`), or when the LLM judge left it unscored. Every other unscored row is the
judge's honest "does not apply" and counts as good.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from judges.comparisons import is_of_llm
from judges.metrics import Row

FAILURE = "failure"
REASONS_SHOWN = 5


@dataclass(frozen=True)
class Failures:
    """`share`: the largest share of failed rows among the metrics of the arms (neither a bad arm nor a bad metric is
    hidden by good ones)."""

    num_rows: int
    num_failed: int
    share: float
    worst_arm: str
    worst_metric: str
    reasons: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """The form in a report's provenance."""
        return asdict(self)


def failures(rows: Iterable[Row]) -> Failures:
    """Count the failed rows."""
    totals: Counter[tuple[str, str]] = Counter()
    failed: Counter[tuple[str, str]] = Counter()
    reasons: Counter[str] = Counter()
    for row in rows:
        totals[row.arm, row.metric] += 1
        reason = reason_of(row)
        if reason:
            failed[row.arm, row.metric] += 1
            reasons[reason] += 1
    shares = {each: failed[each] / total for each, total in totals.items()}
    worst = max(shares, key=lambda each: shares[each], default=("", ""))
    names = worst if failed[worst] else ("", "")
    shown = dict(reasons.most_common(REASONS_SHOWN))
    return Failures(totals.total(), failed.total(), shares.get(worst, 0.0), *names, shown)


def reason_of(row: Row) -> str:
    """Why a row failed; empty when it did not."""
    if row.value is None and is_of_llm(row.metric):
        return str(row.parts.get("why") or "the LLM judge left it unscored")
    return str(row.parts.get(FAILURE, ""))
