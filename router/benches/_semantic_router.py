"""The `semantic-router` library as a baseline, with the same encoder and the same examples, calibrated on dev by its
own `fit`. The README says how to install it; without it the row has a reason and no numbers.

Two ways to use it are tried, and the better one on dev is taken: requests that no expert should get are a route of
their own, or they match no route.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from domains.domain import GENERAL
from domains.example import Utterance
from router.encoder import Encoder


@dataclass(frozen=True)
class Strategy:
    """One of the library's routers over some of the labels."""

    router: Any
    labels: tuple[str, ...]

    def __call__(self, texts: Sequence[str]) -> list[dict[str, float]]:
        """The library's confidence per route; what the best in-scope route lacks to 1 counts for `general`."""
        return [self.scored(text) for text in texts]

    def scored(self, text: str) -> dict[str, float]:
        """One request."""
        found = {choice.name: float(choice.confidence) for choice in self.router(text, limit=None, threshold=0.0)}
        scores = {name: found.get(name, 0.0) for name in self.labels}
        if GENERAL in self.labels and GENERAL not in found:
            scores[GENERAL] = 1.0 - max(found.values(), default=0.0)
        return scores


def fit(
    encoder: Encoder, train: Sequence[Utterance], dev: Sequence[Utterance], labels: Sequence[str]
) -> list[Strategy]:
    """The library's router with a route per label, and with one per label but `general`; ImportError without it."""
    from semantic_router import IndexedRouter, Route

    dense = dense_encoder(encoder)
    found = []
    for names in dict.fromkeys((tuple(labels), tuple(name for name in labels if name != GENERAL))):
        routes = [
            Route(name=name, utterances=[row.text for row in train if row.label == name])
            for name in names
            if any(row.label == name for row in train)
        ]
        router = IndexedRouter(encoder=dense, routes=routes)
        calibrated(router, dev, names)
        found.append(Strategy(router, tuple(labels)))
    return found


def calibrated(router: Any, dev: Sequence[Utterance], names: Sequence[str]) -> None:
    """Fit the library's calibrator, unless dev has no, only right or only wrong answers, which it refuses."""
    if not dev:
        return
    wanted = [row.label if row.label in names else None for row in dev]
    try:
        router.fit([row.text for row in dev], wanted)
    except ValueError:
        router.calibrator = None


def dense_encoder(encoder: Encoder) -> Any:
    """Our encoder in the library's form."""
    from semantic_router.encoders import DenseEncoder

    class Wrapped(DenseEncoder):  # type: ignore[misc, no-any-unimported, unused-ignore]
        """Vectors of the last layer as lists."""

        name: str = "all-MiniLM-L6-v2"

        def __call__(self, docs: list[Any]) -> list[list[float]]:
            """Encode texts."""
            vectors: list[list[float]] = encoder(docs)[:, 0].tolist()
            return vectors

    return Wrapped()
