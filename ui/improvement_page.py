"""What a run of `expertsmith improve` came to, as one self-contained HTML page: decision, learning, signs of hacking.

write_page(result, folder)  # improvement.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from domains.atomic import write_text_atomically
from ui.plots import Effect, forest, lines

PAGE_FILE = "improvement.html"
TEMPLATES = Path(__file__).parent / "templates"
SIGNALS = {
    "words": "words an answer",
    "formula": "share of phrases that many answers share",
    "repetition": "share of phrases that an answer repeats",
    "same_opening": "chance that two answers open alike",
}


def write_page(result: Mapping[str, Any], folder: Path) -> Path:
    """Write the page; readers never see a part of it."""
    path = folder / PAGE_FILE
    write_text_atomically(path, render(result))
    return path


def render(result: Mapping[str, Any]) -> str:
    """The page's HTML."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(PAGE_FILE).render(
        result=result,
        checks=effects(result["checks"]),
        rounds=learning(result["prequential"]),
        signals=signal_plots(result["signals"]),
        compared=compared(result["held_out_signals"]),
        losses=losses(result["bursts"]),
    )


def effects(checks: Sequence[Mapping[str, Any]]) -> Markup:
    """What changed, measure by measure, with intervals."""
    found = [
        Effect(str(each["measure"]).replace("_", " "), each["gain"], each["low"], each["high"],
               f"{each['gain']:+.3f}", each["verdict"])
        for each in checks
        if each["gain"] is not None
    ]  # fmt: skip
    return forest(found, "Gain after against before, 95% intervals", lambda tick: f"{tick:+.2g}") if found else Markup()


def learning(rows: Sequence[Mapping[str, Any]]) -> Markup:
    """First attempts round by round, each before its prompt was learnt from: the verifier, and the held-out judges."""
    names = [name for name in (rows[0] if rows else ()) if name not in ("round", "task", "version")]
    series = {name: by_round(rows, name) for name in names}
    caption = "Mean score of first attempts in each round"
    return lines(series, caption, "round", "mean over the round's prompts") if series else Markup()


def by_round(rows: Sequence[Mapping[str, Any]], name: str) -> list[float | None]:
    """The mean of a measure in each round; None where nothing was scored."""
    last = max(row["round"] for row in rows)
    groups = [[row[name] for row in rows if row["round"] == n and row[name] is not None] for n in range(last + 1)]
    return [mean(values) if values else None for values in groups]


def signal_plots(rows: Sequence[Mapping[str, Any]]) -> list[Markup]:
    """One plot a signal."""
    return [
        lines({name: [row[name] for row in rows]}, f"{title}, by round", "round", title)
        for name, title in SIGNALS.items()
        if rows
    ]


def compared(found: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The signals before and after, as lines of a table."""
    before, after = found.get("before"), found.get("after")
    if not before or not after:
        return []
    return [(title, f"{before[name]:.3g}", f"{after[name]:.3g}") for name, title in SIGNALS.items()]


def losses(bursts: Sequence[Mapping[str, Any]]) -> Markup:
    """The mean loss of each burst."""
    found = [float(burst["loss"]) for burst in bursts]
    return lines({"loss": found}, "Mean loss of each burst", "burst", "nats a row") if found else Markup()
