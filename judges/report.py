"""A report: rows with provenance. All statistics are derived from the rows; files are rows.jsonl and report.json.

report.write(folder); compare_reports(load(folder), load(other))
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from domains.atomic import write_text_atomically
from domains.errors import UserError
from judges.headlines import Claim, Headline, arm_title, claims_for, headlines
from judges.metrics import (
    HIGHER_IS_BETTER,
    Comparison,
    Measure,
    Metric,
    Row,
    check_unique,
    compare,
    compare_of,
    decided,
    measures,
    metrics,
    metrics_of,
    table,
)
from judges.stats import wilson_interval

__all__ = [
    "HIGHER_IS_BETTER",
    "Comparison",
    "Metric",
    "Report",
    "Row",
    "compare",
    "compare_reports",
    "load",
    "metrics",
    "routing_accuracy",
    "table",
]

BASELINE = "instruct"
ROWS_FILE = "rows.jsonl"
REPORT_FILE = "report.json"
PLAIN_FIELDS = ("domain", "title", "provenance", "routing", "sweep", "samples", "notes")


@dataclass(frozen=True)
class Report:
    """The evaluation of one domain.

    `arms`: name -> one sentence, in the order of presentation. `samples`: {"id", "question", "reference", "answers":
    {arm: text}, "notes"}. `routing`: {"confusion": {"labels", "counts"} (rows = true label), "end_to_end": [{"routing":
    "oracle" | "router" | "wrong", metric: value, ...}]}. `sweep`: [{"scale", "perplexity", "instruction_following"}].
    Records of the last two may carry "intervals": {metric: {"low", "high", "n"}}, as `table(rows, key)` makes them.
    """

    domain: str
    title: str
    arms: Mapping[str, str]
    rows: Sequence[Row]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    samples: Sequence[Mapping[str, Any]] = ()
    routing: Mapping[str, Any] = field(default_factory=dict)
    sweep: Sequence[Mapping[str, Any]] = ()
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Refuse rows that no table could show, and a confusion matrix that is not one."""
        check_unique(self.rows)
        unknown = sorted({row.arm for row in self.rows} - self.arms.keys())
        if unknown:
            raise ValueError(f"rows of arms that the report does not describe: {', '.join(unknown)}")
        confusion = self.routing.get("confusion")
        if confusion and [len(row) for row in confusion["counts"]] != [len(confusion["labels"])] * len(
            confusion["labels"]
        ):
            raise ValueError(f"the confusion matrix is not {len(confusion['labels'])} labels square")

    @cached_property
    def measures(self) -> list[Measure]:
        """The rows by metric, before statistics."""
        return measures(self.rows)

    @cached_property
    def metrics(self) -> list[Metric]:
        """Every metric of every arm: metrics in the known order, arms in the report's."""
        places = {arm: place for place, arm in enumerate(self.arms)}
        by_metric = {measure.metric: place for place, measure in enumerate(self.measures)}
        return sorted(metrics_of(self.measures), key=lambda m: (by_metric[m.metric], places[m.arm]))

    @property
    def baseline(self) -> str:
        """The arm that all others are compared with: instruct, or else the first."""
        return BASELINE if BASELINE in self.measured_arms else next(iter(self.measured_arms), "")

    @cached_property
    def measured_arms(self) -> tuple[str, ...]:
        """The arms that have rows, in order."""
        found = {row.arm for row in self.rows}
        return tuple(arm for arm in self.arms if arm in found)

    @cached_property
    def claims(self) -> tuple[Claim, ...]:
        """The claims that the headlines answer."""
        return claims_for(self.measured_arms, self.baseline)

    @cached_property
    def comparisons(self) -> list[Comparison]:
        """Each arm against the baseline, then the pairs of the claims; a pair's metrics are one Holm family."""
        pairs = dict.fromkeys((arm, self.baseline) for arm in self.measured_arms if arm != self.baseline)
        pairs |= dict.fromkeys((claim.arm_a, claim.arm_b) for claim in self.claims)
        return [comparison for a, b in pairs for comparison in compare_of(self.measures, a, b)]

    @cached_property
    def headlines(self) -> tuple[Headline, ...]:
        """The claims in plain sentences."""
        found = {Claim(c.arm_a, c.arm_b, c.metric): c for c in self.comparisons}
        return headlines(self.claims, self.metrics, found)

    def as_dict(self) -> dict[str, Any]:
        """The content of report.json."""
        return {
            "domain": self.domain,
            "title": self.title,
            "arms": [{"arm": arm, "title": arm_title(arm), "about": about} for arm, about in self.arms.items()],
            "headlines": [headline.as_dict() for headline in self.headlines],
            "metrics": [metric.as_dict() for metric in self.metrics],
            "baseline": self.baseline,
            "comparisons": [comparison.as_dict() for comparison in self.comparisons],
            "sweep": [dict(point) for point in self.sweep],
            "routing": dict(self.routing),
            "samples": [dict(sample) for sample in self.samples],
            "notes": list(self.notes),
            "provenance": dict(self.provenance),
            "rows": {"file": ROWS_FILE, "num": len(self.rows), "sha256": _digest(self.rows_text)},
        }

    @property
    def rows_text(self) -> str:
        """The content of rows.jsonl."""
        return "".join(json.dumps(row.as_dict(), ensure_ascii=False, allow_nan=False) + "\n" for row in self.rows)

    def write(self, folder: str | Path) -> None:
        """Write rows.jsonl, then report.json with its digest, each in one step: a cut in between is seen by `load`."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.as_dict(), ensure_ascii=False, indent=1, allow_nan=False) + "\n"
        write_text_atomically(target / ROWS_FILE, self.rows_text)
        write_text_atomically(target / REPORT_FILE, text)


def load(folder: str | Path) -> Report:
    """The report of a folder (or of the path of its report.json), from both files."""
    path = Path(folder) if Path(folder).name == REPORT_FILE else Path(folder) / REPORT_FILE
    rows_path = path.with_name(ROWS_FILE)
    for file in (path, rows_path):
        if not file.is_file():
            raise UserError(f"There is no {file}. Give a folder that 'expertsmith evaluate DOMAIN --out DIR' wrote.")
    rows_text = rows_path.read_text(encoding="utf-8")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["rows"]["sha256"] != _digest(rows_text):
            raise UserError(f"{rows_path} is not the one that {path} was made from. Run the evaluation again.")
        arms = {arm["arm"]: arm["about"] for arm in data["arms"]}
        return Report(arms=arms, rows=_read_rows(rows_path, rows_text), **{key: data[key] for key in PLAIN_FIELDS})
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is no report of 'expertsmith evaluate' ({error}). Run the evaluation again.") from None


def compare_reports(a: Report, b: Report) -> list[Comparison]:
    """Report a against report b on every arm and metric that both have, paired by item; one Holm family.

    `difference` is a - b, so "better" means that a is better.
    """
    if a.domain != b.domain:
        raise UserError(f"The reports are of '{a.domain}' and '{b.domain}'. Compare two reports of one domain.")
    arms = [arm for arm in a.measured_arms if arm in b.measured_arms]
    family = [replace(found, arm_a=arm, arm_b=arm) for arm in arms for found in _compare_arm(a, b, arm)]
    if not any(comparison.n for comparison in family):
        raise UserError("The reports share no arm, metric and item. Evaluate the same arms on the same items twice.")
    return decided(family)


def routing_accuracy(confusion: Mapping[str, Any]) -> Metric:
    """The share on the diagonal of a confusion matrix, with a Wilson interval."""
    counts = confusion["counts"]
    right, total = sum(row[place] for place, row in enumerate(counts)), sum(map(sum, counts))
    interval = wilson_interval(right, total)
    return Metric("router", "routing_accuracy", right / total if total else None, interval.low, interval.high, total, 0)


def _compare_arm(a: Report, b: Report, arm: str) -> list[Comparison]:
    rows = [replace(row, arm=side) for side, report in (("a", a), ("b", b)) for row in report.rows if row.arm == arm]
    return compare(rows, "a", "b")


def _read_rows(path: Path, text: str) -> tuple[Row, ...]:
    rows = []
    for number, line in enumerate(text.removesuffix("\n").split("\n") if text else [], start=1):
        try:
            rows.append(Row.from_dict(json.loads(line)))
        except (AttributeError, ValueError) as error:
            raise UserError(f"{path}, line {number}: {error}. Run the evaluation again.") from None
    return tuple(rows)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
