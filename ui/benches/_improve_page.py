"""The page of the bench `improve`: pass rates of every arm with intervals, gains over `before`, and the table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ui.plots import Effect, forest

COLUMNS = (
    "case", "judge", "arm", "n", "seeds", "pass_rate", "low", "high", "gain", "gain_low", "gain_high", "verdict",
    "train_units", "attempt_units", "answer_units", "total_units", "tokens_per_answer",
)  # fmt: skip
NOTE = (
    "Held-out judges did not teach; the verifier did, so its own rates say what the loop was paid for. Intervals are "
    "over prompts. A unit is one token forward; training counts three a token. Attempts are the answers given while "
    "practising."
)


def page(rows: Sequence[dict[str, Any]]) -> str:
    """One self-contained page."""
    lines = [row for row in rows if row["arm"] != "loop"]
    judges = dict.fromkeys((row["case"], row["judge"]) for row in lines)
    plots = [pass_rates([row for row in lines if (row["case"], row["judge"]) == pair], *pair) for pair in judges]
    figures = Markup("").join(Markup("<figure>{}</figure>").format(plot) for plot in [*plots, gains(lines)] if plot)
    style = (Path(__file__).parents[1] / "templates" / "report.css").read_text(encoding="utf-8")
    return str(
        Markup(
            '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Improvement</title>'
            "<style>{}</style></head><body><main><h1>Held-out pass rates</h1><p>{}</p>{}{}</main></body></html>"
        ).format(Markup(style), NOTE, figures, table(lines))
    )


def pass_rates(rows: Sequence[dict[str, Any]], case: str, judge: str) -> Markup:
    """The pass rate of each arm under one judge."""
    effects = [
        Effect(row["arm"].replace("_", " "), row["pass_rate"], row["low"], row["high"], f"{row['pass_rate']:.2f}", "")
        for row in rows
        if row["pass_rate"] is not None
    ]
    title = f"{case}, {judge.replace('_', ' ')}: pass rate, 95% intervals"
    return forest(effects, title, lambda tick: f"{tick:.2g}") if effects else Markup()


def gains(rows: Sequence[dict[str, Any]]) -> Markup:
    """The gain of each arm over `before`, paired by prompt."""
    effects = [
        Effect(f"{row['case']}, {row['judge']}: {row['arm']}", row["gain"], row["gain_low"], row["gain_high"],
               f"{row['gain']:+.2f}", row["verdict"])
        for row in rows
        if row["gain"] is not None
    ]  # fmt: skip
    title = "Gain in pass rate over before, paired by prompt, 95% intervals"
    return forest(effects, title, lambda tick: f"{tick:+.2g}") if effects else Markup()


def table(rows: Sequence[dict[str, Any]]) -> Markup:
    """All numbers."""
    head = Markup("").join(Markup('<th scope="col">{}</th>').format(name) for name in COLUMNS)
    body = Markup("").join(
        Markup("<tr>{}</tr>").format(
            Markup("").join(Markup("<td>{}</td>").format(shown(row[name])) for name in COLUMNS)
        )
        for row in rows
    )
    return Markup("<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>").format(head, body)


def shown(value: Any) -> str:
    """A cell."""
    return "" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
