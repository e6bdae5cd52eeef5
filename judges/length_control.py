"""Win rate at equal answer length: does an arm win because it is better, or because it writes more?

In the manner of length-controlled AlpacaEval (arXiv:2404.04475): logit P(a wins) = c + s * tanh(length difference /
its standard deviation); the win rate at length difference 0 is sigmoid(c). A tie counts one half. The coefficients have
a weak normal prior (half the information of one balanced item), so that few items, or one side winning
all of them, still give a finite answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from judges.stats import LEVEL, SEED, FloatArray, Interval, cluster_sums

NUM_RESAMPLES = 400
NUM_STEPS = 15
PRIOR = 0.125
MIN_ITEMS = 5


@dataclass(frozen=True)
class WinRate:
    """Share of items that a wins (ties one half): raw, and at equal length with its interval.

    `length_effect` is the log-odds that a typical length difference adds; None below MIN_ITEMS items.
    """

    raw: float | None
    controlled: float | None
    low: float | None
    high: float | None
    length_effect: float | None
    n: int

    def as_dict(self) -> dict[str, Any]:
        """The form in report.json."""
        return asdict(self)


def win_rate(wins: FloatArray, length_difference: FloatArray, clusters: Sequence[str] | None = None) -> WinRate:
    """From wins [N] in {0, 1/2, 1} of a over b and the lengths of a minus those of b [N], in words."""
    n = len(wins)
    if n < MIN_ITEMS:
        return WinRate(float(wins.mean()) if n else None, None, None, None, None, n)
    spread = float(length_difference.std())
    feature = np.tanh(length_difference / spread) if spread > 0 else np.zeros(n)
    coefficients = fit(wins, feature, np.ones((1, n)))[0]
    interval = _interval(wins, feature, coefficients, clusters)
    controlled, slope = float(sigmoid(coefficients[0])), float(coefficients[1])
    return WinRate(float(wins.mean()), controlled, interval.low, interval.high, slope, n)


def _interval(
    wins: FloatArray, feature: FloatArray, coefficients: FloatArray, clusters: Sequence[str] | None
) -> Interval:
    """The wider end of each: resampled clusters, and the model's own standard error, because resamples of a unanimous
    outcome are unanimous too and would claim certainty."""
    resampled = fit(wins, feature, item_weights(len(wins), clusters))[:, 0]
    ends = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    design = np.stack([np.ones_like(feature), feature], axis=1)
    share = sigmoid(design @ coefficients)
    information = (design.T * (share * (1 - share))) @ design + PRIOR * np.eye(2)
    reach = NormalDist().inv_cdf((1 + LEVEL) / 2) * float(np.sqrt(np.linalg.inv(information)[0, 0]))
    low, high = min(ends[0], coefficients[0] - reach), max(ends[1], coefficients[0] + reach)
    return Interval(float(sigmoid(low)), float(sigmoid(high)))


def fit(wins: FloatArray, feature: FloatArray, weights: FloatArray, prior: float = PRIOR) -> FloatArray:
    """Penalised logistic coefficients (intercept, slope) under R weightings of the items: weights [R, N] -> [R, 2]."""
    design = np.stack([np.ones_like(feature), feature], axis=1)
    beta = np.zeros((len(weights), 2))
    products = np.einsum("ni,nj->nij", design, design)
    for _ in range(NUM_STEPS):
        share = sigmoid(beta @ design.T)
        gradient = (weights * (wins - share)) @ design - prior * beta
        information = np.einsum("rn,nij->rij", weights * share * (1 - share), products) + prior * np.eye(2)
        beta += np.linalg.solve(information, gradient[..., None])[..., 0]
    return beta


def item_weights(num_items: int, clusters: Sequence[str] | None) -> FloatArray:
    """How often each item occurs in each resample of clusters, [R, N]."""
    members = cluster_sums(np.eye(num_items), clusters)
    drawn = np.random.default_rng(SEED).multinomial(
        len(members), np.full(len(members), 1 / len(members)), NUM_RESAMPLES
    )
    return np.asarray(drawn @ members, dtype=np.float64)


def sigmoid(value: FloatArray) -> FloatArray:
    """1 / (1 + exp(-value))."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * value)))
