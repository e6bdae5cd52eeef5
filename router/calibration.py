"""Scores that mean what they say: a temperature fitted on dev (Guo et al. 2017, arXiv 1706.04599), and a threshold
under which the router leaves a request to the general model.

Letters: N requests, L labels. Probabilities are rows that sum to 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from domains.domain import GENERAL
from domains.errors import UserError
from router.route import Strategy

FloatArray = NDArray[np.float64]
Method = Literal["conformal", "coverage"]

TEMPERATURES = np.geomspace(0.1, 10.0, 201)
FLOOR = 1e-12


@dataclass(frozen=True)
class Abstention:
    """How the threshold is chosen on dev, over the requests that an expert should get.

    `coverage`: the share `target` of them goes to an expert. `conformal`: a new one does not with probability at most
    1 - target, whatever the scores are like, if it is drawn like those on dev (split conformal prediction, Vovk
    et al. 2005); with few dev rows that can only mean no threshold.
    """

    method: Method = "conformal"
    target: float = 0.95

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise UserError(f"The abstention method is '{self.method}'. Use one of {', '.join(get_args(Method))}.")
        if not 0 < self.target < 1:
            raise UserError(f"The abstention target is {self.target}. Use a share between 0 and 1, like 0.95.")


def log_probabilities(probabilities_NL: FloatArray) -> FloatArray:
    """Logs that stay finite."""
    return np.log(np.maximum(probabilities_NL, FLOOR))


def softmax(logits_NL: FloatArray) -> FloatArray:
    """Probabilities along the last axis."""
    exponentials = np.exp(logits_NL - logits_NL.max(axis=-1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True))


def tempered(probabilities_NL: FloatArray, temperature: float) -> FloatArray:
    """Probabilities to the power of 1 / temperature; the order of the labels stays."""
    return softmax(log_probabilities(probabilities_NL) / temperature)


def fit_temperature(probabilities_NL: FloatArray, targets: Sequence[int]) -> float:
    """The temperature with the least cross-entropy on labelled requests; 1 without any.

    The true label gets 1 - 1 / (N + 2) and the others share the rest, so that a few dev rows without an error do not
    claim certainty (Platt 1999, section 2.2).
    """
    if not len(targets) or probabilities_NL.shape[1] < 2:
        return 1.0
    losses = [soft_cross_entropy(tempered(probabilities_NL, t), targets) for t in TEMPERATURES]
    return float(TEMPERATURES[int(np.argmin(losses))])


def soft_cross_entropy(probabilities_NL: FloatArray, targets: Sequence[int]) -> float:
    """Mean cross-entropy (nats) against targets that are not quite certain."""
    num_rows, num_labels = probabilities_NL.shape
    rest = 1 / (num_rows + 2)
    wanted = np.full((num_rows, num_labels), rest / (num_labels - 1))
    wanted[np.arange(num_rows), list(targets)] = 1 - rest
    return float(-(wanted * log_probabilities(probabilities_NL)).sum(axis=1).mean())


def fit_threshold(scored: Sequence[Mapping[str, float]], labels: Sequence[str], abstention: Abstention) -> float:
    """The confidence under which a request is left to the general model; 0 when too few rows can say.

    With n confidences in order, coverage takes the one that floor(n (1 - target)) are under; conformal the one of rank
    floor((n + 1) (1 - target)), which a new confidence is under with probability at most 1 - target. A request that
    `general` wins has the confidence 0, because it is left to the general model at any threshold; where that happens
    more often than 1 - target, no threshold keeps the promise, and it is 0.
    """
    confidences = sorted(confidences_of(scored, labels))
    size, refused = len(confidences), 1 - abstention.target + 1e-9
    place = int(size * refused) if abstention.method == "coverage" else int((size + 1) * refused) - 1
    return confidences[place] if 0 <= place < size else 0.0


def confidences_of(scored: Sequence[Mapping[str, float]], labels: Sequence[str]) -> list[float]:
    """How surely each request that an expert should get would go to one."""
    pairs = zip(scored, labels, strict=True)
    return [expert_confidence(scores) for scores, label in pairs if label != GENERAL]


def expert_confidence(scores: Mapping[str, float]) -> float:
    """The best score if it is an expert's, else 0."""
    best = max(scores, key=lambda name: scores[name])
    return 0.0 if best == GENERAL else scores[best]


def coverage(scored: Sequence[Mapping[str, float]], labels: Sequence[str], threshold: float) -> float | None:
    """The share of the requests that an expert should get that goes to one; None without any."""
    found = [confidence > 0 and confidence >= threshold for confidence in confidences_of(scored, labels)]
    return sum(found) / len(found) if found else None


def table(scored: Sequence[Mapping[str, float]], labels: Sequence[str]) -> FloatArray:
    """Dicts of probabilities as rows (N, L) in the order of the labels."""
    return np.array([[scores.get(name, 0.0) for name in labels] for scores in scored]).reshape(-1, len(labels))


def rows_of(probabilities_NL: FloatArray, labels: Sequence[str]) -> list[dict[str, float]]:
    """Rows (N, L) as dicts of probabilities."""
    return [dict(zip(labels, map(float, row), strict=True)) for row in probabilities_NL]


@dataclass(frozen=True)
class Calibrated:
    """A strategy with its temperature."""

    strategy: Strategy
    labels: tuple[str, ...]
    temperature: float

    def __call__(self, texts: Sequence[str]) -> list[dict[str, float]]:
        """Calibrated probabilities over the labels, one dict per text."""
        return rows_of(tempered(table(self.strategy(texts), self.labels), self.temperature), self.labels)
