"""Rows (one number of one arm on one item) become metrics with intervals and paired comparisons; nothing else does."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np

from domains.errors import UserError, unknown_name
from judges.stats import (
    FloatArray,
    Interval,
    Statistic,
    bootstrap_interval,
    holm,
    macro_f1,
    mean,
    paired_test,
    perplexity,
    statistic_value,
    wilson_interval,
)

Outcome = Literal["better", "worse", "not enough evidence"]
SIGNIFICANCE = 0.05
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
    "general_perplexity": MetricInfo("Perplexity of general text", "has perplexity {} on general text", False),
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

    def as_dict(self) -> dict[str, Any]:
        """The form in rows.jsonl."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Row:
        """From the form in rows.jsonl; raises ValueError on other keys or values."""
        if not ROW_KEYS - {"parts"} <= data.keys() <= ROW_KEYS:
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
class Comparison:
    """arm_a against arm_b on the n items that both have scored; `difference` is a - b, `p_holm` decides the verdict."""

    arm_a: str
    arm_b: str
    metric: str
    value_a: float | None
    value_b: float | None
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    n: int
    p_holm: float | None = None
    verdict: Outcome = "not enough evidence"

    def as_dict(self) -> dict[str, Any]:
        """The form in report.json."""
        return asdict(self)


@dataclass(frozen=True)
class Measure:
    """A metric before statistics: the features of every scored item of every arm, and the unscored counts."""

    metric: str
    statistic: Statistic
    features: dict[str, dict[str, tuple[float, ...]]]
    unscored: dict[str, int]

    def items(self, arm: str) -> FloatArray:
        """The features of an arm's scored items, [N, F]."""
        return np.array(list(self.features[arm].values()), dtype=np.float64)


def metric_info(metric: str) -> MetricInfo:
    """The table's entry, or a plain one for a metric that it does not know: a score where higher is better."""
    title = metric.replace("_", " ").capitalize()
    plain = MetricInfo(title, "scores {} on " + title.lower(), not metric.endswith("perplexity"))
    return METRICS.get(metric, plain)


def measures(rows: Iterable[Row]) -> list[Measure]:
    """The measures of rows, known metrics first in the order of METRICS."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.metric, []).append(row)
    found = [measure for metric, group in groups.items() for measure in _derive(metric, group)]
    order = {metric: place for place, metric in enumerate(METRICS)}
    return sorted(found, key=lambda measure: order.get(measure.metric, len(order)))


def metrics(rows: Iterable[Row]) -> list[Metric]:
    """Every metric of every arm, with a 95% interval over items."""
    return metrics_of(measures(rows))


def metrics_of(found: Sequence[Measure]) -> list[Metric]:
    """The metrics of measures that were already derived."""
    return [_metric(measure, arm) for measure in found for arm in measure.features]


def compare(rows: Iterable[Row], arm_a: str, arm_b: str) -> list[Comparison]:
    """arm_a against arm_b, paired by item, on every metric that both have; Holm-corrected over these metrics."""
    return compare_of(measures(rows), arm_a, arm_b)


def compare_of(found: Sequence[Measure], arm_a: str, arm_b: str) -> list[Comparison]:
    """The comparisons of measures that were already derived."""
    arms = {arm for measure in found for arm in measure.features}
    for arm in (arm_a, arm_b):
        if arm not in arms:
            raise unknown_name("arm", arm, arms)
    both = [measure for measure in found if {arm_a, arm_b} <= measure.features.keys()]
    return decided([_compare(measure, arm_a, arm_b) for measure in both])


def decided(family: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons with p-values corrected over the family, and verdicts."""
    corrected = holm([comparison.p for comparison in family])
    return [
        replace(comparison, p_holm=p, verdict=_verdict(comparison, p))
        for comparison, p in zip(family, corrected, strict=True)
    ]


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
        labels = sorted({str(row.parts["label"]) for row in rows if row.value is not None})
        return [
            _measure("classification_accuracy", mean, {id(row): (row.value, 1.0) for row in rows}, rows),
            _measure("classification_macro_f1", macro_f1, {id(row): _label_counts(row, labels) for row in rows}, rows),
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


def _label_counts(row: Row, labels: Sequence[str]) -> tuple[float, ...]:
    """Per label: hit, predicted, actual (the features of macro-F1)."""
    prediction, actual = row.parts.get("prediction"), row.parts.get("label")
    hits = [float(prediction == label == actual) for label in labels]
    predicted = [float(prediction == label) for label in labels]
    return (*hits, *predicted, *(float(actual == label) for label in labels))


def _metric(measure: Measure, arm: str) -> Metric:
    items = measure.items(arm)
    n = len(items)
    interval = _interval(measure, items) if n else Interval()
    value = statistic_value(items, measure.statistic) if n else None
    return Metric(arm, measure.metric, value, interval.low, interval.high, n, measure.unscored[arm])


def _interval(measure: Measure, items: FloatArray) -> Interval:
    """Wilson for 0/1 values of a share (at 0 of n or n of n the bootstrap would claim certainty), else bootstrap."""
    if measure.statistic is mean and is_proportion(measure) and np.isin(items[:, 0], (0.0, 1.0)).all():
        return wilson_interval(int(items[:, 0].sum()), len(items))
    return bootstrap_interval(items, measure.statistic)


def is_proportion(measure: Measure) -> bool:
    """Whether a metric is a share of items: by the table, or for an unknown one because every value is 0 or 1."""
    if measure.metric in METRICS:
        return METRICS[measure.metric].proportion
    values = {features[0] for arm in measure.features.values() for features in arm.values()}
    return measure.statistic is mean and values <= {0.0, 1.0}


def _compare(measure: Measure, arm_a: str, arm_b: str) -> Comparison:
    a, b = measure.features[arm_a], measure.features[arm_b]
    common = [item for item in a if item in b]
    if not common:
        return Comparison(arm_a, arm_b, measure.metric, None, None, None, None, None, None, 0)
    items_a, items_b = np.array([a[item] for item in common]), np.array([b[item] for item in common])
    paired = paired_test(items_a, items_b, measure.statistic)
    value_a, value_b = statistic_value(items_a, measure.statistic), statistic_value(items_b, measure.statistic)
    return Comparison(
        arm_a, arm_b, measure.metric, value_a, value_b, paired.difference, paired.low, paired.high, paired.p, paired.n
    )


def _verdict(comparison: Comparison, p_holm: float | None) -> Outcome:
    if p_holm is None or p_holm >= SIGNIFICANCE or not comparison.difference:
        return "not enough evidence"
    higher = comparison.difference > 0
    return "better" if higher == metric_info(comparison.metric).higher_is_better else "worse"
