"""The calls of an answer as far as it is written, each with the text of its arguments; the last may be unfinished."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from domains.tool_calls import CLOSE, DECODER, OPEN, call_of, text_of

HEAD = re.compile(r'\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)+")\s*,\s*"arguments"\s*:\s*(?=\{)')
FIRST = re.compile(r"\s*\[?\s*")
BETWEEN = re.compile(r"\s*,?\s*")


@dataclass(frozen=True)
class PartialCall:
    """A call as far as it is written; `is_whole` when its arguments are. It ends before the character `end`."""

    name: str
    arguments: str
    is_whole: bool
    end: int | None


def written_calls(text: str) -> Iterator[PartialCall]:
    """The calls in all tags so far; the last one may be unfinished."""
    start = text.find(OPEN)
    while start >= 0:
        found = list(calls_in(text, start + len(OPEN)))
        yield from found
        if found and found[-1].end is None:
            return
        start = text.find(OPEN, (found[-1].end if found else None) or start + len(OPEN))


def calls_in(text: str, start: int) -> Iterator[PartialCall]:
    """The calls of the tag that ends at `start`: an object, or a list of them."""
    place = after(FIRST, text, start)
    while text.startswith("{", place):
        call = partial_call(text, place, ended(text, place))
        if call is None:
            return
        yield call
        if call.end is None:
            return
        place = after(BETWEEN, text, call.end)


def after(pattern: re.Pattern[str], text: str, start: int) -> int:
    """Where a match at `start` ends."""
    match = pattern.match(text, start)
    return match.end() if match else start


def ended(text: str, start: int) -> int | None:
    """Where the JSON value at `start` ends, None while it has not."""
    try:
        return int(DECODER.raw_decode(text, start)[1])
    except (ValueError, RecursionError):
        return None


def partial_call(text: str, start: int, end: int | None) -> PartialCall | None:
    """The call at `start`, None while its name is not known. Arguments that do not come last, or as text, wait for the
    end of the call. Arguments that are no JSON end where the tag does."""
    head = HEAD.match(text, start)
    if head is not None:
        stop = ended(text, head.end())
        closed = text.find(CLOSE, head.end())
        cut = stop if stop is not None else closed if closed >= 0 else None
        return PartialCall(DECODER.decode(head[1]), text[head.end() : cut], stop is not None, end)
    call = call_of(DECODER.decode(text[start:end])) if end is not None else None
    return PartialCall(call.name, text_of(dict(call.arguments)), True, end) if call else None
