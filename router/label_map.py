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

STRENGTHS = (0.3, 1.0, 3.0, 10.0)  # of the pull, per request that was learnt from
NUM_FOLDS = 4
GAIN_PULL = 0.1
LEAST = 1e-6


@dataclass(frozen=True)
class LabelMap:
    """Logits are scores @ weights.T + bias: `weights` (L, L), `bias` (L,)."""

    weights: FloatArray
    bias: FloatArray

    def __call__(self, scores_NL: FloatArray) -> FloatArray:
        """Probabilities (N, L)."""
        return softmax(scores_NL @ self.weights.T + self.bias)


@dataclass(frozen=True)
class Rows:
    """What is learnt from: calibrated scores and the same ones standardised label by label, both (N, L)."""

    scores_NL: FloatArray
    standard_NL: FloatArray
    targets: Sequence[int]

    def part(self, rows: Sequence[int]) -> Rows:
        """Some of them."""
        return Rows(self.scores_NL[rows], self.standard_NL[rows], [self.targets[row] for row in rows])


def fit_map(scores_NL: FloatArray, prior_L: FloatArray, targets: Sequence[int]) -> LabelMap:
    """The map: a gain times `scores - prior`, the scores of a request without content (`prior_L` 0 is no calibration),
    plus a correction that reads the standardised scores. How hard the correction is pulled towards none is chosen by
    cross-validation."""
    calibrated_NL = scores_NL - prior_L
    if not len(targets):
        return LabelMap(np.eye(len(prior_L)), -prior_L)
    center_L, spread_L = calibrated_NL.mean(axis=0), calibrated_NL.std(axis=0) + LEAST
    common_N1 = calibrated_NL.mean(axis=1, keepdims=True)  # changes no probability, but the search finds its way sooner
    rows = Rows(calibrated_NL - common_N1, (calibrated_NL - center_L) / spread_L, targets)
    found = solved(rows, chosen_strength(rows))
    weights_LL = found.correction_LL / spread_L
    bias_L = found.bias_L - weights_LL @ center_L
    whole_LL = found.gain * np.eye(len(prior_L)) + weights_LL
    return LabelMap(whole_LL, bias_L - whole_LL @ prior_L)


def chosen_strength(rows: Rows) -> float:
    """The strength with the least cross-entropy on rows that were left out; the strongest for few rows."""
    if len(rows.targets) < 2 * NUM_FOLDS:
        return STRENGTHS[-1]
    return min(STRENGTHS, key=lambda strength: held_out_loss(rows, strength))


def held_out_loss(rows: Rows, strength: float) -> float:
    """Mean cross-entropy of rows under maps fitted on the other folds; labels are spread over the folds."""
    order = sorted(range(len(rows.targets)), key=lambda row: rows.targets[row])
    found = np.zeros_like(rows.scores_NL)
    for fold in range(NUM_FOLDS):
        inside = order[fold::NUM_FOLDS]
        outside = [row for place, row in enumerate(order) if place % NUM_FOLDS != fold]
        found[inside] = solved(rows.part(outside), strength).probabilities(rows.part(inside))
    return soft_cross_entropy(found, rows.targets)


@dataclass(frozen=True)
class Solution:
    """A gain for the calibrated scores of all labels, and the correction."""

    gain: float
    correction_LL: FloatArray
    bias_L: FloatArray

    def probabilities(self, rows: Rows) -> FloatArray:
        """Of rows (N, L)."""
        return softmax(self.gain * rows.scores_NL + rows.standard_NL @ self.correction_LL.T + self.bias_L)


def solved(rows: Rows, strength: float) -> Solution:
    """The least cross-entropy, penalised for the correction and a little for a gain other than 1."""
    num_rows, size = rows.scores_NL.shape
    scores, standard = torch.from_numpy(rows.scores_NL), torch.from_numpy(rows.standard_NL)
    wanted = torch.tensor(list(rows.targets))

    def loss(point: Tensor) -> Tensor:
        weights_LL, bias_L = point[1 : 1 + size * size].view(size, size), point[1 + size * size :]
        logits_NL = point[0] * scores + standard @ weights_LL.T + bias_L
        pull = point[1:].square().sum() + (point[0] - 1).square() * GAIN_PULL
        found: Tensor = torch.nn.functional.cross_entropy(logits_NL, wanted) + strength / (2 * num_rows) * pull
        return found

    start = torch.zeros(1 + size * size + size, dtype=torch.float64)
    start[0] = 1.0
    point = minimised(loss, start).numpy()
    return Solution(float(point[0]), point[1 : 1 + size * size].reshape(size, size), point[1 + size * size :])
