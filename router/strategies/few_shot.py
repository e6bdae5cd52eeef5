"""The self-router: one of the experts classifies the request from a few-shot prompt by scoring the labels.

After MortgageLLM (arXiv 2511.21101), with what the paper leaves open chosen here: labels are scored, not generated, so
every request gets one; what the model says to requests without content is taken out where that helps on dev, and a
linear map of the label scores is learnt from training requests that are not in the prompt (both in
`router/label_map.py`); the prompt's cache is computed once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from domains.domain import CALLS, GENERAL, TRACKS
from domains.example import Utterance
from experts.digests import digest_of
from router.calibration import soft_cross_entropy
from router.label_map import LabelMap, fit_map
from router.material import Material, Matrix, Sources, Vector
from router.prefix_cache import PrefixCache
from router.reader import Reader
from router.turns import shortened

SHOTS_PER_LABEL = 4
MAX_SHOTS = 48
SHOT_CHARACTERS = 160
MAX_REQUEST_TOKENS = 96
MAP_ROWS = 144
CONTENT_FREE = ("N/A", "", "...")
HEADER = "Choose who answers each request.\n\n"


def label_text(expert: str) -> str:
    """How an expert (or any label) is called in the prompt."""
    domain, _, track = expert.partition("/")
    if expert == GENERAL:
        return " other"
    if track in (*TRACKS, CALLS):
        return f" {domain} {'question' if track == 'conversation' else 'task'}"
    return " " + (" ".join(re.sub("[/_-]", " ", expert).split()) or expert)


@dataclass
class Strategy:
    """Scores every label after the request; `map` makes probabilities of the scores."""

    reader: Reader
    labels: tuple[str, ...]
    shots: tuple[tuple[str, str], ...]
    map: LabelMap
    calibrated: bool = False
    cache: list[PrefixCache] = field(default_factory=list, repr=False)

    def __call__(self, texts: Sequence[str]) -> list[dict[str, float]]:
        """Probabilities over the labels, one dict per text."""
        probabilities = self.map(self.raw_scores(texts))
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
    fewer of each, but one at least. Of a label with few requests at most half, so that some are left for the map. The
    order of `labels` is the order of the turns."""
    each = max(1, min(SHOTS_PER_LABEL, MAX_SHOTS // max(1, len(labels))))
    by_label = {label: [u for u in rows if u.label == label] for label in labels}
    shares = {label: min(each, (len(mine) + 1) // 2) for label, mine in by_label.items()}
    picked = [by_label[label][i] for i in range(each) for label in labels if i < shares[label]]
    return tuple((row.text[:SHOT_CHARACTERS], row.label) for row in picked)


def fit(material: Material) -> Strategy:
    """On the training requests; whether the scores are calibrated is decided on dev, on train if there is no dev."""
    trained = train_on(material.sources.reader, material.train, material.labels)
    rows = material.dev or material.train[:MAP_ROWS]
    scores_NL = trained.untrained.raw_scores([row.text for row in rows])
    return chosen(trained, scores_NL, [material.labels.index(row.label) for row in rows])


def chosen(trained: Trained, scores_NL: NDArray[np.float64], targets: Sequence[int]) -> Strategy:
    """The strategy with or without calibration, whichever has the least cross-entropy on labelled requests."""
    return trained.strategy(
        min((True, False), key=lambda use: soft_cross_entropy(trained.map(use)(scores_NL), targets))
    )


@dataclass(frozen=True)
class Trained:
    """The prompt, and what its scores were: `prior_L` of requests without content, `scores_NL` of the training requests
    that are not in it."""

    untrained: Strategy
    prior_L: NDArray[np.float64]
    scores_NL: NDArray[np.float64]
    rest: Sequence[Utterance]

    @property
    def targets(self) -> list[int]:
        """The places of the training requests' labels."""
        return [self.untrained.labels.index(row.label) for row in self.rest]

    def map(self, calibrated: bool) -> LabelMap:
        """The map with or without contextual calibration."""
        return fit_map(self.scores_NL, self.prior_L * calibrated, self.targets)

    def strategy(self, calibrated: bool) -> Strategy:
        """The strategy with that map."""
        return replace(self.untrained, map=self.map(calibrated), calibrated=calibrated)


def train_on(reader: Reader, rows: Sequence[Utterance], labels: Sequence[str]) -> Trained:
    """Choose the shots, and score the other training requests.

    The turns of the shots follow the names of the labels, so the order in which labels are given changes nothing.
    """
    names = tuple(labels)
    shots = choose_shots(rows, sorted(names, key=lambda name: (name == GENERAL, name)))
    untrained = Strategy(reader, names, shots, LabelMap(np.eye(len(names)), np.zeros(len(names))))
    rest = map_rows(rows, names, {text for text, _ in shots})
    scores = untrained.raw_scores([*CONTENT_FREE, *(row.text for row in rest)])
    prior, found = scores[: len(CONTENT_FREE)].mean(axis=0), scores[len(CONTENT_FREE) :]
    return Trained(untrained, prior, found, rest)


def map_rows(rows: Sequence[Utterance], labels: Sequence[str], used: set[str]) -> list[Utterance]:
    """Training requests that are not in the prompt, spread over the labels: MAP_ROWS of them, more where there are more
    labels, none where all are in the prompt."""
    by_label = [
        [row for row in rows if row.label == label and row.text[:SHOT_CHARACTERS] not in used] for label in labels
    ]
    turns = [mine[i] for i in range(max(map(len, by_label))) for mine in by_label if i < len(mine)]
    return turns[: max(MAP_ROWS, 2 * len(labels))]


class Fit(BaseModel):
    """The JSON of a fitted strategy; a shot is a request and its label."""

    labels: list[str]
    shots: list[Annotated[list[str], Field(min_length=2, max_length=2)]]
    weights: Matrix
    bias: Vector
    calibrated: bool


def as_dict(strategy: Strategy) -> dict[str, Any]:
    """The fitted strategy as JSON."""
    return {
        "labels": list(strategy.labels),
        "shots": [list(shot) for shot in strategy.shots],
        "weights": strategy.map.weights.tolist(),
        "bias": strategy.map.bias.tolist(),
        "calibrated": strategy.calibrated,
    }


def from_dict(values: Mapping[str, Any], labels: Sequence[str], sources: Sources, parts: Mapping[str, Any]) -> Strategy:
    """A fitted strategy from JSON."""
    shots = tuple((text, label) for text, label in values["shots"])
    label_map = LabelMap(np.array(values["weights"]), np.array(values["bias"]))
    return Strategy(sources.reader, tuple(labels), shots, label_map, bool(values["calibrated"]))


def digests(values: Mapping[str, Any], sources: Sources) -> dict[str, str]:
    """What the fitted map is bound to: the model that reads, and the prompt."""
    return {"model": sources.reader_digest, "prompt": prompt_digest(values["labels"], values["shots"])}
