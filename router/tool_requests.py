"""Requests for the tools expert: those that come with functions to call, and those that ask for a calculation.

The rule for the latter is narrow: it needs numbers and words that ask for a value, and it is silent where a text is to
be worked on. What it lets pass is routed by what it is about. `Router.batch` is the one place that applies it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from domains.domain import CALLS
from domains.example import Message, last_user_turn
from domains.tool_calls import RESPONSE_OPEN

WORDS = (
    r"calculat\w*|comput\w*|work out|convert\w*|add up|sum of|average of|percent(?:age)? of|"
    r"what (?:is|are|would|will) (?:my|the|our) (?:\w+ ){0,3}(?:payments?|ratio|total|balance|cost|interest)|"
    r"how much (?:\w+ ){0,4}(?:per|a|each|every) (?:month|year|week|day)|how many (?:days|weeks|months|years|hours)"
)
ASKS = re.compile(rf"(?<!\w)(?:{WORDS})(?!\w)", re.IGNORECASE)
AMOUNT = re.compile(r"\d")
SUM = re.compile(r"\d\s*(?:% of\s+\$?\d|[-+*/\u00d7\u00f7^]\s*\d+\s*(?:=|\?|$))")
VALUE = (
    r"payments?|p&i|ratio|dti|ltv|apr|interest|balance|price|drop|premium|escrow|total|break-even|figure|score|"
    r"percent|percentage|each|hours|owe|loan"
)
WANTED = re.compile(
    rf"\b(?:how (?:much|many|long|big)|mean of|(?:figure|split|check) (?:my|the|out)|hours per)\b"
    rf"|\b(?:what|which)\b[^.?!]{{0,60}}\b(?:{VALUE})\b[^.?!]{{0,25}}\?|\b(?:{VALUE})\b[^.?!,]{{0,12}}\?",
    re.IGNORECASE,
)
NUMBER = re.compile(r"(?<![\w.,])\$?\d[\d.,]*(?:k\b|%)?")
MIN_NUMBERS = 2
TEXT_WORK = re.compile(
    r"\b(?:summari[sz]e|summary|extract|tag|label|classify|condense|recap|digest|rewrite|boil|shorten|from th(?:is|e)|"
    r"identify|json|pull|code each|sort th)\b|['\u2018\"\u201c][^'\"]{30,}['\u2019\"\u201d]",
    re.IGNORECASE,
)


def tools_expert(experts: Sequence[str]) -> str | None:
    """The expert of the tools domain; None where it was not built."""
    return next((name for name in experts if is_tools_expert(name)), None)


def is_tools_expert(name: str) -> bool:
    """Whether an expert was trained to call functions: its track says so."""
    return name.rpartition("/")[2] == CALLS


def asks_for_calculation(messages: Sequence[Message]) -> bool:
    """Whether the user's last turn asks to calculate something from numbers that it gives: one number with a word for
    calculating, or several with a question for a value."""
    text = last_user_turn(tuple(messages))
    if text.startswith(RESPONSE_OPEN) or not AMOUNT.search(text):
        return False
    if ASKS.search(text) or SUM.search(text.strip()):
        return True
    numbers = NUMBER.findall(text)
    return len(numbers) >= MIN_NUMBERS and bool(WANTED.search(text)) and not TEXT_WORK.search(text)
