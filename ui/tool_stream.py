"""Function calls while they are written, as the deltas of the OpenAI protocol: a call's id and name first, then its
arguments piece by piece. Text that may yet become a call is held back.

Protocol: https://platform.openai.com/docs/guides/function-calling#streaming
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from domains.tool_calls import CLOSE, DECODER, OPEN, call_of, text_of
from router.assistant import Piece, TokenLogprob
from ui.bodies import Body, chunk_body
from ui.tool_calls import call_id, read_calls

HEAD = re.compile(r'\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)+")\s*,\s*"arguments"\s*:\s*(?=\{)')
FIRST = re.compile(r"\s*\[?\s*")
BETWEEN = re.compile(r"\s*,?\s*")
Delta = dict[str, Any]


@dataclass(frozen=True)
class PartialCall:
    """A call as far as it is written; `is_whole` when its arguments are. It ends before the character `end`."""

    name: str
    arguments: str
    is_whole: bool
    end: int | None


@dataclass
class ToolStream:
    """Takes the text of one answer piece by piece and gives the deltas of its message. What an unconstrained model
    breaks off in the middle of a call stays a call that was begun."""

    text: str = ""
    shown: int = 0
    sent: list[str] = field(default_factory=list)
    num_whole: int = 0

    def add(self, text: str) -> list[Delta]:
        """The deltas after more text."""
        self.text += text
        words = self.sayable()
        found: list[Delta] = [{"content": words}] if words else []
        return found + list(self.calls())

    def end(self) -> list[Delta]:
        """What is left to say at the end."""
        if not self.sent:
            said = read_calls(self.text)
            if said.tool_calls:
                self.num_whole = len(said.tool_calls)
                return [{"tool_calls": [call | {"index": i} for i, call in enumerate(said.tool_calls)]}]
            return [{"content": self.text[self.shown :]}] if self.shown < len(self.text) else []
        rest = read_calls(self.text).content if self.num_whole == len(self.sent) else None
        more = (rest or "").removeprefix(self.text[: self.shown].strip()).strip()
        return [{"content": more}] if more else []

    def sayable(self) -> str:
        """The words that cannot be the beginning of a call any more. White space waits for what comes after it, and an
        answer that begins like JSON for its end."""
        if self.text.lstrip()[:1] in ("{", "["):
            return ""
        opened = self.text.find(OPEN)
        end = opened if opened >= 0 else len(self.text) - held(self.text)
        end = len(self.text[:end].rstrip())
        words, self.shown = self.text[self.shown : end], max(self.shown, end)
        return words

    def calls(self) -> Iterator[Delta]:
        """What is new of the calls."""
        found = list(written_calls(self.text))
        for place, call in enumerate(found):
            if place == len(self.sent):
                self.sent.append("")
                function = {"name": call.name, "arguments": ""}
                yield call_delta(place, function, {"id": call_id(), "type": "function"})
            new = call.arguments[len(self.sent[place]) :]
            if new:
                self.sent[place] = call.arguments
                yield call_delta(place, {"arguments": new}, {})
        self.num_whole = sum(call.is_whole for call in found)


@dataclass
class CallEvents:
    """The chunks of one streamed answer that may call functions. Log-probabilities of what is held back come with the
    next thing that is said."""

    stream: ToolStream = field(default_factory=ToolStream)
    logprobs: tuple[TokenLogprob, ...] = ()

    def chunks(self, head: Body, piece: Piece) -> Iterator[Body]:
        """The chunks after one more piece."""
        self.logprobs += piece.logprobs
        deltas = self.stream.add(piece.text) + (self.stream.end() if piece.finish_reason else [])
        if piece.finish_reason and self.logprobs and not deltas:
            deltas = [{"content": ""}]
        for delta in deltas:
            said, self.logprobs = replace(piece, logprobs=self.logprobs), ()
            yield chunk_body(head, delta, said)
        if piece.finish_reason:
            called = self.stream.num_whole and piece.finish_reason == "stop"
            yield chunk_body(head, {}, replace(piece, finish_reason="tool_calls") if called else piece)


def call_delta(place: int, function: dict[str, str], head: dict[str, str]) -> Delta:
    """A piece of one call."""
    return {"tool_calls": [{"index": place, **head, "function": function}]}


def held(text: str) -> int:
    """How many characters at the end may be the beginning of a tag."""
    return max((size for size in range(1, len(OPEN)) if text.endswith(OPEN[:size])), default=0)


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
