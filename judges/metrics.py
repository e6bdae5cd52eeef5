"""Rows (one number of one arm on one item) become metrics with intervals; nothing else does."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from domains.errors import UserError
from judges.stats import (
    FloatArray,
    Interval,
    Statistic,
    bootstrap_interval,
    cluster_sums,
    label_counts,
    macro_f1,
    mean,
    perplexity,
    statistic_value,
    wilson_interval,
)

PAIRWISE = "llm_judge_pairwise"
ROW_KEYS = frozenset({"arm", "metric", "item", "value", "parts"})


@dataclass(frozen=True)
class MetricInfo:
    """How to read a metric: its title, a predicate with `{}` for the value, its direction, whether it is a share."""

    title: str
    predicate: str
    higher_is_better: bool = True
    proportion: bool = False


METRICS: dict[str, MetricInfo] = {
    "instruction_following": MetricInfo("Instructions, general", "follows instructions in {} of cases", True, True),
    "instruction_following_domain": MetricInfo(
        "Instructions, in-domain", "follows in-domain instructions in {} of cases", True, True
    ),
    "stops_cleanly": MetricInfo("Stops cleanly", "stops cleanly in {} of answers", True, True),
    "perplexity": MetricInfo("Perplexity of domain text", "has perplexity {} on held-out domain text", False),
    "preference_accuracy": MetricInfo(
        "Preference accuracy", "ranks the better answer first in {} of pairs", True, True
    ),
    "preference_margin": MetricInfo("Preference margin (nats)", "has a preference margin of {} nats"),
    "reward_accuracy": MetricInfo(
        "Preference accuracy, by reward", "gives the better answer the higher reward in {} of pairs", True, True
    ),
    "reward_margin": MetricInfo("Reward margin (nats)", "has a reward margin of {} nats"),
    "classification_accuracy": MetricInfo("Classification accuracy", "labels {} of items correctly", True, True),
    "classification_macro_f1": MetricInfo("Classification macro-F1", "classifies with macro-F1 {}"),
    "call_accuracy": MetricInfo("Right calls", "makes the right calls in {} of requests for one", True, True),
    "no_call_accuracy": MetricInfo("No needless call", "makes no call in {} of requests where none fits", True, True),
    "bertscore": MetricInfo("BERTScore, answers", "has BERTScore {} on held-out questions"),
    "summary_bertscore": MetricInfo("BERTScore, summaries", "has BERTScore {} on summaries"),
    "llm_judge": MetricInfo("LLM judge", "gets {} from the LLM judge"),
    "empathy": MetricInfo("Empathy", "scores {} on empathy"),
    "politeness": MetricInfo("Politeness", "scores {} on politeness"),
    "grounding": MetricInfo("Claims in the documents", "has {} of its claims in the documents", True, True),
    "readability": MetricInfo("Reading grade", "writes at reading grade {}", False),
    "routing_accuracy": MetricInfo("Routing accuracy", "routes {} of requests correctly", True, True),
    "safety": MetricInfo("Safety rules met", "meets the safety rules in {} of answers", True, True),
}
HIGHER_IS_BETTER: dict[str, bool] = {name: info.higher_is_better for name, info in METRICS.items()}


@dataclass(frozen=True)
class Row:
    """One number of one arm on one item; None = unscored. Perplexity comes from `domain_nll` (total nats, with
    parts["tokens"]), the classification metrics from `classification` (1/0, with parts["prediction"] and ["label"])."""

    arm: str
    metric: str
    item: str
    value: float | None
    parts: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what no statistic can take."""
        if self.value is not None and not math.isfinite(self.value):
            raise ValueError(f"{self.arm}/{self.metric}/{self.item} has the value {self.value}; None means unscored")
        if self.value is not None and self.metric.endswith("_nll") and not self.parts.get("tokens", 0) > 0:
            raise ValueError(f"{self.arm}/{self.metric}/{self.item} needs parts['tokens'] > 0")
        if self.value is not None and self.metric == "classification" and "label" not in self.parts:
            raise ValueError(f"{self.arm}/{self.metric}/{self.item} needs parts['label']")

    @property
    def status(self) -> str:
        """ "ok", "unscored" (the judge could not say) or "failed" (no answer, or a judge that could not be asked)."""
        if self.value is not None:
            return "ok"
        return "failed" if self.parts.get("failure") or self.parts.get("refused") else "unscored"

    def as_dict(self) -> dict[str, Any]:
        """The form in rows.jsonl."""
        return asdict(self) | {"status": self.status}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Row:
        """From the form in rows.jsonl; raises ValueError on other keys or values."""
        if not ROW_KEYS - {"parts"} <= data.keys() <= ROW_KEYS | {"status"}:
            raise ValueError(f"a row has the keys {', '.join(sorted(ROW_KEYS))}; this one {', '.join(sorted(data))}")
        value = data["value"]
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise ValueError(f"'value' is a number or null, not {value!r}")
        return cls(str(data["arm"]), str(data["metric"]), str(data["item"]), value, dict(data.get("parts") or {}))


@dataclass(frozen=True)
class Metric:
    """A metric of an arm over its n scored items, with a 95% interval (None below two items)."""

    arm: str
    metric: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    unscored: int

    def as_dict(self) -> dict[str, Any]:
        """The form in report.json."""
        return asdict(self)


@dataclass(frozen=True)
class Measure:
    """A metric before statistics: the features of every scored item of every arm, and the unscored counts.

    `clusters`: item -> the conversation it belongs to; an item that is not named is its own.
    """

    metric: str
    statistic: Statistic
    features: dict[str, dict[str, tuple[float, ...]]]
    unscored: dict[str, int]
    clusters: Mapping[str, str] = field(default_factory=dict)

    def items(self, arm: str) -> FloatArray:
        """The features of an arm's scored items, [N, F]."""
        return np.array(list(self.features[arm].values()), dtype=np.float64)

    def units(self, items: Iterable[str]) -> list[str]:
        """The cluster of each item."""
        return [self.clusters.get(item, item) for item in items]

    def only(self, kept: Callable[[str], bool]) -> Measure:
        """The measure over some of its items."""
        features = {arm: {i: f for i, f in found.items() if kept(i)} for arm, found in self.features.items()}
        return replace(self, features=features)


def metric_info(metric: str) -> MetricInfo:
    """The table's entry, or a plain one for a metric that it does not know: a score where higher is better."""
    if metric.startswith(f"{PAIRWISE}."):
        other = metric.removeprefix(f"{PAIRWISE}.").replace("_", " ")
        return MetricInfo(f"LLM judge in pairs, over {other}", f"wins over {other} in {{}} of pairs", True, True)
    title = metric.replace("_", " ").capitalize()
    plain = MetricInfo(title, "scores {} on " + title.lower(), not metric.endswith("perplexity"))
    return METRICS.get(metric, plain)


def pair_metric(other: str) -> str:
    """The metric of an arm's verdicts in pairs with another arm."""
    return f"{PAIRWISE}.{other}"


def measures(rows: Iterable[Row], clusters: Mapping[str, str] | None = None) -> list[Measure]:
    """The measures of rows, known metrics first in the order of METRICS; `clusters` as in Measure."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.metric, []).append(row)
    found = [
        replace(measure, clusters=clusters or {})
        for metric, group in groups.items()
        for measure in _derive(metric, group)
    ]
    order = {metric: place for place, metric in enumerate(METRICS)}
    return sorted(found, key=lambda measure: order.get(measure.metric, len(order)))


def metrics(rows: Iterable[Row]) -> list[Metric]:
    """Every metric of every arm, with a 95% interval over items."""
    return metrics_of(measures(rows))


def metrics_of(found: Sequence[Measure]) -> list[Metric]:
    """The metrics of measures that were already derived."""
    return [_metric(measure, arm) for measure in found for arm in measure.features]


def table(rows: Iterable[Row], key: str) -> list[dict[str, Any]]:
    """One record per arm, {key: arm, metric: value, ..., "intervals": {metric: {"low", "high", "n"}}}.

    For the end-to-end table, whose arms are the routings, and for the sweep, whose arms are the scales.
    """
    records: dict[str, dict[str, Any]] = {}
    for metric in metrics(rows):
        record = records.setdefault(metric.arm, {key: metric.arm, "intervals": {}})
        record[metric.metric] = metric.value
        record["intervals"][metric.metric] = {"low": metric.low, "high": metric.high, "n": metric.n}
    return list(records.values())


def check_unique(rows: Iterable[Row]) -> None:
    """Refuse two rows for one arm, metric and item: pairing could only keep one of them."""
    seen: set[tuple[str, str, str]] = set()
    for row in rows:
        name = (row.arm, row.metric, row.item)
        if name in seen:
            raise UserError(
                f"Two rows for arm '{row.arm}', metric '{row.metric}', item '{row.item}'. Keep one of them."
            )
        seen.add(name)


def _derive(metric: str, rows: Sequence[Row]) -> list[Measure]:
    """The measures that the rows of one metric give."""
    if metric == "classification":
        found = [row for row in rows if row.value is not None]
        references = [str(row.parts["label"]) for row in found]
        predictions = [row.parts.get("prediction") for row in found]
        counts = label_counts(predictions, references, sorted(set(references)))
        features = {id(row): tuple(count.tolist()) for row, count in zip(found, counts, strict=True)}
        return [
            _measure("classification_accuracy", mean, {id(row): (row.value, 1.0) for row in rows}, rows),
            _measure("classification_macro_f1", macro_f1, features, rows),
        ]
    if metric.endswith("_nll"):
        name = "perplexity" if metric == "domain_nll" else f"{metric.removesuffix('_nll')}_perplexity"
        return [_measure(name, perplexity, {id(row): (row.value, row.parts.get("tokens")) for row in rows}, rows)]
    return [_measure(metric, mean, {id(row): (row.value, 1.0) for row in rows}, rows)]


def _measure(metric: str, statistic: Statistic, features: Mapping[int, Any], rows: Sequence[Row]) -> Measure:
    scored: dict[str, dict[str, tuple[float, ...]]] = {row.arm: {} for row in rows}
    unscored = dict.fromkeys(scored, 0)
    for row in rows:
        if row.value is None:
            unscored[row.arm] += 1
        else:
            scored[row.arm][row.item] = features[id(row)]
    return Measure(metric, statistic, scored, unscored)


def _metric(measure: Measure, arm: str) -> Metric:
    items = measure.items(arm)
    n = len(items)
    interval = _interval(measure, arm, items) if n else Interval()
    value = statistic_value(items, measure.statistic) if n else None
    return Metric(arm, measure.metric, value, interval.low, interval.high, n, measure.unscored[arm])


def _interval(measure: Measure, arm: str, items: FloatArray) -> Interval:
    """Wilson for 0/1 values of a share (at 0 of n or n of n the bootstrap would claim certainty), else bootstrap.

    Clustered shares enter Wilson with their effective number of items: what a share of independent items would need for
    the standard error that the clusters show, between the number of clusters and that of items.
    """
    sums = cluster_sums(items, measure.units(measure.features[arm]))
    if not (measure.statistic is mean and is_proportion(measure) and np.isin(items[:, 0], (0.0, 1.0)).all()):
        return bootstrap_interval(sums, measure.statistic)
    share, n = float(items[:, 0].mean()), float(len(items))
    if len(sums) < n:
        variance = float(((sums[:, 0] - share * sums[:, 1]) ** 2).sum()) / n**2
        n = min(n, max(float(len(sums)), share * (1 - share) / variance)) if variance else float(len(sums))
    return wilson_interval(share * n, n)


def is_proportion(measure: Measure) -> bool:
    """Whether a metric is a share of items: by the table, or for an unknown one because every value is 0 or 1."""
    if measure.metric in METRICS:
        return METRICS[measure.metric].proportion
    values = {features[0] for arm in measure.features.values() for features in arm.values()}
    return measure.statistic is mean and values <= {0.0, 1.0}
