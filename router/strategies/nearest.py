"""Nearest in meaning: a logistic head over the embedded encoder's sentence vectors; no language model is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from router.calibration import FloatArray, rows_of, softmax
from router.encoder import Encoder
from router.material import Material, Sources
from router.strategies.few_shot import expand

STRENGTH = 10.0


@dataclass(frozen=True)
class Strategy:
    """`weights` (L, D) and `bias` (L,) map unit vectors to logits."""

    encoder: Encoder
    labels: tuple[str, ...]
    weights: FloatArray
    bias: FloatArray

    def __call__(self, texts: Sequence[str]) -> list[dict[str, float]]:
        """Probabilities over the labels, one dict per text."""
        return rows_of(softmax(self.encoder(texts) @ self.weights.T + self.bias), self.labels)


def fit(material: Material) -> Strategy:
    """On the training requests."""
    return fit_on(material, material.train)


def refit(material: Material, strategy: Strategy) -> Strategy:
    """On train and dev."""
    return fit_on(material, [*material.train, *material.dev])


def fit_on(material: Material, rows: Sequence[Any]) -> Strategy:
    """The head on labelled requests."""
    from sklearn.linear_model import LogisticRegression

    vectors = material.sources.encoder([row.text for row in rows])
    model = LogisticRegression(C=STRENGTH, max_iter=3000)
    model.fit(vectors, [material.labels.index(row.label) for row in rows])
    weights, bias = expand(model, len(material.labels))
    return Strategy(material.sources.encoder, material.labels, weights, bias)


def as_dict(strategy: Strategy) -> dict[str, Any]:
    """The fitted head as JSON."""
    return {"weights": np.round(strategy.weights, 5).tolist(), "bias": strategy.bias.tolist()}


def from_dict(values: Mapping[str, Any], labels: Sequence[str], sources: Sources, parts: Mapping[str, Any]) -> Strategy:
    """A fitted head from JSON."""
    return Strategy(sources.encoder, tuple(labels), np.array(values["weights"]), np.array(values["bias"]))


def digests(values: Mapping[str, Any], sources: Sources) -> dict[str, str]:
    """What the head is bound to."""
    return {"encoder": sources.encoder_digest}
