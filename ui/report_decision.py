"""The top of the page: is the expert better, for whom, and how sure are we; each from numbers further down."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from judges.headlines import arm_title, format_interval, format_value
from judges.metrics import metric_info
from judges.report import Report
from judges.subgroups import Subgroup

GROUPS_SHOWN = 6


def decision(report: Report) -> dict[str, Any]:
    """Sentences for whom and how sure; the claims themselves are the headlines."""
    return {"for_whom": list(for_whom(report)), "how_sure": list(how_sure(report))}


def for_whom(report: Report) -> Iterator[str]:
    """Groups of items with a verdict."""
    decided = [subgroup for subgroup in report.subgroups if subgroup.comparison.verdict != "not enough evidence"]
    yield from (_group(subgroup) for subgroup in decided[:GROUPS_SHOWN])
    num = len(report.subgroups)
    if not num:
        yield "This report has no groups of items to tell apart."
    elif not decided:
        yield f"In none of {num} looks at groups of items is there enough evidence for a difference."
    elif len(decided) > GROUPS_SHOWN:
        yield f"{len(decided) - GROUPS_SHOWN} more are in the table of groups."


def _group(subgroup: Subgroup) -> str:
    c = subgroup.comparison
    difference = format_value(c.metric, c.difference, signed=True)
    interval = format_interval(c.metric, c.low, c.high, signed=True)
    where = f"{subgroup.key.capitalize()} “{subgroup.group}”"
    what = f"{arm_title(c.arm_a)} is {c.verdict} than {arm_title(c.arm_b)} on {metric_info(c.metric).title.lower()}"
    return f"{where}: {what} ({difference}, 95% CI {interval}, n={c.n})."


def how_sure(report: Report) -> Iterator[str]:
    """Sample sizes, judges, leakage and forgetting, one sentence each."""
    claimed = {(headline.arm_a, headline.arm_b, headline.metric) for headline in report.headlines}
    sizes = [c.n for c in report.comparisons if (c.arm_a, c.arm_b, c.metric) in claimed]
    if sizes:
        yield f"The claims rest on {min(sizes)} to {max(sizes)} items each; a small n can only show large differences."
    yield _judges(report)
    contamination = report.leakage.get("contamination", {})
    if contamination:
        rows, flagged = sum(f["rows"] for f in contamination["files"]), len(contamination["rows"])
        yield f"{flagged} of {rows} test rows share text with training rows."
    yield from _memory(report)
    forgotten = [c for c in report.forgetting if c.verdict == "worse"]
    if report.forgetting:
        steps = ", ".join(dict.fromkeys(f"{arm_title(c.arm_b)} → {arm_title(c.arm_a)}" for c in forgotten))
        yield (
            f"General ability fell with enough evidence in: {steps}."
            if forgotten
            else f"No training step lost general ability with enough evidence ({len(report.forgetting)} probes)."
        )


def _judges(report: Report) -> str:
    if not report.judges:
        return "No judge was calibrated for this report, so scores by judges are only as good as the judges."
    trusted = [str(judge["judge"]) for judge in report.judges if judge.get("trusted")]
    said = f"Judges that passed their calibration: {', '.join(trusted) or 'none'}."
    rest = f" Not trusted, so their numbers decide nothing: {', '.join(report.untrusted)}." if report.untrusted else ""
    return said + rest


def _memory(report: Report) -> Iterator[str]:
    probed = [record for record in report.leakage.get("memorisation", ()) if record["excess"] is not None]
    learned = [arm_title(record["arm"]) for record in probed if record["verdict"] == "worse"]
    if learned:
        yield f"Training documents are better known than held-out ones of the same field in: {', '.join(learned)}."
    elif probed:
        yield "No model is shown to know training documents better than held-out ones of the same field."
