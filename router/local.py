"""The assistant over the experts of a home folder, in this process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from domains.domain import GENERAL
from domains.errors import unknown_name
from domains.example import Message
from router.assistant import AUTO, Reply, Sampling
from router.engine import Engine
from router.fit import load_router
from router.route import Route, Router


@dataclass(frozen=True)
class LocalAssistant:
    """Routes with the router, answers with the engine; both share one base model."""

    engine: Engine
    router: Router

    @classmethod
    def load(cls, home: Path, strategy: str | None = None) -> LocalAssistant:
        """Open a home folder."""
        engine = Engine(home)
        return cls(engine, load_router(home, strategy, engine))

    @property
    def experts(self) -> tuple[str, ...]:
        """Names of the experts."""
        return tuple(self.engine.experts)

    def route(self, messages: Sequence[Message], expert: str = AUTO) -> Route:
        """The router's choice, or the named expert with full confidence."""
        if expert == AUTO:
            return self.router(messages)
        if expert not in self.engine.experts:
            raise unknown_name("expert", expert, [*self.engine.experts, AUTO])
        return Route(expert, 1.0, {expert: 1.0}, False, "fixed")

    def reply(self, messages: Sequence[Message], expert: str = AUTO, sampling: Sampling | None = None) -> Reply:
        """Route, then start the answer."""
        route = self.route(messages, expert)
        self.engine.encode(messages)
        return Reply(route, self.engine.stream(messages, route.expert, sampling or Sampling()))

    def label_logprobs(self, messages: Sequence[Message], expert: str, top: int) -> dict[str, float]:
        """Log-probabilities of the most likely first tokens; `auto` means the general model here."""
        return self.engine.next_token_logprobs(messages, GENERAL if expert == AUTO else expert, top)
