"""Function calls while they are written, as the deltas of the OpenAI protocol: a call's id and name first, then its
arguments piece by piece. Text that may yet become a call is held back.

Protocol: https://platform.openai.com/docs/guides/function-calling#streaming
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from domains.tool_calls import OPEN
from router.assistant import Piece, TokenLogprob
from ui.bodies import Body, chunk_body
from ui.tool_calls import call_id, read_calls
from ui.written_calls import written_calls

Delta = dict[str, Any]


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
        said = read_calls(self.text)
        if said.tool_calls and not self.sent:
            self.num_whole = len(said.tool_calls)
            return [{"tool_calls": [call | {"index": i} for i, call in enumerate(said.tool_calls)]}]
        shown = self.text[: self.shown]
        more = (said.content or "").removeprefix(shown if said.content == self.text else shown.strip())
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
