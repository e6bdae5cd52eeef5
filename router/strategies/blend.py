"""Few-shot and nearest together: a small logistic model over their log-probabilities, stacked on the dev split (Wolpert
1992). One weight per strategy, shared by all labels, and one bias per label; pulled towards equal weights, because dev
is small. How hard it is pulled is chosen by cross-validation inside dev."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, FiniteFloat
from torch import Tensor

from router.calibration import FloatArray, log_probabilities, rows_of, soft_cross_entropy, softmax, table
from router.material import Material, Sources, Vector
from router.minimum import minimised
from router.route import Strategy as Part

PARTS = ("few_shot", "nearest")
STRENGTHS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
NUM_FOLDS = 5


@dataclass(frozen=True)
class Strategy:
    """`weights` by part, `bias` (L,) by label, over the probabilities of the `parts`."""

    parts: Mapping[str, Part]
    labels: tuple[str, ...]
    weights: Mapping[str, float]
    bias: FloatArray
    held_out: FloatArray | None = None

    def __call__(self, texts: Sequence[str]) -> list[dict[str, float]]:
        """Probabilities over the labels, one dict per text."""
        found = {name: table(part(texts), self.labels) for name, part in self.parts.items()}
        return rows_of(self.mixed(found), self.labels)

    def mixed(self, probabilities: Mapping[str, FloatArray]) -> FloatArray:
        """The parts' probabilities (N, L) as one table."""
        logits_NL = sum(self.weights[name] * log_probabilities(found) for name, found in probabilities.items())
        return softmax(np.asarray(logits_NL + self.bias))


@dataclass(frozen=True)
class Stack:
    """The fitted numbers, and dev probabilities (N, L) from models that had not seen the row."""

    weights: dict[str, float]
    bias: FloatArray
    held_out_NL: FloatArray


def fit(material: Material) -> Strategy:
    """Stack the parts' dev probabilities."""
    stack = stacked({name: material.dev_scores[name] for name in PARTS}, material.dev_targets)
    return Strategy({}, material.labels, stack.weights, stack.bias, stack.held_out_NL)


def stacked(probabilities: Mapping[str, FloatArray], targets: Sequence[int]) -> Stack:
    """Stack dev probabilities (N, L) of the parts; without dev rows the parts have equal weights."""
    names = list(probabilities)
    logs_PNL = np.stack([log_probabilities(probabilities[name]) for name in names])
    fold_N = folds(targets)
    tried = {s: held_out(logs_PNL, targets, fold_N, s) for s in STRENGTHS}
    best = min(STRENGTHS, key=lambda s: soft_cross_entropy(tried[s], targets)) if len(targets) else STRENGTHS[-1]
    weights_P, bias_L = solved(logs_PNL, targets, best)
    return Stack(dict(zip(names, map(float, weights_P), strict=True)), bias_L, tried[best])


def folds(targets: Sequence[int]) -> list[int]:
    """The fold of each row; the rows of a label are spread evenly."""
    order = sorted(range(len(targets)), key=lambda i: targets[i])
    places = {row: place for place, row in enumerate(order)}
    return [places[row] % NUM_FOLDS for row in range(len(targets))]


def held_out(logs_PNL: FloatArray, targets: Sequence[int], fold_N: Sequence[int], strength: float) -> FloatArray:
    """Probabilities of each row from a model fitted on the other folds."""
    found = np.zeros(logs_PNL.shape[1:])
    for fold in range(NUM_FOLDS):
        inside = [i for i, other in enumerate(fold_N) if other == fold]
        outside = [i for i, other in enumerate(fold_N) if other != fold]
        weights_P, bias_L = solved(logs_PNL[:, outside], [targets[i] for i in outside], strength)
        found[inside] = softmax(np.tensordot(weights_P, logs_PNL[:, inside], axes=1) + bias_L)
    return found


def solved(logs_PNL: FloatArray, targets: Sequence[int], strength: float) -> tuple[FloatArray, FloatArray]:
    """Weights (P,) and bias (L,) with the least penalised cross-entropy."""
    num_parts, num_rows, num_labels = logs_PNL.shape
    start = torch.cat([torch.full((num_parts,), 1 / num_parts), torch.zeros(num_labels)]).double()
    if not num_rows:
        return start[:num_parts].numpy(), start[num_parts:].numpy()
    logs, wanted = torch.from_numpy(logs_PNL), torch.tensor(list(targets))

    def loss(point: Tensor) -> Tensor:
        logits_NL = torch.einsum("p,pnl->nl", point[:num_parts], logs) + point[num_parts:]
        return torch.nn.functional.cross_entropy(logits_NL, wanted) + strength * (point - start).square().sum()

    point = minimised(loss, start)
    return point[:num_parts].numpy(), point[num_parts:].numpy()


class Weights(BaseModel):
    """One weight per part."""

    few_shot: FiniteFloat
    nearest: FiniteFloat


class Fit(BaseModel):
    """The JSON of a fitted strategy."""

    weights: Weights
    bias: Vector


def as_dict(strategy: Strategy) -> dict[str, Any]:
    """The fitted numbers as JSON."""
    return {"weights": dict(strategy.weights), "bias": strategy.bias.tolist()}


def from_dict(
    values: Mapping[str, Any], labels: Sequence[str], sources: Sources, parts: Mapping[str, Part]
) -> Strategy:
    """The strategy over its parts."""
    return Strategy(parts, tuple(labels), values["weights"], np.array(values["bias"]))


def digests(values: Mapping[str, Any], sources: Sources) -> dict[str, str]:
    """Nothing besides what its parts are bound to."""
    return {}
