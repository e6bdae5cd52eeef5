"""Arms compared on common items: paired differences, corrected over their family, with one rule for the verdict."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from domains.errors import unknown_name
from judges.effects import Effect, duel, ratio, score_effect
from judges.metrics import Measure, Row, measures, metric_info
from judges.stats import (
    FloatArray,
    Outcome,
    holm,
    macro_f1,
    minimum_detectable,
    paired_test,
    perplexity,
    statistic_value,
    verdict,
)


@dataclass(frozen=True)
class Comparison:
    """arm_a against arm_b on the n items that both have scored; `difference` is a - b, `p_holm` decides the verdict.

    `clusters`: the independent units among the items. `mde`: the smallest true difference that 80% of such comparisons
    would find, at the corrected level (None: no difference can be found with so few units, or values do not vary).
    `effect`: the size of the difference on the scale `effect_kind`. `wins`, `losses`, `ties`: items by direction.
    `trusted`: False when the metric's judge failed its calibration, so that its numbers decide nothing.
    """

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
    clusters: int = 0
    standard_error: float | None = None
    mde: float | None = None
    effect: float | None = None
    effect_kind: str = ""
    wins: int = 0
    losses: int = 0
    ties: int = 0
    trusted: bool = True

    def as_dict(self) -> dict[str, Any]:
        """The form in report.json."""
        return asdict(self)


def compare(rows: Iterable[Row], arm_a: str, arm_b: str) -> list[Comparison]:
    """arm_a against arm_b, paired by item, on every metric that both have; Holm-corrected over these metrics."""
    return compare_of(measures(rows), arm_a, arm_b)


def compare_of(found: Sequence[Measure], arm_a: str, arm_b: str, untrusted: Collection[str] = ()) -> list[Comparison]:
    """The comparisons of measures that were already derived; judges that are `untrusted` decide nothing."""
    arms = {arm for measure in found for arm in measure.features}
    for arm in (arm_a, arm_b):
        if arm not in arms:
            raise unknown_name("arm", arm, arms)
    both = [measure for measure in found if {arm_a, arm_b} <= measure.features.keys()]
    return decided([compare_measure(measure, arm_a, arm_b) for measure in both], untrusted)


def decided(family: Sequence[Comparison], untrusted: Collection[str] = ()) -> list[Comparison]:
    """The comparisons with p-values corrected over the family, verdicts and minimum detectable effects.

    A metric of an untrusted judge is no member of the family and gets no verdict.
    """
    trusted = [judge_of(comparison.metric, untrusted) is None for comparison in family]
    corrected = holm([c.p if sure else None for c, sure in zip(family, trusted, strict=True)])
    num_tests = sum(p is not None for p in corrected)
    return [
        replace(
            comparison,
            p_holm=p,
            verdict=verdict(comparison.difference, p, metric_info(comparison.metric).higher_is_better),
            mde=minimum_detectable(comparison.standard_error, comparison.clusters, num_tests),
            trusted=sure,
        )
        for comparison, p, sure in zip(family, corrected, trusted, strict=True)
    ]


def judge_of(metric: str, judges: Collection[str]) -> str | None:
    """The judge among these that a metric comes from: `llm_judge`, `llm_judge.empathy`, `summary_bertscore`, ..."""
    name = metric.removeprefix("summary_")
    return next((judge for judge in judges if re.fullmatch(rf"{re.escape(judge)}([._:/-].*)?", name)), None)


def is_of_llm(metric: str) -> bool:
    """Whether a metric comes from the LLM judge, of single answers or of pairs."""
    return judge_of(metric, ["llm_judge"]) is not None


def compare_measure(measure: Measure, arm_a: str, arm_b: str) -> Comparison:
    """One metric of two arms on their common items, without a verdict: that needs its family (see `decided`)."""
    a, b = measure.features[arm_a], measure.features[arm_b]
    common = [item for item in a if item in b]
    if not common:
        return Comparison(arm_a, arm_b, measure.metric, None, None, None, None, None, None, 0)
    items_a, items_b = np.array([a[item] for item in common]), np.array([b[item] for item in common])
    paired = paired_test(items_a, items_b, measure.statistic, clusters=measure.units(common))
    values = [statistic_value(items, measure.statistic) for items in (items_a, items_b)]
    scores = [item_scores(measure, items) for items in (items_a, items_b)]
    found = duel(scores[0], scores[1], metric_info(measure.metric).higher_is_better)
    effect = _effect(measure, scores, values)
    return Comparison(
        arm_a,
        arm_b,
        measure.metric,
        value_a=values[0],
        value_b=values[1],
        difference=paired.difference,
        low=paired.low,
        high=paired.high,
        p=paired.p,
        n=paired.n,
        clusters=paired.clusters,
        standard_error=paired.standard_error,
        effect=effect.value,
        effect_kind=effect.kind,
        **asdict(found),
    )


def item_scores(measure: Measure, items: FloatArray) -> FloatArray:
    """One number an item, [N]: its value, its nats per token, or for macro-F1 whether it is right."""
    if measure.statistic is macro_f1:
        return np.asarray(items[:, : items.shape[1] // 3].sum(1))
    return np.asarray(items[:, 0] / items[:, 1])


def _effect(measure: Measure, scores: Sequence[FloatArray], values: Sequence[float | None]) -> Effect:
    if measure.statistic is perplexity:
        return ratio(values[0], values[1])
    return score_effect(scores[0], scores[1])
