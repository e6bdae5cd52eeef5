"""From the scores that a language model gives the labels to logits: contextual calibration and a learnt correction.

Contextual calibration (Zhao et al. 2021, arXiv 2102.09690) takes out what the model says to requests without content:
its prior over the labels under this prompt. On top of it a linear correction is learnt from labelled requests, and it
is pulled towards none: without such requests the calibrated scores decide alone, with few of them the prior still
counts. Letters: N requests, L labels; scores are log-probabilities in nats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from router.calibration import soft_cross_entropy, softmax
from router.minimum import minimised

FloatArray = NDArray[np.float64]

STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0)  # of the pull, per request that was learnt from
NUM_FOLDS = 4
LEAST = 1e-6


@dataclass(frozen=True)
class LabelMap:
    """Logits are scores @ weights.T + bias: `weights` (L, L), `bias` (L,)."""

    weights: FloatArray
    bias: FloatArray

    def __call__(self, scores_NL: FloatArray) -> FloatArray:
        """Probabilities (N, L)."""
        return softmax(scores_NL @ self.weights.T + self.bias)


def fit_map(scores_NL: FloatArray, prior_L: FloatArray, targets: Sequence[int]) -> LabelMap:
    """The map around `scores - prior`, the scores of a request without content; `prior_L` 0 is no calibration. How hard
    the correction is pulled towards none is chosen by cross-validation."""
    features_NL = centred(scores_NL - prior_L)
    spread = max(float(features_NL.std()), LEAST) if len(features_NL) else 1.0
    best = chosen_strength(features_NL / spread, targets)
    weights, bias = solved(features_NL / spread, targets, best, spread)
    size = len(prior_L)
    raw = weights / spread @ (np.eye(size) - 1 / size)  # centring is part of the map
    return LabelMap(raw, bias - raw @ prior_L)


def centred(scores_NL: FloatArray) -> FloatArray:
    """Rows with mean 0: how likely any label is says nothing about which."""
    return np.asarray(scores_NL - scores_NL.mean(axis=1, keepdims=True))


def chosen_strength(features_NL: FloatArray, targets: Sequence[int]) -> float:
    """The strength with the least cross-entropy on rows that were left out; the strongest for few rows."""
    if len(targets) < 2 * NUM_FOLDS:
        return STRENGTHS[-1]
    return min(STRENGTHS, key=lambda strength: held_out_loss(features_NL, targets, strength))


def held_out_loss(features_NL: FloatArray, targets: Sequence[int], strength: float) -> float:
    """Mean cross-entropy of rows under maps fitted on the other folds; labels are spread over the folds."""
    order = sorted(range(len(targets)), key=lambda row: targets[row])
    found = np.zeros_like(features_NL)
    for fold in range(NUM_FOLDS):
        inside = order[fold::NUM_FOLDS]
        outside = [row for place, row in enumerate(order) if place % NUM_FOLDS != fold]
        weights, bias = solved(features_NL[outside], [targets[row] for row in outside], strength, 1.0)
        found[inside] = softmax(features_NL[inside] @ weights.T + bias)
    return soft_cross_entropy(found, targets)


def solved(
    features_NL: FloatArray, targets: Sequence[int], strength: float, gain: float
) -> tuple[FloatArray, FloatArray]:
    """Weights (L, L) and bias (L,) with the least penalised cross-entropy: one gain for all labels, which is free once
    there are rows, plus a correction. Without rows the gain is `gain`."""
    num_rows, size = features_NL.shape
    if not num_rows:
        return gain * np.eye(size), np.zeros(size)
    features, wanted = torch.from_numpy(features_NL), torch.tensor(list(targets))

    def parts(point: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return point[0], point[1 : 1 + size * size].view(size, size), point[1 + size * size :]

    def loss(point: Tensor) -> Tensor:
        shared, weights_LL, bias_L = parts(point)
        logits_NL = shared * features + features @ weights_LL.T + bias_L
        pull = weights_LL.square().sum() + bias_L.square().sum() + LEAST * shared.square()
        return torch.nn.functional.cross_entropy(logits_NL, wanted) + strength / (2 * num_rows) * pull

    start = torch.zeros(1 + size * size + size, dtype=torch.float64)
    shared, weights_LL, bias_L = parts(minimised(loss, start))
    return (shared * torch.eye(size) + weights_LL).numpy(), bias_L.numpy()
