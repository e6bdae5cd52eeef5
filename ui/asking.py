"""One question at the command line: routed as `expertsmith route` does, and answered. The tools expert is told the
local functions that are nearest to the question; the calls that it makes are run here, and nothing else is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from domains.example import Message
from domains.local_tools.run import local_functions, run_local
from domains.tool_calls import parse
from router.assistant import Assistant, Sampling
from router.route import Route
from router.tool_requests import is_tools_expert
from ui.chat_tools import ChatTools


@dataclass(frozen=True)
class Asked:
    """Who answered what, and the results of its calls as JSON texts."""

    route: Route
    answer: str
    results: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The form of `expertsmith ask --json`; `results` are there only where something was called."""
        found: dict[str, Any] = {"route": self.route.as_dict(), "answer": self.answer}
        return found | ({"results": list(self.results)} if self.results else {})


def ask(assistant: Assistant, text: str, expert: str, max_tokens: int) -> Asked:
    """Route and answer."""
    messages, tools = [Message("user", text)], ChatTools(local_functions(), run_local)
    route, sampling = assistant.route(messages, expert), Sampling(max_tokens=max_tokens)
    if not is_tools_expert(route.expert):
        return Asked(route, answer_of(assistant, messages, route.expert, sampling))
    answer = answer_of(assistant, messages, route.expert, replace(sampling, tools=tools.declared(text)))
    return Asked(route, answer, tuple(tools.result(call) for call in parse(answer) or ()))


def answer_of(assistant: Assistant, messages: Sequence[Message], expert: str, sampling: Sampling) -> str:
    """A whole answer."""
    return "".join(piece.text for piece in assistant.reply(messages, expert, sampling).pieces)
