"""Requests for the tools expert: those that come with functions to call, and those that ask for a calculation."""

from __future__ import annotations

import re
from collections.abc import Sequence

from domains.example import Message
from domains.tool_calls import RESPONSE_OPEN
from router.route import Route

TOOLS = "tools"
WORDS = (
    r"calculat\w*|comput\w*|work out|convert\w*|add up|sum of|average of|percent(?:age)? of|"
    r"what (?:is|are|would|will) (?:my|the|our) (?:\w+ ){0,3}(?:payments?|ratio|total|balance|cost|interest)|"
    r"how much (?:\w+ ){0,4}(?:per|a|each|every) (?:month|year|week|day)|how many (?:days|weeks|months|years|hours)"
)
ASKS = re.compile(rf"(?<!\w)(?:{WORDS})(?!\w)", re.IGNORECASE)
AMOUNT = re.compile(r"\d")
SUM = re.compile(r"\d\s*(?:% of\s|[-+*/\u00d7\u00f7^]\s*\d+\s*(?:=|\?|$))")


def tools_expert(experts: Sequence[str]) -> str | None:
    """The expert of the tools domain; None where it was not built."""
    return next((name for name in experts if is_tools_expert(name)), None)


def is_tools_expert(name: str) -> bool:
    """Whether an expert was trained to call functions."""
    return name.partition("/")[0] == TOOLS


def asks_for_calculation(messages: Sequence[Message]) -> bool:
    """Whether the user's last turn asks to calculate something from numbers that it gives. A rule, and a narrow one:
    it needs a digit and a word for it; what it lets pass is routed by what it is about."""
    text = next((m.content for m in reversed(messages) if m.role == "user"), "")
    if text.startswith(RESPONSE_OPEN):
        return False
    return bool(AMOUNT.search(text) and (ASKS.search(text) or SUM.search(text.strip())))


def tool_route(expert: str, strategy: str) -> Route:
    """The decision for a request that is tool-shaped: certain, as nothing was guessed."""
    return Route(expert, 1.0, {expert: 1.0}, False, strategy)


def without_tools(route: Route) -> Route:
    """The decision among the other experts, for a request whose sender offers no function to call."""
    others = {name: score for name, score in route.scores.items() if not is_tools_expert(name)}
    if not is_tools_expert(route.expert) or not others:
        return route
    best = max(others, key=lambda name: others[name])
    return Route(best, others[best], others, False, route.strategy)
