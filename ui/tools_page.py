"""The function calling bench as one self-contained HTML page: nothing fetched, everything escaped, no script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from domains.atomic import write_text_atomically
from judges.bfcl.rows import IRRELEVANCE

TEMPLATES = Path(__file__).parent / "templates"
OVERALL = {
    "call_accuracy": "Calls right",
    "irrelevance_accuracy": "Irrelevant requests left alone",
    "overall_v3": "Overall, v3 formula",
    "overall_v4_without_agentic": "Overall, v4 formula, agentic counted as 0 (at most 60%)",
}

KINDS = {"calls": "a call is right", "irrelevance": "no call is right"}


def write_tools_page(found: Mapping[str, Any], folder: Path) -> Path:
    """Write report.html for the bench's result."""
    page = folder / "report.html"
    write_text_atomically(page, render(found))
    return page


def render(found: Mapping[str, Any]) -> str:
    """The page's HTML."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    arms = [row["arm"] for row in found["overall"]]
    return environment.get_template("tools.html").render(
        style=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
        arms=arms,
        overall=[overall_line(key, found["overall"]) for key in OVERALL],
        categories=category_lines(found["rows"], arms),
        comparisons=[comparison_line(row) for row in found["comparisons"]],
        package=found["package"],
        num_rows=found["num_rows"],
        notes=[*found["notes"], *warnings(found)],
    )


def warnings(found: Mapping[str, Any]) -> list[str]:
    """What of the arms has to be known to read their scores."""
    asked, limits = found["num_rows"], f"{found['max_context']} tokens with an answer of {found['max_tokens']}"
    long = [
        f"{row['arm']}: {row['too_long']} of {asked} rows had a prompt that was too long (more than {limits}) and "
        "count as wrong."
        for row in found["overall"]
        if row["too_long"]
    ]
    unbound = [
        f"{arm['name']}: {arm['unbound']} of {arm['answers']} answers were free, because the schemas of their "
        "functions cannot be followed."
        for arm in found["arms"]
        if arm["unbound"]
    ]
    return long + unbound


def text_lines(found: Mapping[str, Any]) -> list[str]:
    """The overall scores of each arm, each beside that of a model that never calls, and what has to be known to read
    them; the categories are in the JSON and on the page."""
    lines = []
    for row in found["overall"]:
        scores = [
            f"{OVERALL[key]} {with_interval(row[key]['value'], row[key]['low'], row[key]['high'])} "
            f"(never calling: {percent(row[key]['never_calling'])})"
            for key in OVERALL
        ]
        lines.append(f"{row['arm']}: {'; '.join(scores)}")
    return [*lines, *found["notes"], *warnings(found)]


def overall_line(key: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One score of all arms, and that of a model that never calls."""
    cells = [with_interval(row[key]["value"], row[key]["low"], row[key]["high"]) for row in rows]
    return {"title": OVERALL[key], "never": percent(rows[0][key]["never_calling"]) if rows else "", "cells": cells}


def category_lines(rows: Sequence[Mapping[str, Any]], arms: Sequence[str]) -> list[dict[str, Any]]:
    """A line per category; where nothing is to be called, silence is right, so those come last and say so."""
    names = list(dict.fromkeys(row["category"] for row in rows))
    by_place = {(row["category"], row["arm"]): row for row in rows}
    lines = []
    for name in sorted(names, key=lambda each: each in IRRELEVANCE):
        cells = [with_interval(*(by_place[name, arm][key] for key in ("accuracy", "low", "high"))) for arm in arms]
        first = by_place[name, arms[0]]
        silent = name in IRRELEVANCE
        lines.append({"title": name + (" (no call is right)" if silent else ""), "cells": cells,
                      "never": "100%" if silent else "0%", "n": f"{first['n']} of {first['of']}"})  # fmt: skip
    return lines


def comparison_line(row: Mapping[str, Any]) -> list[str]:
    """An arm against one that differs in one thing, on one kind of rows."""
    difference = with_interval(row["difference"], row["low"], row["high"])
    p = "–" if row["p"] is None else f"{row['p']:.4f}"
    return [f"{row['arm']} against {row['against']}", KINDS[row["kind"]], difference, p]


def with_interval(value: float | None, low: float | None, high: float | None) -> str:
    """A share with its interval."""
    ends = "" if low is None or high is None else f" [{percent(low)}, {percent(high)}]"
    return f"{percent(value)}{ends}"


def percent(value: float | None) -> str:
    """A share as a percentage."""
    return "–" if value is None else f"{100 * value:.1f}%"
