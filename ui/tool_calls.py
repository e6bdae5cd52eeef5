"""Function calls in the wire form of the OpenAI protocol; their text form is `domains.tool_calls`."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import Any

from domains.tool_calls import ToolCall, call_blocks, text_of


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
    """The calls in an answer; what is not well formed stays text."""
    blocks = call_blocks(text)
    if not blocks:
        return Said(text, ())
    ends = [0, *(block.end for block in blocks)]
    starts = [*(block.start for block in blocks), len(text)]
    words = "".join(text[end:start] for end, start in zip(ends, starts, strict=True)).strip()
    return Said(words or None, tuple(wire_call(call) for block in blocks for call in block.calls))


def wire_call(call: ToolCall) -> dict[str, Any]:
    """One call in the form of the protocol."""
    function = {"name": call.name, "arguments": text_of(dict(call.arguments))}
    return {"id": call_id(), "type": "function", "function": function}


def call_id() -> str:
    """A name for one call."""
    return f"call_{uuid.uuid4().hex[:24]}"
