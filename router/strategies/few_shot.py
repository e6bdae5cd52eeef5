"""The self-router: one of the experts classifies the request from a few-shot prompt by scoring the labels.

After MortgageLLM (arXiv 2511.21101), with what the paper leaves open chosen here: labels are scored, not generated, so
every request gets one; what the model says to requests without content is subtracted (contextual calibration, Zhao et
al. 2021, arXiv 2102.09690); a linear map of the label scores is fitted on training requests that are not in the prompt;
the prompt's cache is computed once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domains.domain import GENERAL
from domains.errors import UserError
from domains.example import Utterance
from experts.digests import digest_of
from router.calibration import softmax
from router.material import Material, Sources
from router.prefix_cache import PrefixCache
from router.reader import Reader
from router.turns import shortened

SHOTS_PER_LABEL = 4
MAX_SHOTS = 48
SHOT_CHARACTERS = 160
MAX_REQUEST_TOKENS = 96
MAP_ROWS = 72
CONTENT_FREE = ("N/A", "", "...")
HEADER = "Choose who answers each request.\n\n"


def label_text(expert: str) -> str:
    """How an expert (or any label) is called in the prompt."""
    domain, slash, track = expert.partition("/")
    if expert == GENERAL:
        return " other"
    if slash:
        return f" {domain} {'question' if track == 'conversation' else 'task'}"
    return " " + " ".join(expert.replace("_", " ").replace("-", " ").split())


@dataclass
class Strategy:
    """Scores every label after the request. `weights` (L, L) and `bias` (L,) map scores to logits."""

    reader: Reader
    labels: tuple[str, ...]
    shots: tuple[tuple[str, str], ...]
    weights: NDArray[np.float64]
    bias: NDArray[np.float64]
    cache: list[PrefixCache] = field(default_factory=list, repr=False)

    def __call__(self, texts: Sequence[str]) -> list[dict[str, float]]:
        """Probabilities over the labels, one dict per text."""
        probabilities = softmax(self.raw_scores(texts) @ self.weights.T + self.bias)
        return [dict(zip(self.labels, map(float, row), strict=True)) for row in probabilities]

    def raw_scores(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Log-probabilities (nats) of the labels, shape (texts, labels)."""
        encode = self.reader.tokenizer.encode
        labels = [encode(label_text(name) + "\n", add_special_tokens=False) for name in self.labels]
        rows = []
        for text in texts:
            with self.reader.using() as model:  # for one request at a time, so that others are not kept waiting
                rows.append(self.prefix_cache(model).label_logprobs(self.suffix(text), labels).tolist())
        return np.array(rows, dtype=np.float64).reshape(len(texts), len(labels))

    def prefix_cache(self, model: Any) -> PrefixCache:
        """The cache of the prompt; computed by the first caller, who has the model for itself."""
        if not self.cache:
            self.cache.append(PrefixCache(model, tuple(self.prefix())))
        return self.cache[0]

    def forget(self) -> None:
        """Drop the cache: the next request computes the whole prompt."""
        self.cache.clear()

    def prompt(self) -> str:
        """The fixed part of the prompt."""
        shots = (f"Request: {' '.join(t.split())}\nAnswered by:{label_text(label)}\n\n" for t, label in self.shots)
        return HEADER + "".join(shots) + "Request:"

    def prefix(self) -> list[int]:
        """Its tokens."""
        return list(self.reader.tokenizer.encode(self.prompt(), add_special_tokens=False))

    def suffix(self, text: str) -> list[int]:
        """Tokens of one request; of a long one the beginning and the end are read."""
        encode = self.reader.tokenizer.encode
        ids = encode(" " + " ".join(shortened(text).split()), add_special_tokens=False)
        half = MAX_REQUEST_TOKENS // 2
        kept = ids if len(ids) <= MAX_REQUEST_TOKENS else ids[:half] + ids[-half:]
        return [*kept, *encode("\nAnswered by:", add_special_tokens=False)]


def prompt_digest(labels: Sequence[str], shots: Sequence[tuple[str, str]]) -> str:
    """Everything of the prompt but the request."""
    names = [label_text(label) for label in labels]
    return digest_of([HEADER, [[text, label_text(label)] for text, label in shots], names, MAX_REQUEST_TOKENS])


def choose_shots(rows: Sequence[Utterance], labels: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """The same number of training requests of each label, in turn, so that no label has the last word; with many labels
    fewer of each. The order of `labels` is the order of the turns."""
    each = max(1, min(SHOTS_PER_LABEL, MAX_SHOTS // max(1, len(labels))))
    by_label = {label: [u for u in rows if u.label == label] for label in labels}
    picked = [by_label[label][i] for i in range(each) for label in labels if i < len(by_label[label])]
    return tuple((row.text[:SHOT_CHARACTERS], row.label) for row in picked[:MAX_SHOTS])


def fit(material: Material) -> Strategy:
    """On the training requests."""
    return fit_on(material.sources.reader, material.train, material.labels)


def fit_on(reader: Reader, rows: Sequence[Utterance], labels: Sequence[str]) -> Strategy:
    """Choose the shots and fit the map from label scores to probabilities on other training requests.

    The turns of the shots follow the names of the labels, so the order in which labels are given changes nothing.
    """
    names = tuple(labels)
    shots = choose_shots(rows, sorted(names, key=lambda name: (name == GENERAL, name)))
    untrained = Strategy(reader, names, shots, np.eye(len(names)), np.zeros(len(names)))
    rest = map_rows(rows, names, {text for text, _ in shots})
    scores = untrained.raw_scores([*CONTENT_FREE, *(row.text for row in rest)])
    offset = scores[: len(CONTENT_FREE)].mean(axis=0)
    weights, bias = fit_map(scores[len(CONTENT_FREE) :], offset, [names.index(row.label) for row in rest])
    return Strategy(reader, names, shots, weights, bias, untrained.cache)


def map_rows(rows: Sequence[Utterance], labels: Sequence[str], used: set[str]) -> list[Utterance]:
    """Training requests that are not in the prompt, at most MAP_ROWS, spread over the labels."""
    by_label = [
        [row for row in rows if row.label == label and row.text[:SHOT_CHARACTERS] not in used] for label in labels
    ]
    if sum(map(bool, by_label)) < 2:
        raise UserError(
            f"The routing rows are too few: besides {SHOTS_PER_LABEL} examples per expert, at least two experts need "
            "training rows. Add rows to routing.jsonl (20 per expert are a good start)."
        )
    turns = [mine[i] for i in range(max(map(len, by_label))) for mine in by_label if i < len(mine)]
    return turns[:MAP_ROWS]


def fit_map(
    scores: NDArray[np.float64], offset: NDArray[np.float64], targets: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The linear map of raw scores (N, L) from a logistic regression on calibrated and standardised ones."""
    from sklearn.linear_model import LogisticRegression

    calibrated = scores - offset
    center, spread = calibrated.mean(axis=0), calibrated.std(axis=0) + 1e-6
    model = LogisticRegression(C=1.0, max_iter=2000)
    model.fit((calibrated - center) / spread, targets)
    weights, bias = expand(model, scores.shape[1])
    return weights / spread, bias - weights @ ((center + offset) / spread)


def expand(model: Any, size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
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


def as_dict(strategy: Strategy) -> dict[str, Any]:
    """The fitted strategy as JSON."""
    return {
        "labels": list(strategy.labels),
        "shots": [list(shot) for shot in strategy.shots],
        "weights": strategy.weights.tolist(),
        "bias": strategy.bias.tolist(),
    }


def from_dict(values: Mapping[str, Any], labels: Sequence[str], sources: Sources, parts: Mapping[str, Any]) -> Strategy:
    """A fitted strategy from JSON."""
    shots = tuple((text, label) for text, label in values["shots"])
    weights, bias = np.array(values["weights"]), np.array(values["bias"])
    return Strategy(sources.reader, tuple(labels), shots, weights, bias)


def digests(values: Mapping[str, Any], sources: Sources) -> dict[str, str]:
    """What the fitted map is bound to: the model that reads, and the prompt."""
    return {"model": sources.reader_digest, "prompt": prompt_digest(values["labels"], values["shots"])}
