"""Intervals and paired tests over items, vectorised and seeded.

Percentile bootstrap (Efron 1979), Wilson interval (1927), arm-swap permutation test with the +1 correction
(Phipson and Smyth, arXiv:1603.05766), Holm correction (1979), minimum detectable effect (Bloom 1995, doi
10.1177/0193841X9501900504).
Shapes: N items, C clusters, F features of an item, R resamples. A statistic is a function of the items' summed
features, so that means, perplexity (ratio of sums) and macro-F1 (counts) share one bootstrap and one test, and so that
items of one conversation become one unit of both by summing their features first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
Statistic = Callable[[FloatArray], FloatArray]
Outcome = Literal["better", "worse", "not enough evidence"]

LEVEL = 0.95
SIGNIFICANCE = 0.05
POWER = 0.8
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
    """The difference a - b of a statistic over n paired items in `clusters` independent units, with its interval,
    two-sided p and bootstrap standard error (None below two units)."""

    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    n: int
    clusters: int = 0
    standard_error: float | None = None


def mean(sums: FloatArray) -> FloatArray:
    """Mean from summed features (value, 1): [..., 2] -> [...]."""
    return np.asarray(sums[..., 0] / sums[..., 1])


def perplexity(sums: FloatArray) -> FloatArray:
    """exp(nats per token) from summed features (negative log-likelihood in nats, tokens): [..., 2] -> [...]."""
    with np.errstate(over="ignore"):
        return np.asarray(np.exp(sums[..., 0] / sums[..., 1]))


def macro_f1(sums: FloatArray) -> FloatArray:
    """Mean F1 over the labels that have references, from `label_counts`: [..., 3 * L] -> [...].

    This is the one definition of macro-F1. A label without references (of the items, or of a resample) does not count:
    so two arms on the same items average over the same labels. A prediction of such a label is a miss of its
    reference's label.
    """
    hits, predicted, actual = np.split(sums, 3, axis=-1)
    f1 = 2 * hits / np.maximum(predicted + actual, 1)
    present = actual > 0
    return np.asarray((f1 * present).sum(-1) / np.maximum(present.sum(-1), 1))


def label_counts(predictions: Sequence[str | None], references: Sequence[str], labels: Sequence[str]) -> FloatArray:
    """The features of macro-F1, [N, 3 * L]: per item and label whether it is a hit, predicted, and the reference."""
    predicted = np.array([[prediction == label for label in labels] for prediction in predictions], dtype=np.float64)
    actual = np.array([[reference == label for label in labels] for reference in references], dtype=np.float64)
    return np.concatenate([predicted * actual, predicted, actual], axis=-1)


def statistic_value(items: ArrayLike, statistic: Statistic = mean) -> float | None:
    """The statistic of all items; None without items."""
    features = as_features(items)
    return float(statistic(features.sum(0))) if len(features) else None


def as_features(items: ArrayLike) -> FloatArray:
    """Items as [N, F]: plain values become (value, 1), the features of a mean."""
    array = np.asarray(items, dtype=np.float64)
    return np.stack([array, np.ones_like(array)], axis=1) if array.ndim == 1 else array


def cluster_sums(features: FloatArray, clusters: Sequence[str] | None) -> FloatArray:
    """Features summed over the items of a cluster, [N, F] -> [C, F], clusters in the order of their first item."""
    if clusters is None or len(set(clusters)) == len(features):
        return features
    places = {cluster: place for place, cluster in enumerate(dict.fromkeys(clusters))}
    sums = np.zeros((len(places), features.shape[1]))
    np.add.at(sums, [places[cluster] for cluster in clusters], features)
    return sums


def wilson_interval(successes: float, num_trials: float, level: float = LEVEL) -> Interval:
    """Score interval of a proportion; none below two trials. Effective counts of clustered items may be fractions."""
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


def paired_test(
    a: ArrayLike, b: ArrayLike, statistic: Statistic = mean, seed: int = SEED, clusters: Sequence[str] | None = None
) -> Paired:
    """The difference of a statistic between two arms on the same items, each [N, F] (or values [N]).

    The interval resamples clusters (each item is its own without any), the p-value swaps the arms cluster by cluster
    (for a mean: flips signs).
    """
    a_features, b_features = as_features(a), as_features(b)
    if a_features.shape != b_features.shape:
        raise ValueError(f"paired items differ in shape: {a_features.shape} and {b_features.shape}")
    if len(a_features) == 0:
        return Paired(None, None, None, None, 0)
    n, a_features, b_features = len(a_features), cluster_sums(a_features, clusters), cluster_sums(b_features, clusters)
    difference = float(statistic(a_features.sum(0)) - statistic(b_features.sum(0)))
    interval, error = Interval(), None
    if len(a_features) > 1:
        resampled = bootstrap(a_features, statistic, seed) - bootstrap(b_features, statistic, seed)
        interval, error = _percentiles(resampled, LEVEL), float(resampled.std())
    p = swap_p(a_features, b_features, statistic, seed)
    return Paired(difference, interval.low, interval.high, p, n, len(a_features), error)


def swap_p(
    a: FloatArray, b: FloatArray, statistic: Statistic = mean, seed: int = SEED, num_swaps: int = NUM_SWAPS
) -> float:
    """Two-sided p of 'the arms are exchangeable within an item'.

    Items on which the arms agree change nothing; up to EXACT_ITEMS others are enumerated, more are sampled.
    """
    sums_b, total, delta = b.sum(0), a.sum(0) + b.sum(0), a - b
    differing, moving = delta.any(1), delta.any(0)
    exact = int(differing.sum()) <= EXACT_ITEMS
    blocks = iter([_all_swaps(int(differing.sum()))]) if exact else _blocks(_random_swaps, len(a), num_swaps, seed)
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


def verdict(difference: float | None, adjusted_p: float | None, higher_is_better: bool = True) -> Outcome:
    """The one rule: a side only with an adjusted p below SIGNIFICANCE, by the sign of the difference a - b."""
    if not difference or adjusted_p is None or adjusted_p >= SIGNIFICANCE:
        return "not enough evidence"
    return "better" if (difference > 0) == higher_is_better else "worse"


def minimum_detectable(standard_error: float | None, num_units: int, num_tests: int = 1) -> float | None:
    """The smallest true difference that POWER of such experiments would call better or worse:

    (z(1 - alpha / 2) + z(POWER)) * standard error, alpha = SIGNIFICANCE / num_tests: Holm's strictest step, so with
    several tests it errs on the large side. None where the differences do not vary, or where there are too few units
    for any p below alpha (the smallest of a sign-flip test over u units is 2 / 2^u).
    """
    alpha = SIGNIFICANCE / max(1, num_tests)
    smallest_p = 2.0 ** (1 - num_units) if num_units <= EXACT_ITEMS else 1 / (NUM_SWAPS + 1)
    if not standard_error or smallest_p >= alpha:
        return None
    normal = NormalDist()
    return (normal.inv_cdf(1 - alpha / 2) + normal.inv_cdf(POWER)) * standard_error


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
