"""Intervals and paired tests over items, vectorised and seeded.

Percentile bootstrap (Efron 1979), Wilson interval (1927), arm-swap permutation test with the +1 correction
(Phipson and Smyth, arXiv:1603.05766), Holm correction (1979).
Shapes: N items, F features of an item, R resamples. A statistic is a function of the items' summed features, so that
means, perplexity (ratio of sums) and macro-F1 (counts) share one bootstrap and one test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
Statistic = Callable[[FloatArray], FloatArray]

LEVEL = 0.95
NUM_RESAMPLES = 2_000
NUM_SWAPS = 4_999
SEED = 20_240_607
EXACT_ITEMS = 13
BLOCK_ENTRIES = 1_000_000


@dataclass(frozen=True)
class Interval:
    """A confidence interval; both ends are None where there is too little data for one."""

    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Paired:
    """The difference a - b of a statistic over n paired items, with its interval and two-sided p."""

    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    n: int


def mean(sums: FloatArray) -> FloatArray:
    """Mean from summed features (value, 1): [..., 2] -> [...]."""
    return np.asarray(sums[..., 0] / sums[..., 1])


def perplexity(sums: FloatArray) -> FloatArray:
    """exp(nats per token) from summed features (negative log-likelihood in nats, tokens): [..., 2] -> [...]."""
    with np.errstate(over="ignore"):
        return np.asarray(np.exp(sums[..., 0] / sums[..., 1]))


def macro_f1(sums: FloatArray) -> FloatArray:
    """Mean F1 over the labels that have references, from counts (hits, predictions, references): [..., 3 * L] -> [...].

    A label that a resample has no reference of does not count in that resample.
    """
    hits, predicted, actual = np.split(sums, 3, axis=-1)
    f1 = 2 * hits / np.maximum(predicted + actual, 1)
    present = actual > 0
    return np.asarray((f1 * present).sum(-1) / np.maximum(present.sum(-1), 1))


def statistic_value(items: ArrayLike, statistic: Statistic = mean) -> float | None:
    """The statistic of all items; None without items."""
    features = as_features(items)
    return float(statistic(features.sum(0))) if len(features) else None


def as_features(items: ArrayLike) -> FloatArray:
    """Items as [N, F]: plain values become (value, 1), the features of a mean."""
    array = np.asarray(items, dtype=np.float64)
    return np.stack([array, np.ones_like(array)], axis=1) if array.ndim == 1 else array


def wilson_interval(successes: int, num_trials: int, level: float = LEVEL) -> Interval:
    """Score interval of a proportion; none below two trials."""
    if num_trials < 2:
        return Interval()
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = successes / num_trials
    spread = 1 + z * z / num_trials
    centre = (share + z * z / (2 * num_trials)) / spread
    half = z / spread * float(np.sqrt(share * (1 - share) / num_trials + z * z / (4 * num_trials**2)))
    return Interval(
        low=0.0 if successes == 0 else max(0.0, centre - half),
        high=1.0 if successes == num_trials else min(1.0, centre + half),
    )


def mean_interval(values: ArrayLike, level: float = LEVEL, seed: int = SEED) -> Interval:
    """Percentile bootstrap interval of a mean; none below two values."""
    return bootstrap_interval(values, mean, level, seed)


def bootstrap_interval(
    items: ArrayLike, statistic: Statistic = mean, level: float = LEVEL, seed: int = SEED
) -> Interval:
    """Percentile bootstrap interval of a statistic over items [N, F] (or values [N]); none below two items."""
    features = as_features(items)
    if len(features) < 2:
        return Interval()
    return _percentiles(bootstrap(features, statistic, seed), level)


def bootstrap(features: FloatArray, statistic: Statistic, seed: int = SEED) -> FloatArray:
    """The statistic in each of R resamples of the items [N, F]."""
    blocks = _blocks(_resample, len(features), NUM_RESAMPLES, seed)
    return np.concatenate([statistic(_sums(weights, features)) for weights in blocks])


def paired_test(a: ArrayLike, b: ArrayLike, statistic: Statistic = mean, seed: int = SEED) -> Paired:
    """The difference of a statistic between two arms on the same items, each [N, F] (or values [N]).

    The interval resamples items, the p-value swaps the arms item by item (for a mean: flips signs).
    """
    a_features, b_features = as_features(a), as_features(b)
    if a_features.shape != b_features.shape:
        raise ValueError(f"paired items differ in shape: {a_features.shape} and {b_features.shape}")
    n = len(a_features)
    if n == 0:
        return Paired(None, None, None, None, 0)
    difference = float(statistic(a_features.sum(0)) - statistic(b_features.sum(0)))
    interval = Interval()
    if n > 1:
        resampled = bootstrap(a_features, statistic, seed) - bootstrap(b_features, statistic, seed)
        interval = _percentiles(resampled, LEVEL)
    return Paired(difference, interval.low, interval.high, swap_p(a_features, b_features, statistic, seed), n)


def swap_p(a: FloatArray, b: FloatArray, statistic: Statistic = mean, seed: int = SEED) -> float:
    """Two-sided p of 'the arms are exchangeable within an item'.

    Items on which the arms agree change nothing; up to EXACT_ITEMS others are enumerated, more are sampled.
    """
    sums_b, total, delta = b.sum(0), a.sum(0) + b.sum(0), a - b
    differing, moving = delta.any(1), delta.any(0)
    exact = int(differing.sum()) <= EXACT_ITEMS
    blocks = iter([_all_swaps(int(differing.sum()))]) if exact else _blocks(_random_swaps, len(a), NUM_SWAPS, seed)
    steps = (delta[differing] if exact else delta)[:, moving]
    observed = abs(float(statistic(a.sum(0)) - statistic(sums_b)))
    extreme, count = 0, 0
    for swaps in blocks:
        swapped = np.tile(sums_b, (len(swaps), 1))
        swapped[:, moving] += _sums(swaps, steps)
        differences = np.abs(statistic(swapped) - statistic(total - swapped))
        extreme += int(np.sum(differences >= observed - 1e-9 * max(observed, float(differences.max()))))
        count += len(swaps)
    return extreme / count if exact else (extreme + 1) / (count + 1)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm-adjusted p-values in the order given; None stays None and is no member of the family."""
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    running = 0.0
    for rank, (p, index) in enumerate(known):
        running = max(running, min(1.0, p * (len(known) - rank)))
        adjusted[index] = running
    return adjusted


def _sums(weights: FloatArray, features: FloatArray) -> FloatArray:
    """Weighted sums of items, [R, N] x [N, F] -> [R, F].

    Not a matrix product: BLAS threads lose ten times on such thin matrices when other processes keep the cores busy.
    """
    columns = [np.einsum("rn,n->r", weights, np.ascontiguousarray(column)) for column in features.T]
    return np.stack(columns, axis=1) if columns else np.zeros((len(weights), 0))


def _percentiles(values: FloatArray, level: float) -> Interval:
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def _blocks(
    draw: Callable[[int, int, int], FloatArray], num_items: int, num_rows: int, seed: int
) -> Iterator[FloatArray]:
    """Random rows [r, N] in blocks of bounded size; the same call gives the same rows, so arms stay paired."""
    rows = max(1, min(num_rows, BLOCK_ENTRIES // num_items))
    for block, start in enumerate(range(0, num_rows, rows)):
        yield draw(num_items, min(rows, num_rows - start), seed + block)


@lru_cache(maxsize=16)
def _resample(num_items: int, num_rows: int, seed: int) -> FloatArray:
    """How often each item is drawn in each of the resamples."""
    drawn = np.random.default_rng(seed).integers(0, num_items, size=(num_rows, num_items))
    drawn += num_items * np.arange(num_rows)[:, None]
    return np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape).astype(np.float64)


@lru_cache(maxsize=16)
def _random_swaps(num_items: int, num_rows: int, seed: int) -> FloatArray:
    return np.random.default_rng(seed).integers(0, 2, size=(num_rows, num_items), dtype=np.int8).astype(np.float64)


@lru_cache(maxsize=16)
def _all_swaps(num_items: int) -> FloatArray:
    return ((np.arange(2**num_items)[:, None] >> np.arange(num_items)) & 1).astype(np.float64)
