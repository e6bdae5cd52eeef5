"""Function calls as text, in the form that Hermes and Qwen models are trained on, and back.

`<tool_call>{"name": ..., "arguments": {...}}</tool_call>`; what a function returned is a `<tool_response>`.
https://github.com/NousResearch/Hermes-Function-Calling
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

CALL = re.compile(r"<tool_call>\s*(\{.*?\})\s*</tool_call>", re.DOTALL)


@dataclass(frozen=True)
class Said:
    """An answer taken apart: what it says, and the calls in the form of the OpenAI protocol."""

    content: str | None
    tool_calls: tuple[dict[str, Any], ...]


def call_text(name: str, arguments: str) -> str:
    """A call of an earlier answer as the model wrote it; arguments that are no JSON stay as they are."""
    return f"<tool_call>\n{as_written(name, arguments)}\n</tool_call>"


def as_written(name: str, arguments: str) -> str:
    """The JSON of a call; arguments that cannot be read (no JSON, nested too deeply) are a text in it."""
    try:
        return json.dumps({"name": name, "arguments": json.loads(arguments)}, ensure_ascii=False)
    except (ValueError, RecursionError):
        return json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)


def response_text(content: str) -> str:
    """What a function returned, as the model reads it."""
    return f"<tool_response>\n{content}\n</tool_response>"


def read_calls(text: str) -> Said:
    """The calls in an answer; a call that is no JSON object with a name stays text."""
    calls = []
    for match in CALL.finditer(text):
        call = call_of(match.group(1))
        if call is not None:
            calls.append(call)
            text = text.replace(match.group(0), "")
    return Said(text.strip() or None if calls else text, tuple(calls))


def read_whole_call(text: str) -> Said:
    """The call that an answer had to be; one that was cut off stays text."""
    call = call_of(text)
    return Said(None, (call,)) if call else Said(text, ())


def call_schema(functions: Sequence[Mapping[str, Any]]) -> str:
    """The JSON schema of a call of one of the functions; definitions that their parameters refer to go to its top."""
    kinds: list[dict[str, Any]] = []
    definitions: dict[str, Any] = {}
    for function in functions:
        parameters = function.get("parameters") or {"type": "object"}
        if isinstance(parameters, Mapping):
            given = parameters.get("$defs")
            definitions |= given if isinstance(given, dict) else {}
            parameters = {key: value for key, value in parameters.items() if key != "$defs"}
        kinds.append(
            {
                "type": "object",
                "properties": {"name": {"const": function["name"]}, "arguments": parameters},
                "required": ["name", "arguments"],
                "additionalProperties": False,
            }
        )
    schema: dict[str, Any] = {"anyOf": kinds}
    return json.dumps(schema | ({"$defs": definitions} if definitions else {}))


def call_of(text: str) -> dict[str, Any] | None:
    """One call in the form of the protocol."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not isinstance(found.get("name"), str):
        return None
    arguments = found.get("arguments", {})
    function = {
        "name": found["name"],
        "arguments": arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False),
    }
    return {"id": f"call_{uuid.uuid4().hex[:24]}", "type": "function", "function": function}
