"""Numbers of a judge that failed its calibration decide nothing: their comparisons say 'judge not trusted'."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from judges.metrics import Comparison


def untrusted(records: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """The names of the judges that are not trusted, from the records of report.json's `judges`."""
    return frozenset(str(record["judge"]) for record in records if not record["trusted"])


def judge_of(metric: str, judges: Iterable[str]) -> str:
    """The judge whose numbers a metric is made of (`summary_bertscore` is made of `bertscore`); empty for none."""
    found = [name for name in judges if metric == name or metric.endswith(f"_{name}")]
    return max(found, key=len, default="")


def gated(comparisons: Sequence[Comparison], records: Iterable[Mapping[str, Any]]) -> list[Comparison]:
    """The comparisons, without a decision where the judge is not trusted."""
    names = untrusted(records)
    return [
        replace(comparison, verdict="judge not trusted") if judge_of(comparison.metric, names) else comparison
        for comparison in comparisons
    ]
