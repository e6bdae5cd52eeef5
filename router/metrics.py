"""How well a strategy routes labelled requests: macro-F1 of its decisions, how its scores tell requests that no expert
should get (AUROC), and whether its confidence is the share of right answers (expected calibration error)."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sklearn.metrics import roc_auc_score

from domains.domain import GENERAL
from judges.classification import macro_f1
from judges.reliability import reliability
from router.route import decide

TIMED_REQUESTS = 15

Scored = Sequence[Mapping[str, float]]


def top(scores: Mapping[str, float]) -> str:
    """The best label."""
    return max(scores, key=lambda name: scores[name])


def out_of_scope_auroc(scored: Scored, labels: Sequence[str]) -> float | None:
    """How often a request that no expert should get has a higher score for `general` than one that an expert should
    get; None unless there are both."""
    outside = [label == GENERAL for label in labels]
    if all(outside) or not any(outside):
        return None
    return float(roc_auc_score(outside, [scores.get(GENERAL, 0.0) for scores in scored]))


def measured(scored: Scored, labels: Sequence[str], threshold: float) -> dict[str, Any]:
    """The numbers of one strategy on labelled requests. Decisions are made with the threshold; `ece` and `reliability`
    are about the confidence of the best label, whether or not it is above."""
    names = tuple(dict.fromkeys([*labels, *(name for scores in scored for name in scores)]))
    predictions = [decide(scores, threshold, "").expert for scores in scored]
    best = [top(scores) == label for scores, label in zip(scored, labels, strict=True)]
    found = reliability([max(scores.values()) for scores in scored], best)
    right = [prediction == label for prediction, label in zip(predictions, labels, strict=True)]
    return {
        "accuracy": shortened(statistics.fmean(right)) if right else None,
        "macro_f1": shortened(macro_f1(predictions, labels, names)) if right else None,
        "auroc_out_of_scope": shortened(out_of_scope_auroc(scored, labels)),
        "ece": shortened(found["error"]),
        "n": len(right),
        "reliability": found,
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
