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

import numpy as np

from domains.atomic import write_text_atomically
from domains.errors import UserError, unknown_name
from judges.comparisons import Comparison, compare, compare_measure, compare_of, decided, judge_of
from judges.forgetting import forgetting
from judges.headlines import Claim, Headline, arm_title, claims_for, headlines, summary
from judges.length_control import win_rate
from judges.metrics import (
    HIGHER_IS_BETTER,
    Measure,
    Metric,
    Row,
    check_unique,
    measures,
    metric_info,
    metrics,
    metrics_of,
    table,
)
from judges.stats import mean, wilson_interval
from judges.subgroups import Subgroup, common_items, subgroups
from judges.win_rates import PairRecord, pair_records

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
FROM_LIKELIHOODS = ("perplexity", "preference_accuracy", "preference_margin", "reward_accuracy", "reward_margin")
ROWS_FILE = "rows.jsonl"
REPORT_FILE = "report.json"
PLAIN_FIELDS = ("domain", "title", "provenance", "routing", "sweep", "samples", "notes")
LATER_FIELDS = ("items", "lengths", "openers", "judges", "leakage")


@dataclass(frozen=True)
class Report:
    """The evaluation of one domain.

    `arms`: name -> one sentence, in the order of presentation. `samples`: {"id", "question", "reference", "answers":
    {arm: text}, "notes"}. `routing`: {"confusion": {"labels", "counts"} (rows = true label), "end_to_end": [{"routing":
    "oracle" | "router" | "wrong", metric: value, ...}]}. `sweep`: [{"scale", "perplexity", "instruction_following"}].
    Records of the last two may carry "intervals": {metric: {"low", "high", "n"}}, as `table(rows, key)` makes them.
    `items`: item -> {"task", "kind", "kinds" (where it is of several), "label", "words" (of the question), "cluster"
    (its conversation)}, all optional.
    `lengths`: arm -> item -> words of the answer. `openers`: arm -> how differently its answers begin.
    `judges`: one calibration a judge, {"judge", "agreement", "low",
    "high", "n", "position_flip_rate", "length_bias", "longer_wins", "trusted", "reason"}; a judge that is not trusted
    decides nothing. `leakage`: {"contamination": ..., "memorisation": [...]} (see router/leakage.py).
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
    items: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    lengths: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    openers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    judges: Sequence[Mapping[str, Any]] = ()
    leakage: Mapping[str, Any] = field(default_factory=dict)

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
        return measures(self.rows, self.clusters)

    @property
    def clusters(self) -> dict[str, str]:
        """Item -> its conversation, where it belongs to one."""
        return {item: facts["cluster"] for item, facts in self.items.items() if "cluster" in facts}

    @property
    def untrusted(self) -> tuple[str, ...]:
        """The judges that failed their calibration."""
        return tuple(str(judge["judge"]) for judge in self.judges if not judge.get("trusted", True))

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
        return [comparison for a, b in pairs for comparison in compare_of(self.measures, a, b, self.untrusted)]

    @cached_property
    def headlines(self) -> tuple[Headline, ...]:
        """The claims in plain sentences; all claims that were measured are one Holm family."""
        found = {Claim(c.arm_a, c.arm_b, c.metric): c for c in self.comparisons}
        measured = [claim for claim in self.claims if claim in found and found[claim].n]
        family = decided([found[claim] for claim in measured], self.untrusted)
        return headlines(self.claims, self.metrics, dict(zip(measured, family, strict=True)))

    @cached_property
    def forgetting(self) -> list[Comparison]:
        """General ability after each step of the build against before it."""
        return forgetting(self.measures, self.untrusted)

    @cached_property
    def subgroups(self) -> list[Subgroup]:
        """The claims within groups of items."""
        found = {measure.metric: measure for measure in self.measures}
        looks = [
            (found[claim.metric], claim.arm_a, claim.arm_b)
            for claim in self.claims
            if claim.metric in found and {claim.arm_a, claim.arm_b} <= found[claim.metric].features.keys()
        ]
        return subgroups(looks, self.items, self.untrusted)

    @cached_property
    def length_controlled(self) -> list[dict[str, Any]]:
        """Win rates of the claims' arms on judged answers, raw and at equal length."""
        pairs = dict.fromkeys((claim.arm_a, claim.arm_b) for claim in self.claims)
        pairs |= dict.fromkeys((arm, self.baseline) for arm in self.measured_arms if arm != self.baseline)
        return [record for a, b in pairs for measure in self.measures for record in self._win_rates(measure, a, b)]

    @cached_property
    def pairs(self) -> list[PairRecord]:
        """Win rates of arms whose answers the LLM judge compared in pairs."""
        return pair_records(self.rows, self.lengths, self.clusters, self.untrusted)

    def _win_rates(self, measure: Measure, arm_a: str, arm_b: str) -> list[dict[str, Any]]:
        """One record where both arms have answers of known length with scores (no yes/no values), else none."""
        info = metric_info(measure.metric)
        if measure.statistic is not mean or info.proportion or not info.higher_is_better:
            return []
        if not {arm_a, arm_b} <= measure.features.keys() & self.lengths.keys():
            return []
        names = [
            item
            for item in common_items(measure, arm_a, arm_b)
            if item in self.lengths[arm_a] and item in self.lengths[arm_b]
        ]
        if not names:
            return []
        values = np.array([[measure.features[arm][item][0] for item in names] for arm in (arm_a, arm_b)])
        words = np.array([[self.lengths[arm][item] for item in names] for arm in (arm_a, arm_b)], dtype=float)
        wins = 0.5 + 0.5 * np.sign(values[0] - values[1])
        found = win_rate(wins, words[0] - words[1], measure.units(names)).as_dict()
        trusted = judge_of(measure.metric, self.untrusted) is None
        return [{"arm_a": arm_a, "arm_b": arm_b, "metric": measure.metric, "trusted": trusted} | found]

    def as_dict(self) -> dict[str, Any]:
        """The content of report.json."""
        return {
            "domain": self.domain,
            "title": self.title,
            "arms": [{"arm": arm, "title": arm_title(arm), "about": about} for arm, about in self.arms.items()],
            "summary": summary(self.headlines),
            "headlines": [headline.as_dict() for headline in self.headlines],
            "metrics": [metric.as_dict() for metric in self.metrics],
            "baseline": self.baseline,
            "comparisons": [comparison.as_dict() for comparison in self.comparisons],
            "subgroups": [subgroup.as_dict() for subgroup in self.subgroups],
            "length_controlled": self.length_controlled,
            "pairs": [record.as_dict() for record in self.pairs],
            "forgetting": [step.as_dict() for step in self.forgetting],
            "leakage": dict(self.leakage),
            "judges": [dict(judge) for judge in self.judges],
            "sweep": [dict(point) for point in self.sweep],
            "routing": dict(self.routing),
            "samples": [dict(sample) for sample in self.samples],
            "items": {item: dict(facts) for item, facts in self.items.items()},
            "lengths": {arm: dict(found) for arm, found in self.lengths.items()},
            "openers": {arm: dict(found) for arm, found in self.openers.items()},
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
        fields = {key: data[key] for key in PLAIN_FIELDS} | {key: data[key] for key in LATER_FIELDS if key in data}
        return Report(arms=arms, rows=_read_rows(rows_path, rows_text), **fields)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is no report of 'expertsmith evaluate' ({error}). Run the evaluation again.") from None


def compare_reports(a: Report, b: Report, arms: tuple[str, str] | None = None) -> list[Comparison]:
    """Report a against report b, paired by item, on every arm and metric that both have, or arms[0] of a against
    arms[1] of b; one Holm family. `difference` is a - b, so "better" means that a is better. Items that changed between
    the two (see `changed_items`) are left out, and so are metrics that are not alike (see `unlike_metrics`).
    """
    if a.domain != b.domain:
        raise UserError(f"The reports are of '{a.domain}' and '{b.domain}'. Compare two reports of one domain.")
    for name, report in zip(arms or (), (a, b), strict=False):
        if name not in report.measured_arms:
            raise unknown_name("arm", name, report.measured_arms)
    pairs = [arms] if arms else [(arm, arm) for arm in a.measured_arms if arm in b.measured_arms]
    untrusted = {*a.untrusted, *b.untrusted}
    family = [replace(found, arm_a=x, arm_b=y) for x, y in pairs for found in _compare_arms(a, b, x, y)]
    if not any(comparison.n for comparison in family):
        raise UserError("The reports share no arm, metric and item. Evaluate the same arms on the same items twice.")
    return decided(family, untrusted)


def changed_items(a: Report, b: Report) -> list[str]:
    """Items that both reports have by name, of which what is known (task, label, length) is not the same: the data was
    edited in between, so an answer to the one says nothing about an answer to the other."""
    return sorted(item for item, facts in a.items.items() if item in b.items and differ(facts, b.items[item]))


def differ(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether two records disagree about anything that both know."""
    return any(a[key] != b[key] for key in a.keys() & b.keys())


def unlike_metrics(a: Report, b: Report) -> list[str]:
    """Metrics of both reports whose numbers are of different kinds: another judge, other settings or code of it, or
    answers decoded otherwise. What a report does not say is not held against it."""
    first, second = ((r.provenance.get("judge_digests", {}), r.provenance.get("decoding", {})) for r in (a, b))
    others = [name for name in first[0].keys() & second[0].keys() if first[0][name] != second[0][name]]
    shared = {m.metric for m in a.measures} & {m.metric for m in b.measures}
    decoded = {name for name in shared if not name.endswith(FROM_LIKELIHOODS)} if differ(first[1], second[1]) else set()
    return sorted(decoded | {name for name in shared if judge_of(name, others)})


def routing_accuracy(confusion: Mapping[str, Any]) -> Metric:
    """The share on the diagonal of a confusion matrix, with a Wilson interval."""
    counts = confusion["counts"]
    right, total = sum(row[place] for place, row in enumerate(counts)), sum(map(sum, counts))
    interval = wilson_interval(right, total)
    return Metric("router", "routing_accuracy", right / total if total else None, interval.low, interval.high, total, 0)


def _compare_arms(a: Report, b: Report, arm_a: str, arm_b: str) -> list[Comparison]:
    sides = (("a", a, arm_a), ("b", b, arm_b))
    changed, unlike = set(changed_items(a, b)), set(unlike_metrics(a, b))
    rows = [
        replace(row, arm=side)
        for side, report, arm in sides
        for row in report.rows
        if row.arm == arm and row.item not in changed
    ]
    clusters = {item: facts["cluster"] for r in (b, a) for item, facts in r.items.items() if "cluster" in facts}
    found = [m for m in measures(rows, clusters) if {"a", "b"} <= m.features.keys() and m.metric not in unlike]
    return [compare_measure(measure, "a", "b") for measure in found]


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
