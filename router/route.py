"""A question finds its expert: the decision, and the importable service that makes it.

`Router.load(home)("my question")` is a Route; a list of messages is routed as a conversation. Threads may share it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from domains.domain import GENERAL
from domains.example import Message, last_user_turn
from router.parts import may_span, parts, second_expert
from router.tool_requests import asks_for_calculation, is_tools_expert
from router.turns import Request, as_messages, belief, turns

if TYPE_CHECKING:
    from router.material import Sources

Scores = Mapping[str, float]


@dataclass(frozen=True)
class Route:
    """The decision for one request: `scores` are probabilities over expert names, `confidence` that of the best.

    `also` names a second expert when parts of the request are for different domains; `experts` are both.
    """

    expert: str
    confidence: float
    scores: Scores = field(default_factory=dict)
    abstained: bool = False
    strategy: str = "fixed"
    also: tuple[str, ...] = ()

    @property
    def experts(self) -> tuple[str, ...]:
        """Everyone that the request is for, the one who answers first."""
        return (self.expert, *self.also)

    def as_dict(self) -> dict[str, Any]:
        """The machine-readable form of `expertsmith route --json`; `also` is there only when it says something."""
        found: dict[str, Any] = {
            "expert": self.expert,
            "confidence": round(self.confidence, 4),
            "scores": {name: round(score, 4) for name, score in self.scores.items()},
            "abstained": self.abstained,
            "strategy": self.strategy,
        }
        return found | ({"also": list(self.also)} if self.also else {})


def decide(scores: Scores, threshold: float, strategy: str) -> Route:
    """The best expert, or the general model when it wins or when the best score stays under the threshold."""
    best = max(scores, key=lambda name: scores[name])
    abstained = best == GENERAL or scores[best] < threshold
    return Route(GENERAL if abstained else best, scores[best], dict(scores), abstained, strategy)


def tool_route(expert: str, strategy: str) -> Route:
    """The decision for a request that is tool-shaped: certain, as nothing was guessed."""
    return Route(expert, 1.0, {expert: 1.0}, False, strategy)


def without_tools(route: Route, threshold: float) -> Route:
    """The decision among the other experts, for a request whose sender offers no function to call: as any decision, the
    general model where the best of them stays under the threshold."""
    others = {name: score for name, score in route.scores.items() if not is_tools_expert(name)}
    if not is_tools_expert(route.expert) or not others:
        return route
    return decide(others, threshold, route.strategy)


def routing_text(messages: Sequence[Message]) -> str:
    """What is routed of a conversation: the system instruction, which may ask for a label, and the last user turn."""
    system = [m.content for m in messages if m.role == "system"]
    return " ".join([*system, last_user_turn(tuple(messages))])


class Strategy(Protocol):
    """Scores requests over the expert names: one dict of probabilities per text. Called from several threads."""

    def __call__(self, texts: Sequence[str]) -> list[dict[str, float]]:
        """Probabilities over the names of the experts and `general`, one dict per text."""
        ...


class Router:
    """Picks an expert for a request: `Router.load(home)("my question")`.

    `priors` are the shares of the labels among the training requests; a conversation is weighed against them.
    `sources` are the models that the strategies of the home read with. `tools` is the expert that asks for calculations
    go to, whatever the strategy finds; None where there is none.
    """

    def __init__(
        self,
        strategy: Strategy,
        name: str,
        threshold: float,
        priors: Scores | None = None,
        sources: Sources | None = None,
        tools: str | None = None,
    ) -> None:
        self.strategy, self.name, self.threshold = strategy, name, threshold
        self.priors, self.sources, self.tools = priors or {}, sources, tools

    @classmethod
    def load(cls, home: str | Path = ".expertsmith", strategy: str | None = None) -> Router:
        """The router over the experts built in a home folder; without a strategy, the one that won on dev."""
        from router.fit import load_router

        return load_router(Path(home), strategy)

    def __call__(self, request: Request) -> Route:
        """Route one request: a text, or the messages of a conversation."""
        return self.batch([request])[0]

    def batch(self, requests: Sequence[Request]) -> list[Route]:
        """Route several requests: what asks for a calculation to the tools expert, anything else as learned."""
        routes = self.learned(requests)
        if self.tools is None:
            return routes
        return [
            tool_route(self.tools, "calculation") if asks_for_calculation(as_messages(request)) else route
            for request, route in zip(requests, routes, strict=True)
        ]

    def without_functions(self, request: Request) -> Route:
        """Who answers a request whose sender offers no function to call."""
        return without_tools(self.learned([request])[0], self.threshold)

    def learned(self, requests: Sequence[Request]) -> list[Route]:
        """The decisions of the strategy alone; all turns of all requests are scored together."""
        conversations = [turns(request) for request in requests]
        scores = iter(self.scored([turn for conversation in conversations for turn in conversation]))
        beliefs = [belief([next(scores) for _ in conversation], self.priors) for conversation in conversations]
        routes = [decide(found or {GENERAL: 1.0}, self.threshold, self.name) for found in beliefs]
        return [self.with_second(route, said) for route, said in zip(routes, conversations, strict=True)]

    async def asynchronous(self, request: Request) -> Route:
        """Route one request in a worker thread, for callers inside an event loop."""
        return await asyncio.to_thread(self, request)

    def scored(self, texts: Sequence[str]) -> list[dict[str, float]]:
        """The strategy's probabilities; it is not asked about nothing."""
        return self.strategy(list(texts)) if texts else []

    def with_second(self, route: Route, conversation: Sequence[str]) -> Route:
        """The route with a second expert, if parts of the last turn are clearly for different domains."""
        split = parts(conversation[-1]) if conversation and may_span(route.scores) else []
        if len(split) < 2:
            return route
        return second_expert([decide(scores, self.threshold, self.name) for scores in self.scored(split)], route)
