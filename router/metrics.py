"""How well a strategy routes labelled requests: macro-F1 of its decisions, how its scores tell requests that no expert
should get (AUROC), and whether its confidence is the share of right answers (expected calibration error)."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sklearn.metrics import roc_auc_score

from domains.domain import GENERAL
from judges.classification import macro_f1
from router.route import decide

NUM_BINS = 10
TIMED_REQUESTS = 15

Scored = Sequence[Mapping[str, float]]


@dataclass(frozen=True)
class Bin:
    """Requests whose confidence lies between two edges (the upper one is inside): how sure, and how often right."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


def top(scores: Mapping[str, float]) -> str:
    """The best label."""
    return max(scores, key=lambda name: scores[name])


def reliability(scored: Scored, labels: Sequence[str]) -> list[Bin]:
    """Bins of equal width over the confidence of the best label; empty ones are left out."""
    rows = [(max(s.values()), float(top(s) == label)) for s, label in zip(scored, labels, strict=True)]
    found = []
    for number in range(NUM_BINS):
        low, high = number / NUM_BINS, (number + 1) / NUM_BINS
        inside = [row for row in rows if low < row[0] <= high or (number == 0 and row[0] <= 0)]
        if inside:
            confidence, right = (statistics.fmean(column) for column in zip(*inside, strict=True))
            found.append(Bin(low, high, len(inside), confidence, right))
    return found


def calibration_error(bins: Sequence[Bin]) -> float | None:
    """Expected calibration error: the mean distance of confidence and accuracy, weighted by the size of the bins (Guo
    et al. 2017, arXiv 1706.04599, equation 3); None without rows."""
    total = sum(found.n for found in bins)
    return sum(found.n * abs(found.confidence - found.accuracy) for found in bins) / total if total else None


def out_of_scope_auroc(scored: Scored, labels: Sequence[str]) -> float | None:
    """How often a request that no expert should get has a higher score for `general` than one that an expert should
    get; None unless there are both."""
    outside = [label == GENERAL for label in labels]
    if all(outside) or not any(outside):
        return None
    return float(roc_auc_score(outside, [scores.get(GENERAL, 0.0) for scores in scored]))


def measured(scored: Scored, labels: Sequence[str], threshold: float) -> dict[str, Any]:
    """The numbers of one strategy on labelled requests; decisions are made with the threshold."""
    names = tuple(dict.fromkeys([*labels, *(name for scores in scored for name in scores)]))
    predictions = [decide(scores, threshold, "").expert for scores in scored]
    bins = reliability(scored, labels)
    right = [prediction == label for prediction, label in zip(predictions, labels, strict=True)]
    return {
        "accuracy": shortened(statistics.fmean(right)) if right else None,
        "macro_f1": shortened(macro_f1(predictions, labels, names)) if right else None,
        "auroc_out_of_scope": shortened(out_of_scope_auroc(scored, labels)),
        "ece": shortened(calibration_error(bins)),
        "n": len(right),
        "reliability": [{k: shortened(v) for k, v in vars(found).items()} for found in bins],
    }


def shortened(value: float | None) -> float | None:
    """Four places."""
    return None if value is None else round(value, 4)


def median_ms(answer: Callable[[str], Any], texts: Sequence[str]) -> float | None:
    """The median time of single requests, in milliseconds; one more warms up."""
    if not texts:
        return None
    answer(texts[0])
    return round(statistics.median(timed(answer, text) for text in texts[:TIMED_REQUESTS]), 2)


def timed(answer: Callable[[str], Any], text: str) -> float:
    """Milliseconds of one call."""
    start = time.perf_counter()
    answer(text)
    return (time.perf_counter() - start) * 1000
