"""A question finds its expert: the decision, and the importable service that makes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from domains.domain import GENERAL
from domains.example import Message, last_user_turn


@dataclass(frozen=True)
class Route:
    """The decision for one request: `scores` are probabilities over expert names, `confidence` that of the best."""

    expert: str
    confidence: float
    scores: Mapping[str, float] = field(default_factory=dict)
    abstained: bool = False
    strategy: str = "fixed"

    def as_dict(self) -> dict[str, Any]:
        """The machine-readable form of `expertsmith route --json`."""
        return {
            "expert": self.expert,
            "confidence": round(self.confidence, 4),
            "scores": {name: round(score, 4) for name, score in self.scores.items()},
            "abstained": self.abstained,
            "strategy": self.strategy,
        }


def decide(scores: Mapping[str, float], threshold: float, strategy: str) -> Route:
    """The best expert, or the general model when it wins or when the best score stays under the threshold."""
    best = max(scores, key=lambda name: scores[name])
    abstained = best == GENERAL or scores[best] < threshold
    return Route(GENERAL if abstained else best, scores[best], dict(scores), abstained, strategy)


def routing_text(messages: Sequence[Message]) -> str:
    """What is routed of a conversation: the system instruction, which may ask for a label, and the last user turn."""
    system = [m.content for m in messages if m.role == "system"]
    return " ".join([*system, last_user_turn(tuple(messages))])


class Strategy(Protocol):
    """Scores requests over the expert names: one dict of probabilities per text."""

    def __call__(self, texts: Sequence[str]) -> list[dict[str, float]]:
        """Probabilities over the names of the experts and `general`, one dict per text."""
        ...


class Router:
    """Picks an expert for a request: `Router.load(home)("my question")`."""

    def __init__(self, strategy: Strategy, name: str, threshold: float) -> None:
        self.strategy, self.name, self.threshold = strategy, name, threshold

    @classmethod
    def load(cls, home: str | Path = ".expertsmith", strategy: str | None = None) -> Router:
        """The router over the experts built in a home folder."""
        from router.fit import load_router

        return load_router(Path(home), strategy)

    def __call__(self, text: str) -> Route:
        """Route one request."""
        return self.batch([text])[0]

    def batch(self, texts: Sequence[str]) -> list[Route]:
        """Route several requests."""
        return [decide(scores, self.threshold, self.name) for scores in self.strategy(list(texts))]
