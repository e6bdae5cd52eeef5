"""Function calls in the wire form of the OpenAI protocol; their text form is `domains.tool_calls`."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jsonschema_rs

from domains.tool_calls import CLOSE, DECODER, OPEN, CallBlock, ToolCall, block_at, call_blocks, text_of
from ui.written_calls import calls_in

DRAFTS = (
    "https://json-schema.org/draft/2020-12/schema",
    "http://json-schema.org/draft-07/schema#",
    "http://json-schema.org/draft-04/schema#",
)


@dataclass(frozen=True)
class Said:
    """An answer taken apart: what it says, and the calls in the form of the OpenAI protocol."""

    content: str | None
    tool_calls: tuple[dict[str, Any], ...]


def call_of_wire(name: str, arguments: str) -> ToolCall:
    """A call of an earlier answer; arguments that are no JSON object become one argument."""
    try:
        parsed: Any = json.loads(arguments)
    except (ValueError, RecursionError):
        parsed = arguments
    return ToolCall(name, parsed if isinstance(parsed, dict) else {"arguments": parsed})


def read_calls(text: str) -> Said:
    """The calls in an answer, and its words outside the tags."""
    blocks = tuple(tags(text)) if OPEN in text else call_blocks(text)
    if not blocks:
        return Said(text, ())
    ends = [0, *(block.end for block in blocks)]
    starts = [*(block.start for block in blocks), len(text)]
    words = "".join(text[end:start] for end, start in zip(ends, starts, strict=True)).strip()
    return Said(words or None, tuple(wire_call(call) for block in blocks for call in block.calls))


def tags(text: str) -> Iterator[CallBlock]:
    """All tags, also one that is not well formed."""
    start = text.find(OPEN)
    while start >= 0:
        block = block_at(text, start) or begun_at(text, start)
        yield block
        start = text.find(OPEN, block.end)


def begun_at(text: str, start: int) -> CallBlock:
    """A tag that was cut off or is not well formed: the calls that are whole before that place, as a stream has sent
    them by then."""
    begun = list(calls_in(text, start + len(OPEN)))
    calls = tuple(ToolCall(call.name, DECODER.decode(call.arguments)) for call in begun if call.is_whole)
    reached = next((call.end for call in reversed(begun) if call.end is not None), start)
    closed = text.find(CLOSE, reached)
    return CallBlock(start, closed + len(CLOSE) if closed >= 0 else len(text), calls)


def is_schema(value: Mapping[str, Any]) -> bool:
    """Whether a value is a JSON schema of a draft that clients send. What it refers to is not looked up."""
    return any(jsonschema_rs.meta.is_valid({**value, "$schema": draft}) for draft in DRAFTS)


def wire_call(call: ToolCall) -> dict[str, Any]:
    """One call in the form of the protocol."""
    function = {"name": call.name, "arguments": text_of(dict(call.arguments))}
    return {"id": call_id(), "type": "function", "function": function}


def call_id() -> str:
    """A name for one call."""
    return f"call_{uuid.uuid4().hex[:24]}"
