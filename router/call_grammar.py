"""What an answer that may call functions looks like, as a grammar for llguidance.

The text around the calls is free; a call that is begun names a declared function and fits the schema of its arguments.
https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from domains.errors import unknown_name
from domains.tool_calls import CLOSE, OPEN, Function

MAX_CALLS = 8
OPTIONS = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": ", "lenient": True}


@dataclass(frozen=True)
class ToolUse:
    """Functions that may be called: `required` when at least one must be, `only` when it must be that one; `parallel`
    allows several calls in one answer."""

    functions: tuple[Function, ...]
    required: bool = False
    only: str | None = None
    parallel: bool = True

    @property
    def callable(self) -> tuple[Function, ...]:
        """The functions that a call may name."""
        if self.only is None:
            return self.functions
        found = tuple(function for function in self.functions if function.name == self.only)
        if not found:
            raise unknown_name("function", self.only, [function.name for function in self.functions])
        return found


def declared(tools: str) -> tuple[Function, ...]:
    """The functions in tool declarations of the OpenAI protocol, as JSON text."""
    return tuple(function_of(tool["function"]) for tool in json.loads(tools))


def function_of(declaration: Mapping[str, Any]) -> Function:
    """One declared function; without parameters it takes none."""
    parameters = declaration.get("parameters") or {"type": "object", "properties": {}}
    return Function(str(declaration["name"]), str(declaration.get("description") or ""), parameters)


def lark(use: ToolUse, content_schema: str | None = None) -> str:
    """The grammar: calls, or (unless one is required) any text before and instead of them. With `content_schema` the
    text instead of a call is JSON of that schema."""
    call = json.dumps(call_schema(use.callable))
    more = f'(", " one){{0,{MAX_CALLS - 1}}}' if use.parallel else ""
    blocks = f"body (gap {json.dumps(OPEN)} body){{0,{MAX_CALLS - 1}}}" if use.parallel else "body"
    rules = [
        "%llguidance {}",
        f"body: gap (one | list) gap {json.dumps(CLOSE)}",
        f'list: "[" one {more} "]"',
        f"one: %json {call}",
        r"gap: /[ \n]{0,2}/",
    ]
    if use.required or use.only:
        start = [f"start: {json.dumps(OPEN)} {blocks}"]
    elif content_schema:
        start = [f"start: content | {json.dumps(OPEN)} {blocks}", f"content: %json {content_schema}"]
    else:
        start = [
            f"start: TEXT | opening {blocks}",
            f"opening[lazy]: TEXT {json.dumps(OPEN)}",
            r"TEXT: /(.|\n)*/",
        ]
    return "\n".join([*rules[:1], *start, *rules[1:]]) + "\n"


def call_schema(functions: Sequence[Function]) -> dict[str, Any]:
    """The schema of one call of one of the functions; definitions of their schemas move to its root."""
    definitions: dict[str, Any] = {}
    calls = []
    for number, function in enumerate(functions):
        arguments = moved({"type": "object", "additionalProperties": False, **function.parameters}, number, definitions)
        properties = {"name": {"const": function.name}, "arguments": arguments}
        calls.append(closed(properties))
    return {"anyOf": calls, "x-guidance": OPTIONS, **({"$defs": definitions} if definitions else {})}


def closed(properties: dict[str, Any]) -> dict[str, Any]:
    """An object with exactly these properties."""
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def moved(schema: dict[str, Any], number: int, definitions: dict[str, Any]) -> dict[str, Any]:
    """A schema whose references to its own definitions lead to those of the whole; `#` alone is not followed."""
    own = {key: schema.pop(key) for key in ("$defs", "definitions") if isinstance(schema.get(key), dict)}
    if not own:
        return schema

    def renamed(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: target(each) if key == "$ref" else renamed(each) for key, each in value.items()}
        return [renamed(each) for each in value] if isinstance(value, list) else value

    def target(reference: Any) -> Any:
        for key in own:
            if isinstance(reference, str) and reference.startswith(f"#/{key}/"):
                return f"#/$defs/{number}-{reference.removeprefix(f'#/{key}/')}"
        return reference

    for found in own.values():
        definitions.update({f"{number}-{name}": renamed(each) for name, each in found.items()})
    made: dict[str, Any] = renamed(schema)
    return made
