"""The self-router: one of the experts classifies the request from a few-shot prompt by scoring the labels.

After MortgageLLM (arXiv 2511.21101), with what the paper leaves open chosen here: labels are scored, not generated, so
every request gets one; the label bias of a small model (Zhao et al. 2021, arXiv 2102.09690) is taken out by a linear
map of the label scores, fitted on training requests that are not in the prompt; the prompt's cache is computed once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domains.domain import GENERAL
from domains.errors import UserError
from domains.example import Utterance
from experts.digests import digest_of
from router.engine import Engine
from router.prefix_cache import PrefixCache

SHOTS_PER_LABEL = 4
MAX_REQUEST_TOKENS = 96
HEADER = "Choose who answers each request.\n\n"


def label_text(expert: str) -> str:
    """How an expert is called in the prompt."""
    domain, _, track = expert.partition("/")
    return " other" if expert == GENERAL else f" {domain} {'question' if track == 'conversation' else 'task'}"


@dataclass
class Strategy:
    """Scores every expert's label after the request. `weights` (E, E) and `bias` (E,) map scores to logits."""

    engine: Engine
    reader: str
    labels: tuple[str, ...]
    shots: tuple[tuple[str, str], ...]
    weights: NDArray[np.float64]
    bias: NDArray[np.float64]
    prefixes: dict[str, PrefixCache] = field(default_factory=dict, repr=False)

    def __call__(self, texts: Sequence[str]) -> list[dict[str, float]]:
        """Probabilities over the labels, one dict per text."""
        logits = self.raw_scores(texts) @ self.weights.T + self.bias
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
        return [dict(zip(self.labels, map(float, row), strict=True)) for row in probabilities]

    def raw_scores(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Log-probabilities (nats) of the labels, shape (texts, labels)."""
        encode = self.engine.tokenizer.encode
        labels = [encode(label_text(name) + "\n", add_special_tokens=False) for name in self.labels]
        rows = []
        with self.engine.using(self.reader) as model:
            cache = self.prefixes.setdefault(self.reader, PrefixCache(model, tuple(self.prefix())))
            for text in texts:
                rows.append(cache.label_logprobs(self.suffix(text), labels).tolist())
        return np.array(rows, dtype=np.float64).reshape(len(texts), len(self.labels))

    def prefix(self) -> list[int]:
        """Tokens of the fixed part of the prompt."""
        shots = "".join(f"Request: {text}\nAnswered by:{label_text(label)}\n\n" for text, label in self.shots)
        return list(self.engine.tokenizer.encode(HEADER + shots + "Request:", add_special_tokens=False))

    def suffix(self, text: str) -> list[int]:
        """Tokens of one request; of a long one the beginning and the end are read."""
        encode = self.engine.tokenizer.encode
        ids = encode(" " + " ".join(text.split()), add_special_tokens=False)
        half = MAX_REQUEST_TOKENS // 2
        kept = ids if len(ids) <= MAX_REQUEST_TOKENS else ids[:half] + ids[-half:]
        return [*kept, *encode("\nAnswered by:", add_special_tokens=False)]

    def digest(self) -> str:
        """What the fitted map is bound to: the model, the reading expert and the prompt."""
        expert = self.engine.experts[self.reader]
        return digest_of([self.engine.base_digest, expert.recipe_digest, expert.parents, expert.data, self.prefix()])


def choose_shots(rows: Sequence[Utterance], labels: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """The same number of training requests of each label, in turn, so that no label has the last word."""
    by_label = {label: [u for u in rows if u.label == label] for label in labels}
    picked = [by_label[label][i] for i in range(SHOTS_PER_LABEL) for label in labels if i < len(by_label[label])]
    return tuple((row.text, row.label) for row in picked)


def fit(engine: Engine, rows: Sequence[Utterance], reader: str) -> Strategy:
    """Choose the shots and fit the map from label scores to probabilities on the other training requests."""
    from sklearn.linear_model import LogisticRegression

    labels = tuple(engine.experts)
    shots = choose_shots(rows, labels)
    untrained = Strategy(engine, reader, labels, shots, np.eye(len(labels)), np.zeros(len(labels)))
    used = {text for text, _ in shots}
    rest = [row for row in rows if row.text not in used]
    if len({row.label for row in rest}) < 2:
        raise UserError(
            f"The routing rows are too few: besides {SHOTS_PER_LABEL} examples per expert, at least two experts need "
            "training rows. Add rows to routing.jsonl (20 per expert are a good start)."
        )
    scores = untrained.raw_scores([row.text for row in rest])
    center, spread = scores.mean(axis=0), scores.std(axis=0) + 1e-6
    model = LogisticRegression(C=1.0, class_weight="balanced", max_iter=2000)
    model.fit((scores - center) / spread, [labels.index(row.label) for row in rest])
    weights, bias = expand(model, len(labels))
    return Strategy(
        engine, reader, labels, shots, weights / spread, bias - weights @ (center / spread), untrained.prefixes
    )


def expand(model: Any, size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coefficients for all labels; a label without training requests gets a very low bias."""
    weights, bias = np.zeros((size, size)), np.full(size, -1e3)
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
        "reader": strategy.reader,
        "labels": list(strategy.labels),
        "shots": [list(shot) for shot in strategy.shots],
        "weights": strategy.weights.tolist(),
        "bias": strategy.bias.tolist(),
    }


def from_dict(engine: Engine, values: dict[str, Any]) -> Strategy:
    """A fitted strategy from JSON."""
    return Strategy(
        engine,
        values["reader"],
        tuple(values["labels"]),
        tuple((text, label) for text, label in values["shots"]),
        np.array(values["weights"]),
        np.array(values["bias"]),
    )
