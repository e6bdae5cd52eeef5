"""Answers side by side, with scores, flags and marked evidence, and how long each arm's answers are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from judges.headlines import arm_title, format_value
from judges.metrics import METRICS, PAIRWISE, Row, metric_info
from judges.report import Report
from ui.evidence import evidence, marked
from ui.plots import histogram

NUM_BARS = 8
SAMPLES_SHOWN = 24
SCORES_SHOWN = 8


def samples(report: Report) -> list[dict[str, Any]]:
    """The first questions, each with its reference and every arm's answer; report.json has all of them."""
    by_answer: dict[tuple[str, str], list[Row]] = {}
    for row in report.rows:
        if row.metric.startswith(f"{PAIRWISE}."):
            continue  # of two answers
        by_answer.setdefault((row.arm, row.item), []).append(row)
    return [_sample(sample, by_answer, report.items) for sample in report.samples[:SAMPLES_SHOWN]]


def kinds(found: Sequence[Mapping[str, Any]], report: Report) -> list[str]:
    """Kinds that the filter offers: those of the samples and of the subgroups."""
    groups = [subgroup.group for subgroup in report.subgroups if subgroup.key == "kind"]
    return sorted({*groups, *(sample["kind"] for sample in found if sample["kind"])})


def lengths(report: Report) -> list[dict[str, Any]]:
    """One histogram an arm over common bins."""
    words = {arm: list(found.values()) for arm, found in report.lengths.items() if found}
    if not words:
        return []
    longest = max(max(found) for found in words.values())
    step = max(5, 5 * -(-longest // (5 * NUM_BARS)))
    edges = [float(step * place) for place in range(NUM_BARS + 1)]
    counts = {arm: np.histogram(found, bins=edges)[0].tolist() for arm, found in words.items()}
    most = max(max(found) for found in counts.values())
    plots = [_length_plot(arm, words[arm], counts[arm], edges, most) for arm in words]
    begun = {arm: found["sentence"] for arm, found in report.openers.items()}
    return [plot | {"about": f"{plot['about']} {begun.get(plot['arm'], '')}".strip()} for plot in plots]


def _length_plot(
    arm: str, words: Sequence[int], counts: Sequence[int], edges: Sequence[float], most: int
) -> dict[str, Any]:
    middle = float(np.median(words))
    bars = ", ".join(
        f"{count} of {low:.0f} to {high:.0f}"
        for count, low, high in zip(counts, edges, edges[1:], strict=False)
        if count
    )
    caption = f"Words per answer of {arm_title(arm)}: median {middle:.0f}; {bars}."
    about = f"median {middle:.0f} words, n={len(words)}."
    return {"title": arm_title(arm), "arm": arm, "about": about, "plot": histogram(counts, edges, caption, most)}


def _sample(
    sample: Mapping[str, Any],
    by_answer: Mapping[tuple[str, str], Sequence[Row]],
    items: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    notes, item = sample.get("notes") or (), str(sample.get("id", ""))
    answers = [_answer(arm, text, by_answer.get((arm, item), ())) for arm, text in sample.get("answers", {}).items()]
    facts = items.get(item, {})
    return {
        "id": item,
        "kind": str(facts.get("kind") or facts.get("task") or ""),
        "question": sample.get("question", ""),
        "reference": sample.get("reference") or "",
        "answers": answers,
        "flagged": sum(bool(answer["flags"]) for answer in answers),
        "notes": [notes] if isinstance(notes, str) else list(notes),
    }


def _answer(arm: str, text: str, rows: Sequence[Row]) -> dict[str, Any]:
    found = evidence(text, {row.metric: row.parts for row in rows})
    return {
        "arm": arm,
        "title": arm_title(arm),
        "text": marked(text, found.marks),
        "words": len(text.split()),
        "scores": list(_scores(rows)),
        "flags": list(found.flags),
    }


def _scores(rows: Sequence[Row]) -> Iterable[str]:
    """The answer's scores under the judges, in the table's order."""
    order = {metric: place for place, metric in enumerate(METRICS)}
    for row in sorted(rows, key=lambda row: order.get(row.metric, len(order)))[:SCORES_SHOWN]:
        value = "unscored" if row.value is None else format_value(row.metric, row.value)
        yield f"{metric_info(row.metric).title} {value}"
