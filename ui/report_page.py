"""A report as one self-contained HTML page: no scripts, nothing fetched, everything escaped.

write_page(report, folder)  # report.html beside report.json
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from domains.atomic import write_text_atomically
from judges.headlines import arm_title, format_interval, format_p, format_value
from judges.metrics import Comparison, Metric, metric_info
from judges.report import Report, routing_accuracy
from ui.plots import Effect, Point, forest, trade_off

PAGE_FILE = "report.html"
TEMPLATES = Path(__file__).parent / "templates"
ROUTINGS = {
    "oracle": "oracle (always the right expert)",
    "router": "router (the expert that it chose)",
    "wrong": "wrong (never the right expert)",
}
VERDICT_CLASSES = {"better": "better", "worse": "worse", "not enough evidence": "undecided"}


def render(report: Report) -> str:
    """The page's HTML."""
    return _template().render(
        report=report,
        baseline=arm_title(report.baseline),
        headlines=[(VERDICT_CLASSES[found.verdict], found.claim, found.evidence) for found in report.headlines],
        arms=[{"title": arm_title(arm), "about": report.arms[arm]} for arm in report.arms],
        table_columns=[arm_title(arm) for arm in report.measured_arms],
        table_rows=list(_table_rows(report)),
        forests=list(_forests(report)),
        comparisons=[_comparison_cells(comparison) for comparison in report.comparisons],
        sweep=_sweep(report),
        confusion=_confusion(report.routing.get("confusion")),
        end_to_end=_record_table(report.routing.get("end_to_end", ()), "routing", ROUTINGS),
        strategies=_record_table(report.routing.get("strategies", ()), "strategy", {}),
        samples=[_sample(sample) for sample in report.samples],
        provenance=_flat(report.provenance),
    )


def write_page(report: Report, folder: str | Path) -> Path:
    """Write report.html into the folder of report.json; readers never see a part of it."""
    path = Path(folder) / PAGE_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text_atomically(path, render(report))
    return path


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(PAGE_FILE)


def _table_rows(report: Report) -> Iterable[dict[str, Any]]:
    """One row a metric: title, direction, the count that all arms share, and a cell an arm (None = not measured)."""
    verdicts = {(c.arm_a, c.metric): c.verdict for c in report.comparisons if c.arm_b == report.baseline}
    for metric, found in _by_metric(report.metrics).items():
        counts = {_count(cell) for cell in found.values()}
        yield {
            "title": metric_info(metric).title,
            "direction": _direction(metric),
            "count": counts.pop() if len(counts) == 1 else "",
            "cells": [_cell(found.get(arm), verdicts, shared=not counts) for arm in report.measured_arms],
        }


def _cell(metric: Metric | None, verdicts: Mapping[tuple[str, str], str], shared: bool) -> dict[str, str] | None:
    if metric is None:
        return None
    verdict = verdicts.get((metric.arm, metric.metric), "")
    return {
        "value": format_value(metric.metric, metric.value),
        "interval": format_interval(metric.metric, metric.low, metric.high),
        "count": "" if shared else _count(metric),
        "verdict": verdict if verdict in ("better", "worse") else "",
    }


def _count(metric: Metric) -> str:
    return f"n={metric.n}" + (f", {metric.unscored} unscored" if metric.unscored else "")


def _direction(metric: str) -> str:
    return "higher is better" if metric_info(metric).higher_is_better else "lower is better"


def _by_metric(metrics: Iterable[Metric]) -> dict[str, dict[str, Metric]]:
    found: dict[str, dict[str, Metric]] = {}
    for metric in metrics:
        found.setdefault(metric.metric, {})[metric.arm] = metric
    return found


def _forests(report: Report) -> Iterable[dict[str, Any]]:
    """A forest plot a metric: every arm against the baseline."""
    families: dict[str, list[Comparison]] = {metric: [] for metric in _by_metric(report.metrics)}
    for comparison in report.comparisons:
        if comparison.arm_b == report.baseline and comparison.difference is not None:
            families[comparison.metric].append(comparison)
    for metric, comparisons in families.items():
        if comparisons:
            title = metric_info(metric).title
            unit = ", percentage points" if metric_info(metric).proportion else ""
            caption = f"{title}: difference to {arm_title(report.baseline)}. " + " ".join(map(_said, comparisons))
            plot = forest([_effect(c) for c in comparisons], caption, partial(_tick, metric))
            yield {"title": f"{title}{unit}", "direction": _direction(metric), "plot": plot}


def _comparison_cells(comparison: Comparison) -> list[str]:
    """A line of the table of all comparisons."""
    metric = comparison.metric
    return [
        f"{arm_title(comparison.arm_a)} – {arm_title(comparison.arm_b)}",
        metric_info(metric).title,
        format_value(metric, comparison.difference, signed=True),
        format_interval(metric, comparison.low, comparison.high, signed=True),
        format_p(comparison.p_holm),
        str(comparison.n),
        comparison.verdict,
    ]


def _effect(comparison: Comparison) -> Effect:
    text = format_value(comparison.metric, comparison.difference, signed=True)
    label = arm_title(comparison.arm_a)
    return Effect(label, comparison.difference or 0.0, comparison.low, comparison.high, text, comparison.verdict)


def _said(comparison: Comparison) -> str:
    text = format_value(comparison.metric, comparison.difference, signed=True)
    interval = format_interval(comparison.metric, comparison.low, comparison.high, signed=True)
    details = f"{f' ({interval})' if interval else ''}, adjusted {format_p(comparison.p_holm)}, n={comparison.n}"
    return f"{arm_title(comparison.arm_a)} {text}{details}: {comparison.verdict}."


def _tick(metric: str, tick: float) -> str:
    if abs(tick) < 1e-12:
        return "0"
    return (f"{100 * tick:+.3g}" if metric_info(metric).proportion else f"{tick:+.3g}").replace("-", "−")


def _sweep(report: Report) -> dict[str, Any] | None:
    """The trade-off plot over the points that have both measures, and the table of all points."""
    if not report.sweep:
        return None
    y_metric = "instruction_following"
    points = [
        Point(float(r["perplexity"]), float(r[y_metric]), str(r["scale"]), *_ends(r, y_metric))
        for r in report.sweep
        if r.get("perplexity") is not None and r.get(y_metric) is not None
    ]
    caption = "Residual scale: " + "; ".join(
        f"scale {p.label}: perplexity {p.x:.2f}, instructions {p.y:.0%}" for p in points
    )
    x_title = "perplexity of domain text (lower is better)"
    plot: Markup | str = (
        trade_off(points, caption, x_title, "instructions followed (labels: residual scale)") if points else ""
    )
    return {"plot": plot, "table": _record_table(report.sweep, "scale", {})}


def _ends(record: Mapping[str, Any], metric: str) -> tuple[float | None, float | None]:
    interval = record.get("intervals", {}).get(metric, {})
    return interval.get("low"), interval.get("high")


def _record_table(records: Sequence[Mapping[str, Any]], key: str, names: Mapping[str, str]) -> dict[str, Any] | None:
    """Records {key, metric: value, "intervals"} as a table: columns and rows of cells."""
    if not records:
        return None
    columns = list(dict.fromkeys(name for record in records for name in record if name not in (key, "intervals")))
    rows = [
        {"title": names.get(str(r[key]), str(r[key])), "cells": [_record_cell(r, name) for name in columns]}
        for r in records
    ]
    return {"columns": [metric_info(name).title for name in columns], "rows": rows}


def _record_cell(record: Mapping[str, Any], name: str) -> dict[str, str]:
    value = record.get(name)
    n = record.get("intervals", {}).get(name, {}).get("n")
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return {
        "value": format_value(name, value) if number or value is None else str(value),
        "interval": format_interval(name, *_ends(record, name)),
        "count": f"n={n}" if n is not None else "",
        "verdict": "",
    }


def _confusion(confusion: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The heat table: each count with its share of the row, which sets the cell's colour."""
    if not confusion:
        return None
    accuracy = routing_accuracy(confusion)
    interval = format_interval(accuracy.metric, accuracy.low, accuracy.high)
    rows = [
        {"label": label, "cells": [(count, count / max(1, sum(counts))) for count in counts], "total": sum(counts)}
        for label, counts in zip(confusion["labels"], confusion["counts"], strict=True)
    ]
    share = format_value(accuracy.metric, accuracy.value)
    details = f"{f'95% CI {interval}, ' if interval else ''}n={accuracy.n}"
    said = f"The router sends {share} of requests to the right expert ({details})."
    return {"labels": confusion["labels"], "rows": rows, "said": said}


def _sample(sample: Mapping[str, Any]) -> dict[str, Any]:
    answers = [{"arm": arm_title(arm), "text": text} for arm, text in sample.get("answers", {}).items()]
    notes = sample.get("notes") or ()
    return {
        "id": sample.get("id", ""),
        "question": sample.get("question", ""),
        "reference": sample.get("reference") or "",
        "answers": answers,
        "notes": [notes] if isinstance(notes, str) else list(notes),
    }


def _flat(value: Any, name: str = "") -> list[tuple[str, str]]:
    """Nested provenance as (name, text) lines, in order."""
    if isinstance(value, Mapping):
        return [line for key, inner in value.items() for line in _flat(inner, f"{name} · {key}" if name else str(key))]
    if isinstance(value, list | tuple):
        return [(name, ", ".join(map(str, value)))]
    return [(name, str(value))]
