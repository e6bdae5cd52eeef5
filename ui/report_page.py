"""A report as one self-contained HTML page: nothing fetched, everything escaped, one script of our own (the filters),
which the page allows by its digest and does not need.

write_page(report, folder)  # report.html beside report.json
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from domains.atomic import write_text_atomically
from judges.comparisons import Comparison
from judges.headlines import Headline, arm_title, format_interval, format_p, format_value, summary
from judges.metrics import PAIRWISE, Metric, metric_info
from judges.report import Report, routing_accuracy
from ui import report_answers, report_kinds, report_tables
from ui.plots import Calibrated, Effect, Point, forest, reliability_diagram, trade_off
from ui.report_decision import decision

PAGE_FILE = "report.html"
SCRIPT_FILE = "report.js"
TEMPLATES = Path(__file__).parent / "templates"
SECTIONS = (
    ("effects", "Effects", ("forests",)),
    ("groups", "For whom", ("subgroups",)),
    ("kinds", "Rejected answers", ("preference_kinds",)),
    ("pairs", "In pairs", ("pairs",)),
    ("win-rates", "Equal length", ("win_rates",)),
    ("residual", "Residual", ("sweep",)),
    ("routing", "Routing", ("confusion", "end_to_end")),
    ("forgetting", "Forgetting", ("forgetting",)),
    ("leakage", "Leakage", ("contamination_files", "memorisation")),
    ("calibration", "Judges", ("calibration",)),
    ("lengths", "Lengths", ("lengths",)),
    ("answers", "Answers", ("samples",)),
)
VERDICT_CLASSES = {"better": "better", "worse": "worse", "not enough evidence": "undecided"}


def render(report: Report) -> str:
    """The page's HTML."""
    samples = report_answers.samples(report)
    sections = {
        "samples": samples,
        "lengths": report_answers.lengths(report),
        "forests": list(_forests(report)),
        "sweep": _sweep(report),
        **_tables(report),
        **_routing(report.routing),
    }
    return _template().render(
        report=report,
        contents=_contents(sections),
        script=Markup(_script()),
        script_digest=_script_digest(),
        baseline=arm_title(report.baseline),
        summary=summary(report.headlines),
        decision=decision(report),
        headlines=[_headline(found) for found in report.headlines],
        arms=[{"title": arm_title(arm), "about": report.arms[arm]} for arm in report.arms],
        filter_arms=[(arm, arm_title(arm)) for arm in report.measured_arms],
        filter_kinds=report_answers.kinds(samples, report),
        table_columns=[arm_title(arm) for arm in report.measured_arms],
        table_rows=list(_table_rows(report)),
        provenance=_flat(report.provenance),
        **sections,
    )


def _contents(sections: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Anchor and title of the sections that the page has."""
    there = [(name, title) for name, title, keys in SECTIONS if any(_has(sections[key]) for key in keys)]
    return [("in-short", "In short"), ("all-metrics", "All metrics"), *there, ("provenance", "Provenance")]


def _has(content: Any) -> bool:
    """Whether a section has something to show; a table without lines has not."""
    return bool(getattr(content, "lines", content))


def _headline(found: Headline) -> dict[str, str]:
    """A claim with the class that colours it."""
    return {
        "class": VERDICT_CLASSES[found.verdict],
        "verdict": found.verdict,
        "claim": found.claim,
        "evidence": found.evidence,
        "arms": f"{found.arm_a}\n{found.arm_b}",
    }


def _tables(report: Report) -> dict[str, Any]:
    """The tables of the sections after the effects; a table without lines is left out by the template."""
    contamination = report.leakage.get("contamination", {})
    return {
        "comparisons": report_tables.comparisons(report),
        "pairs": report_tables.pairs(report),
        "win_rates": report_tables.win_rates(report),
        "subgroups": report_tables.subgroups(report),
        "preference_kinds": report_kinds.preference_kinds(report),
        "forgetting": report_tables.forgetting(report),
        "contamination_rule": contamination.get("rule", ""),
        "contamination_files": report_tables.contamination_files(contamination),
        "contamination_rows": report_tables.contamination_rows(contamination),
        "memorisation": report_tables.memorisation(report.leakage.get("memorisation", ())),
        "calibration": report_tables.calibration(report.judges),
        "people": report_tables.people(report.judges),
    }


def _routing(routing: Mapping[str, Any]) -> dict[str, Any]:
    """Confusion matrix, reliability diagram, answer quality by policy and its regret."""
    return {
        "confusion": _confusion(routing.get("confusion")),
        "reliability": _reliability(routing.get("reliability")),
        "end_to_end": _record_table(routing.get("end_to_end", ()), "routing", report_tables.ROUTINGS),
        "strategies": _record_table(routing.get("strategies", ()), "strategy", {}),
        "regret": report_tables.regret(routing.get("regret", ())),
    }


def _reliability(found: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The diagram with its numbers in words."""
    if not found or not found["bins"]:
        return None
    bins = [
        Calibrated(b["confidence"], b["accuracy"], b["accuracy_low"], b["accuracy_high"], b["n"]) for b in found["bins"]
    ]
    points = "; ".join(f"confidence {b.confidence:.0%}: {b.accuracy:.0%} right, n={b.n}" for b in bins)
    said = f"Expected calibration error {found['error']:.2f} over n={found['n']} requests."
    return {"said": said, "plot": reliability_diagram(bins, f"Confidence against accuracy of the router. {points}.")}


def write_page(report: Report, folder: str | Path) -> Path:
    """Write report.html into the folder of report.json; readers never see a part of it."""
    path = Path(folder) / PAGE_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text_atomically(path, render(report))
    return path


@cache
def _script() -> str:
    return (TEMPLATES / SCRIPT_FILE).read_text(encoding="utf-8")


def _script_digest() -> str:
    """What the page's content security policy allows to run: exactly this text between the tags."""
    return base64.b64encode(hashlib.sha256(_script().encode()).digest()).decode()


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
    """One row a metric: title, direction, the count that all arms share, and a cell an arm (None = not measured).
    Verdicts on pairs have a table of their own."""
    verdicts = {(c.arm_a, c.metric): c.verdict for c in report.comparisons if c.arm_b == report.baseline}
    for metric, found in _by_metric(report.metrics).items():
        if metric.startswith(f"{PAIRWISE}."):
            continue
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


def _flat(value: Any, name: str = "") -> list[tuple[str, str]]:
    """Nested provenance as (name, text) lines, in order."""
    if isinstance(value, Mapping):
        return [line for key, inner in value.items() for line in _flat(inner, f"{name} · {key}" if name else str(key))]
    if isinstance(value, list | tuple):
        return [(name, ", ".join(map(str, value)))]
    return [(name, str(value))]
