"""The assistant over the experts of a home folder: the router decides, a back-end answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from domains.errors import unknown_name
from domains.example import Message
from router.assistant import AUTO, Listener, Reply, Sampling
from router.backends.backend import Backend
from router.backends.in_process import InProcess
from router.engine import Engine
from router.fit import load_router
from router.route import Route, Router, tool_route
from router.scheduler import Limits
from router.tool_requests import tools_expert


@dataclass(frozen=True)
class LocalAssistant:
    """Routes with the router, answers with the back-end; by default both share one base model."""

    backend: Backend
    router: Router

    @classmethod
    def load(cls, home: Path, strategy: str | None = None, limits: Limits | None = None) -> LocalAssistant:
        """Open a home folder."""
        engine = Engine(home)
        return cls(InProcess(engine, limits or Limits()), load_router(home, strategy, engine))

    @property
    def experts(self) -> tuple[str, ...]:
        """Names of the experts."""
        return self.backend.experts

    def check_room(self, client: str, num_answers: int) -> None:
        """Whether the back-end would take more."""
        self.backend.check_room(client, num_answers)

    def route(self, messages: Sequence[Message], expert: str = AUTO) -> Route:
        """The router's choice, or the named expert with full confidence."""
        if expert == AUTO:
            return self.routes([messages])[0]
        if expert not in self.experts:
            raise unknown_name("expert", expert, [*self.experts, AUTO])
        return Route(expert, 1.0, {expert: 1.0}, False, "fixed")

    def routes(self, conversations: Sequence[Sequence[Message]]) -> list[Route]:
        """The router's choices."""
        return self.router.batch(conversations)

    def answering(self, messages: Sequence[Message], expert: str, sampling: Sampling) -> Route:
        """Who answers: with functions to call the tools expert, without them anybody else, unless one is named."""
        if expert != AUTO:
            return self.route(messages, expert)
        found = tools_expert(self.experts)
        if found is not None and sampling.tools:
            return tool_route(found, "tools")
        return self.router.without_functions(messages)

    def reply(
        self, messages: Sequence[Message], expert: str = AUTO, sampling: Sampling | None = None, client: str = ""
    ) -> Reply:
        """Route, then start the answer; a full queue refuses before the router works."""
        sampling = sampling or Sampling()
        self.backend.check_room(client, sampling.num_answers)
        route = self.answering(messages, expert, sampling)
        return Reply(route, Listener(self.backend.start(messages, route.expert, sampling, client)))

    def rewards(self, messages: Sequence[Message], expert: str, answers: Sequence[str]) -> list[float]:
        """How good the expert's own preference head finds answers."""
        return self.backend.rewards(messages, expert, answers)

    def digest(self, expert: str) -> str:
        """Which weights the back-end answers with."""
        return self.backend.digest(expert)

    def gauges(self) -> dict[str, float]:
        """The back-end's numbers."""
        return self.backend.gauges()

    def is_ready(self) -> bool:
        """Whether the back-end would serve."""
        return self.backend.is_ready()

    def close(self, seconds: float) -> int:
        """Close the back-end."""
        return self.backend.close(seconds)
