"""The grammar of answers that may call functions: constrained decoding to it leaves no call that cannot run.

In the Lark dialect of llguidance, whose JSON follows a schema (https://github.com/guidance-ai/llguidance). Arguments
come in the order of the schema and with the blanks of `domains.tool_calls`, as the training rows have them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from domains.errors import UserError, unknown_name
from domains.tool_calls import CLOSE, OPEN, Function, text_of

AUTO, REQUIRED = "auto", "required"
MAX_CALLS = 8
JSON_STYLE = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
WORDS = r"/[^<\[{\s]([^<]|<[^t])*/"  # never the beginning of a call, with or without its tag


def tool_grammar(functions: Sequence[Function], choice: str = AUTO, max_calls: int = MAX_CALLS) -> str:
    """The grammar of an answer. `choice`: "auto" (words or calls), "required" (calls), or the name of the one function
    to call. `max_calls` is 1 where calls must not be parallel."""
    names = [function.name for function in functions]
    if not functions:
        raise UserError("There is no function to call. Declare one, or answer without a grammar.")
    if choice not in (AUTO, REQUIRED, *names):
        raise unknown_name("function to choose", choice, [AUTO, REQUIRED, *names])
    callable_ = [function for function in functions if choice in (AUTO, REQUIRED, function.name)]
    start = "calls | words" if choice == AUTO else "calls"
    lines = [f"start: {start}", f"calls: {text_of(OPEN)} list {text_of(CLOSE)}"]
    lines.append(f"list: %json {text_of(calls_schema(callable_, max_calls))}")
    return "\n".join([*lines, *([f"words: {WORDS}"] if choice == AUTO else [])])


def calls_schema(functions: Sequence[Function], max_calls: int = MAX_CALLS) -> dict[str, Any]:
    """The JSON schema of a list of calls of some functions."""
    items = {"anyOf": [call_schema(function) for function in functions]}
    return {"x-guidance": JSON_STYLE, "type": "array", "items": items, "minItems": 1, "maxItems": max_calls}


def call_schema(function: Function) -> dict[str, Any]:
    """The JSON schema of a call of a function."""
    arguments = {"type": "object", "additionalProperties": False, **function.parameters}
    return {
        "type": "object",
        "properties": {"name": {"const": function.name}, "arguments": arguments},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }
