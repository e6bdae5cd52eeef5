"""Functions and calls of them as text: the one prompt format of the project.

The system text lists the functions as signatures, which cost a small model a third of the tokens of their JSON schemas:

    monthly_payment(loan: number, annual_rate: number, years?: integer = 30)
    Monthly principal and interest of a fixed-rate loan.
    - annual_rate: percent a year

An answer that calls is one JSON list in tags, an object for each call, as the larger SmolLM2 was trained to write it:
`<tool_call>[{"name": ..., "arguments": {...}}]</tool_call>` (https://huggingface.co/HuggingFaceTB/SmolLM2-1.7B-Instruct).
What a function returned is a user turn `<tool_response>...</tool_response>`. Reading is more lenient: several tags, one
object in a tag (Hermes, Qwen), `parameters` for `arguments` (Llama 3.1), a missing end tag, or an answer that is
nothing but the JSON are calls too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jsonschema_rs

OPEN, CLOSE = "<tool_call>", "</tool_call>"
RESPONSE_OPEN, RESPONSE_CLOSE = "<tool_response>", "</tool_response>"
HEADER = "You can call these functions:"
FOOTER = (
    f'To call, answer only {OPEN}[{{"name": "function", "arguments": {{"argument": "value"}}}}]{CLOSE}, one object for '
    "each call. If a required argument is missing, ask for it. If no function fits, answer in words."
)
OBJECT_TYPES = ("object", "dict")
ARGUMENTS = {"arguments", "parameters"}  # a call has one of them
CALL_KEYS = {"name", "id", "type", *ARGUMENTS}
ARRAY_TYPES = ("array", "tuple", "list")


@dataclass(frozen=True)
class Function:
    """A function that may be called; `parameters` is the JSON schema of its arguments, an object."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})

    @property
    def required(self) -> tuple[str, ...]:
        """The arguments that a call must have."""
        return tuple(self.parameters.get("required") or ())

    @cached_property
    def _validator(self) -> Any:
        return jsonschema_rs.validator_for({"additionalProperties": False, **self.parameters})

    def as_dict(self) -> dict[str, Any]:
        """The declaration."""
        return {"name": self.name, "description": self.description, "parameters": dict(self.parameters)}

    def as_tool(self) -> dict[str, Any]:
        """The form in which chat templates and the OpenAI protocol take functions."""
        return {"type": "function", "function": self.as_dict()}

    def problems(self, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        """What is wrong with the arguments of a call, one text each; () where nothing is. An argument that the schema
        does not name is wrong unless the schema says otherwise."""
        errors = self._validator.iter_errors(dict(arguments))
        return tuple(f"{'.'.join(map(str, e.instance_path)) or self.name}: {e.message}" for e in errors)


@dataclass(frozen=True)
class ToolCall:
    """A call of a function."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The object that the model writes."""
        return {"name": self.name, "arguments": dict(self.arguments)}


@dataclass(frozen=True)
class CallBlock:
    """A part of an answer, from `start` to `end`, that makes calls."""

    start: int
    end: int
    calls: tuple[ToolCall, ...]


def render(functions: Sequence[Function]) -> str:
    """The system text that declares functions; empty where there are none."""
    if not functions:
        return ""
    return "\n\n".join([HEADER, *map(declaration, functions), FOOTER])


def declaration(function: Function) -> str:
    """One function: its signature, what it does, and what its arguments mean."""
    schema = function.parameters
    lines = [f"{function.name}({signature(schema)})", " ".join(function.description.split())]
    lines += [f"- {name}: {text}" for name, text in notes(schema)]
    return "\n".join(line for line in lines if line)


def signature(schema: Mapping[str, Any]) -> str:
    """The arguments of an object schema: `name: type`, `name?` where it may be left out, `= value` for a default."""
    required = set(schema.get("required") or ())
    parts = []
    for name, value in properties(schema).items():
        default = f" = {text_of(value['default'])}" if value.get("default") is not None else ""
        parts.append(f"{name}{'' if name in required else '?'}: {type_text(value)}{default}")
    return ", ".join(parts)


def properties(schema: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The properties of an object schema."""
    found = schema.get("properties") or {}
    return {str(name): value if isinstance(value, Mapping) else {} for name, value in found.items()}


def type_text(schema: Mapping[str, Any]) -> str:
    """The type of a value in the style of TypeScript: `"a" | "b"`, `number[]`, `{name: string}`."""
    if "enum" in schema or "const" in schema:
        return " | ".join(text_of(value) for value in schema.get("enum") or [schema.get("const")])
    parts = schema.get("anyOf") or schema.get("oneOf")
    if parts:
        return " | ".join(dict.fromkeys(type_text(part) for part in parts if isinstance(part, Mapping)))
    kind = schema.get("type", "any")
    if isinstance(kind, list):
        return " | ".join(type_text({**schema, "type": each}) for each in kind)
    if kind in OBJECT_TYPES and properties(schema):
        return f"{{{signature(schema)}}}"
    items = schema.get("items")
    if kind in ARRAY_TYPES and isinstance(items, Mapping):
        inner = type_text(items)
        return f"({inner})[]" if " | " in inner else f"{inner}[]"
    return str(kind)


def notes(schema: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """The dotted name and description of each argument that has one, nested ones after their parents."""
    for name, value in properties(schema).items():
        text = " ".join(str(value.get("description") or "").split())
        if text:
            yield f"{prefix}{name}", text
        items = value.get("items")
        yield from notes(items if isinstance(items, Mapping) else value, f"{prefix}{name}.")


def call_text(calls: Sequence[ToolCall]) -> str:
    """Calls as the model writes them."""
    return f"{OPEN}{text_of([call.as_dict() for call in calls])}{CLOSE}"


def response_text(content: str) -> str:
    """What a function returned, as the model reads it."""
    return f"{RESPONSE_OPEN}\n{content}\n{RESPONSE_CLOSE}"


def text_of(value: Any) -> str:
    """A value as JSON, as it is written everywhere here."""
    return json.dumps(value, ensure_ascii=False)


def parse(text: str) -> tuple[ToolCall, ...] | None:
    """The calls of an answer in order; None when it makes none."""
    return tuple(call for block in call_blocks(text) for call in block.calls) or None


def call_blocks(text: str) -> tuple[CallBlock, ...]:
    """The parts of an answer that make calls; a tag without well-formed calls is no such part, but text."""
    if OPEN not in text:
        calls = read_calls(text)
        return (CallBlock(0, len(text), calls),) if calls else ()
    blocks = []
    start = text.find(OPEN)
    while start >= 0:
        block = block_at(text, start)
        if block:
            blocks.append(block)
        start = text.find(OPEN, block.end if block else start + len(OPEN))
    return tuple(blocks)


def block_at(text: str, start: int) -> CallBlock | None:
    """The part that begins with the tag at `start`; None where no calls follow it, or something else than its end."""
    begin = start + len(OPEN)
    begin += len(text[begin:]) - len(text[begin:].lstrip())
    try:
        value, end = DECODER.raw_decode(text, begin)
    except (ValueError, RecursionError):
        return None
    calls, rest = calls_of(value), text[end:].lstrip()
    if not calls or not (rest.startswith(CLOSE) or not rest):
        return None
    return CallBlock(start, len(text) - len(rest) + (len(CLOSE) if rest else 0), calls)


def read_calls(text: str) -> tuple[ToolCall, ...]:
    """The calls of JSON without tags, where each has a name and arguments; () where it is anything else."""
    try:
        value = DECODER.decode(text.strip())
    except (ValueError, RecursionError):
        return ()
    items = value if isinstance(value, list) else [value]
    return calls_of(items) if all(isinstance(item, dict) and ARGUMENTS & item.keys() for item in items) else ()


def calls_of(value: Any) -> tuple[ToolCall, ...]:
    """The calls of one object or a list of objects; () where one of them is no call."""
    calls = [call_of(item) for item in (value if isinstance(value, list) else [value])]
    return () if None in calls else tuple(call for call in calls if call)


def call_of(value: Any) -> ToolCall | None:
    """One call: a name, and arguments that may be JSON text."""
    if not isinstance(value, dict) or not value.keys() <= CALL_KEYS or value.keys() >= ARGUMENTS:
        return None
    name, arguments = value.get("name"), value.get("arguments", value.get("parameters", {}))
    if isinstance(arguments, str):
        try:
            arguments = DECODER.decode(arguments)
        except (ValueError, RecursionError):
            return None
    if not isinstance(name, str) or not name or not isinstance(arguments, dict):
        return None
    return ToolCall(name, arguments)


def refuse_constant(name: str) -> Any:
    """NaN and the infinities are no JSON."""
    raise ValueError(f"{name} is not JSON")


DECODER = json.JSONDecoder(parse_constant=refuse_constant)
