"""Did training teach the domain or its documents by heart? Passages that were trained on against held-out ones.

The greedy continuation of a prompt (how many tokens of the document it repeats exactly; Carlini et al.
arXiv:2202.07646) and the loss, each compared with the model before training: what was learned of the field lowers the
loss on both kinds of passages, what was learned by heart only on those that were trained on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats as scipy_stats

from judges.stats import LEVEL, NUM_RESAMPLES, NUM_SWAPS, SEED, FloatArray, verdict

MIN_PASSAGES = 2


@dataclass(frozen=True)
class Recall:
    """One passage under one model: exact tokens of its greedy continuation, and nats per continuation token."""

    passage: str
    trained: bool
    exact_tokens: int
    nats: float


def memorisation(found: Mapping[str, Sequence[Recall]], before: str, continuation: int) -> list[dict[str, Any]]:
    """One record per arm, the arm `before` training among them, all on the same passages.

    "loss_ratio" is trained over held-out nats, "excess" how much more (nats per token) the loss fell on trained than on
    held-out passages since `before`, with a bootstrap interval and a permutation p; its verdict is "worse" when the
    documents were learned by heart.
    """
    return [_record(arm, recalls, found.get(before, ()), continuation) for arm, recalls in found.items()]


def _record(arm: str, recalls: Sequence[Recall], before: Sequence[Recall], continuation: int) -> dict[str, Any]:
    trained = np.array([recall.trained for recall in recalls], dtype=bool)
    exact = np.array([recall.exact_tokens for recall in recalls], dtype=np.float64)
    nats = np.array([recall.nats for recall in recalls])
    losses = {"loss_trained": _mean(nats[trained]), "loss_held_out": _mean(nats[~trained])}
    return {
        "arm": arm,
        "num_trained": int(trained.sum()),
        "num_held_out": int((~trained).sum()),
        "exact_tokens_trained": _mean(exact[trained]),
        "exact_tokens_held_out": _mean(exact[~trained]),
        "longest_exact": int(exact.max(initial=0)),
        "whole_trained": int((exact[trained] >= continuation).sum()),
        **losses,
        "loss_ratio": _ratio(losses["loss_trained"], losses["loss_held_out"]),
        **_excess(recalls, before),
    }


def _excess(recalls: Sequence[Recall], before: Sequence[Recall]) -> dict[str, Any]:
    """How much further the loss fell on trained passages than on held-out ones."""
    start = {recall.passage: recall.nats for recall in before}
    falls = [(start[r.passage] - r.nats, r.trained) for r in recalls if r.passage in start]
    trained = np.array([fall for fall, was_trained in falls if was_trained])
    held_out = np.array([fall for fall, was_trained in falls if not was_trained])
    if min(len(trained), len(held_out)) < MIN_PASSAGES or not (trained.any() or held_out.any()):
        return {"excess": None, "low": None, "high": None, "p": None, "verdict": verdict(None, None)}
    random = np.random.default_rng(SEED)
    difference = float(trained.mean() - held_out.mean())
    resampled = _resampled_means(trained, random) - _resampled_means(held_out, random)
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    tested = scipy_stats.permutation_test(
        (trained, held_out), _mean_gap, vectorized=True, n_resamples=NUM_SWAPS, rng=random
    )
    p = float(tested.pvalue)
    return {
        "excess": difference,
        "low": float(low),
        "high": float(high),
        "p": p,
        "verdict": verdict(difference, p, higher_is_better=False),
    }


def _mean_gap(trained: FloatArray, held_out: FloatArray, axis: int) -> FloatArray:
    return np.asarray(trained.mean(axis=axis) - held_out.mean(axis=axis))


def _resampled_means(values: FloatArray, random: np.random.Generator) -> FloatArray:
    drawn: FloatArray = random.choice(values, (NUM_RESAMPLES, len(values))).mean(axis=1)
    return drawn


def _mean(values: FloatArray) -> float | None:
    return float(values.mean()) if len(values) else None


def _ratio(a: float | None, b: float | None) -> float | None:
    return a / b if a is not None and b else None
