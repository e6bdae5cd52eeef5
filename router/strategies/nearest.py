"""Nearest in meaning: the embedded encoder's sentence vectors, a logistic head over two of its layers, and a vote of
the nearest training requests; no language model is needed.

The head tells close labels apart. The vote (the mean cosine to a label's nearest requests) knows what is far from
everything, so it is what finds requests that are out of scope. Strengths were chosen by cross-validation on train and
dev rows and on public intent data (CLINC150).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import BaseModel

from domains.errors import UserError
from domains.example import Utterance
from experts.digests import digest_of
from router.calibration import FloatArray, rows_of, softmax
from router.encoder import Encoder
from router.material import Material, Matrix, Sources, Vector

STRENGTH = 30.0  # of the head: the inverse of its regularisation
NUM_NEIGHBOURS = 3
VOTE = 6.0  # logits per cosine
FAR = -1.0
DIGITS = 5


@dataclass(frozen=True)
class Strategy:
    """`weights` (L, 2 D) and `bias` (L,) map vectors to logits; `examples` (E, D) are the training requests' vectors of
    the last layer and `targets` (E,) their labels' places."""

    encoder: Encoder
    labels: tuple[str, ...]
    weights: FloatArray
    bias: FloatArray
    examples: FloatArray
    targets: tuple[int, ...]

    def __call__(self, texts: Sequence[str]) -> list[dict[str, float]]:
        """Probabilities over the labels, one dict per text."""
        vectors_N2D = self.encoder(texts)
        head_NL = joined(vectors_N2D) @ self.weights.T + self.bias
        return rows_of(softmax(head_NL + VOTE * self.votes(vectors_N2D[:, 0])), self.labels)

    def votes(self, vectors_ND: FloatArray) -> FloatArray:
        """The mean cosine to each label's nearest training requests (N, L); FAR for a label without any."""
        cosines_NE = vectors_ND @ self.examples.T
        found = np.full((len(vectors_ND), len(self.labels)), FAR)
        for place in set(self.targets):
            mine = np.sort(cosines_NE[:, np.array(self.targets) == place], axis=1)
            found[:, place] = mine[:, -NUM_NEIGHBOURS:].mean(axis=1)
        return found


def joined(vectors_N2D: FloatArray) -> FloatArray:
    """Both layers as one unit vector (N, 2 D)."""
    num_texts, num_layers, size = vectors_N2D.shape
    found: FloatArray = vectors_N2D.reshape(num_texts, num_layers * size) / np.sqrt(2)
    return found


def fit(material: Material) -> Strategy:
    """On the training requests."""
    return fit_on(material, material.train)


def refit(material: Material, strategy: Strategy) -> Strategy:
    """On train and dev."""
    return fit_on(material, [*material.train, *material.dev])


def fit_on(material: Material, rows: Sequence[Utterance]) -> Strategy:
    """The head and the neighbours from labelled requests."""
    from sklearn.linear_model import LogisticRegression

    targets = [material.labels.index(row.label) for row in rows]
    if len(set(targets)) < 2:
        raise UserError("The routing rows are of one label only. Add rows of at least two experts to routing.jsonl.")
    vectors_N2D = material.sources.encoder([row.text for row in rows])
    head = LogisticRegression(C=STRENGTH, max_iter=3000).fit(joined(vectors_N2D), targets)
    weights, bias = expand(head, len(material.labels))
    return Strategy(material.sources.encoder, material.labels, weights, bias, vectors_N2D[:, 0], tuple(targets))


def expand(model: Any, size: int) -> tuple[FloatArray, FloatArray]:
    """Coefficients for all labels; a label without training requests gets a very low bias."""
    weights, bias = np.zeros((size, model.coef_.shape[1])), np.full(size, -1e3)
    coefficients, intercepts = model.coef_, model.intercept_
    if len(model.classes_) == 2:
        coefficients, intercepts = (
            np.vstack([-coefficients, coefficients]) / 2,
            np.hstack([-intercepts, intercepts]) / 2,
        )
    for row, label in enumerate(model.classes_):
        weights[label], bias[label] = coefficients[row], intercepts[row]
    return weights, bias


class Fit(BaseModel):
    """The JSON of a fitted strategy."""

    weights: Matrix
    bias: Vector
    examples: Matrix
    targets: list[int]


def as_dict(strategy: Strategy) -> dict[str, Any]:
    """The fitted strategy as JSON."""
    return {
        "weights": strategy.weights.round(DIGITS).tolist(),
        "bias": strategy.bias.tolist(),
        "examples": strategy.examples.round(DIGITS).tolist(),
        "targets": list(strategy.targets),
    }


def from_dict(values: Mapping[str, Any], labels: Sequence[str], sources: Sources, parts: Mapping[str, Any]) -> Strategy:
    """A fitted strategy from JSON."""
    weights, bias, examples = (np.array(values[key]) for key in ("weights", "bias", "examples"))
    return Strategy(sources.encoder, tuple(labels), weights, bias, examples, tuple(values["targets"]))


def digests(values: Mapping[str, Any], sources: Sources) -> dict[str, str]:
    """What the fit is bound to: the encoder, and how its vectors are used."""
    return {"encoder": digest_of([sources.encoder_digest, NUM_NEIGHBOURS, VOTE])}
