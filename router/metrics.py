"""How well a strategy routes labelled requests: macro-F1 of its decisions, how its scores tell requests that no expert
should get (AUROC), and whether its confidence is the share of right answers (expected calibration error). Intervals are
of 95%: Wilson for shares, else percentile bootstrap over requests."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from domains.domain import GENERAL
from judges import stats
from judges.classification import macro_f1
from judges.reliability import NUM_BINS, reliability
from judges.stats import FloatArray, Interval, bootstrap_interval, label_counts, wilson_interval
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


def intervals(scored: Scored, labels: Sequence[str], threshold: float) -> dict[str, dict[str, Any]]:
    """Metric of `measured` -> {"low", "high", "n"}; both ends are None where there is no interval."""
    predictions = [decide(scores, threshold, "").expert for scores in scored]
    right = [prediction == label for prediction, label in zip(predictions, labels, strict=True)]
    outside = [label == GENERAL for label in labels]
    found = {
        "accuracy": wilson_interval(sum(right), len(right)),
        "macro_f1": bootstrap_interval(label_counts(predictions, labels, tuple(dict.fromkeys(labels))), stats.macro_f1),
        "auroc_out_of_scope": Interval(),
        "ece": bootstrap_interval(gap_features(scored, labels), calibration_error),
    }
    if any(outside) and not all(outside):
        found["auroc_out_of_scope"] = bootstrap_interval(rank_features(scored, outside), auroc)
    return {
        metric: {"low": shortened(interval.low), "high": shortened(interval.high), "n": len(right)}
        for metric, interval in found.items()
    }


def gap_features(scored: Scored, labels: Sequence[str]) -> FloatArray:
    """The features of the expected calibration error, [N, bins + 1]: what the best label's confidence lacks to the
    truth (1 or 0), in the column of its bin, and a one."""
    found = np.zeros((len(labels), NUM_BINS + 1))
    found[:, -1] = 1
    for row, (scores, label) in enumerate(zip(scored, labels, strict=True)):
        confidence = max(scores.values())
        found[row, min(NUM_BINS - 1, int(confidence * NUM_BINS))] = (top(scores) == label) - confidence
    return found


def calibration_error(sums: FloatArray) -> FloatArray:
    """Expected calibration error from summed `gap_features`: [..., bins + 1] -> [...]."""
    return np.asarray(np.abs(sums[..., :-1]).sum(-1) / sums[..., -1])


def rank_features(scored: Scored, outside: Sequence[bool]) -> FloatArray:
    """The features of AUROC, [N, 2 * D]: whether a request has the d-th smallest of D different scores for `general`,
    and is out of scope (first half) or in scope (second half)."""
    scores_N = np.array([scores.get(GENERAL, 0.0) for scores in scored])
    is_at_ND = scores_N[:, None] == np.unique(scores_N)
    outside_N1 = np.array(outside)[:, None]
    return np.concatenate([is_at_ND & outside_N1, is_at_ND & ~outside_N1], axis=1).astype(np.float64)


def auroc(sums: FloatArray) -> FloatArray:
    """AUROC from summed `rank_features`, ties counted half: [..., 2 * D] -> [...]; 0.5 where one side is missing."""
    outside, inside = np.split(sums, 2, axis=-1)
    below = inside.cumsum(-1) - inside / 2
    pairs = outside.sum(-1) * inside.sum(-1)
    return np.asarray(np.where(pairs > 0, (outside * below).sum(-1) / np.maximum(pairs, 1), 0.5))


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
