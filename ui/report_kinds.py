"""Preference accuracy by the kind of rejected answer: is an expert right about facts, or only about tone?"""

from __future__ import annotations

from experts.preference_kinds import BY_KIND
from judges.headlines import arm_title, format_interval, format_value
from judges.metrics import Metric, Row, metric_info, metrics
from judges.report import Report
from ui.report_tables import Line, Table

METRICS = ("preference_accuracy", "reward_accuracy")


def preference_kinds(report: Report) -> Table:
    """A line per metric and arm, a column per kind; no lines where no row knows its kinds."""
    found = {(m.metric, kind, m.arm): m for kind in kinds_of(report) for m in of_kind(report, kind)}
    kinds = list(dict.fromkeys(kind for _, kind, _ in found))
    lines = [
        Line(
            (arm_title(arm), metric_info(metric).title, *(cell(found.get((metric, kind, arm))) for kind in kinds)),
            arms=(arm,),
        )
        for metric in METRICS
        for arm in report.measured_arms
        if any((metric, kind, arm) in found for kind in kinds)
    ]
    columns = ("Arm", "Metric", *(kind.replace("_", " ") for kind in kinds))
    return Table("Preference accuracy by kind of rejected answer", columns, tuple(lines))


def kinds_of(report: Report) -> list[str]:
    """The kinds of rejected answers, in the order of their first row."""
    rows = (row for row in report.rows if row.metric in METRICS)
    return list(dict.fromkeys(kind for row in rows for kind in row.parts.get(BY_KIND, {})))


def of_kind(report: Report, kind: str) -> list[Metric]:
    """The metrics over the rejected answers of one kind."""
    rows = (row for row in report.rows if row.metric in METRICS and kind in row.parts.get(BY_KIND, {}))
    return metrics([Row(row.arm, row.metric, row.item, row.parts[BY_KIND][kind]) for row in rows])


def cell(found: Metric | None) -> str:
    """A share with its interval and count."""
    if found is None:
        return "–"
    interval = format_interval(found.metric, found.low, found.high)
    return f"{format_value(found.metric, found.value)} ({f'{interval}, ' if interval else ''}n={found.n})"
