"""Rows about function calls: `functions.jsonl` declares functions, rows name them, and are read in the prompt format.

A row of `calls.jsonl` has `functions` (names), `prompt` (a text, or turns of user, assistant and tool; an assistant
turn may have `calls` instead of `content`) and either `calls` or, where nothing is to be called, `answer`. In a row of
`preferences.jsonl` the answers are texts. Everything becomes ordinary messages before it is read as any other row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import jsonschema_rs

from domains.errors import UserError, unknown_name
from domains.example import Example
from domains.readers import Reading, RowError, list_field, read_jsonl, shown, text_field
from domains.tool_calls import Function, ToolCall, call_text, render, response_text

Row = dict[str, Any]
Parse = Callable[[Row], Any]
FUNCTIONS_FILE = "functions.jsonl"
FUNCTIONS = Path(__file__).parent / "tools" / FUNCTIONS_FILE


def parse_function(row: Row) -> Function:
    """A declaration: a name, what it does, and the JSON schema of an object."""
    parameters = row.get("parameters")
    if not isinstance(parameters, dict) or parameters.get("type") != "object":
        raise RowError("parameters", f"must be the schema of an object, got {shown(parameters)}.", 'give "type".')
    try:
        jsonschema_rs.validator_for(parameters)
    except (ValueError, jsonschema_rs.ValidationError) as error:
        raise RowError("parameters", f"is no JSON schema ({error}).", "correct the schema.") from None
    return Function(text_field(row, "name"), text_field(row, "description"), parameters)


def read_functions(path: Path) -> tuple[Function, ...]:
    """The functions of a file in order; a file with bad rows or a name twice is a UserError."""
    return _read_functions(path, path.stat().st_mtime_ns) if path.exists() else ()


@lru_cache(maxsize=16)
def _read_functions(path: Path, modified: int) -> tuple[Function, ...]:
    reading: Reading[Function] = read_jsonl(path, parse_function)
    names = [function.name for function in reading.records]
    twice = sorted({name for name in names if names.count(name) > 1})
    if reading.problems or twice:
        first = reading.problems[0] if reading.problems else f"'{twice[0]}' is declared twice."
        raise UserError(f"{path.parent.name}/{path.name} cannot be used: {first}")
    return reading.records


def parser_beside(path: Path, parse: Parse) -> Parse:
    """The parser of a file's rows, where a row may name functions that a file beside it declares."""

    def parse_row(row: Row) -> Any:
        if "functions" not in row:
            return parse(row)
        functions = named(list_field(row, "functions"), read_functions(path.parent / FUNCTIONS_FILE))
        record = parse(told(row, functions))
        return replace(record, functions=functions) if isinstance(record, Example) else record

    return parse_row


def named(names: Sequence[str], functions: Sequence[Function]) -> tuple[Function, ...]:
    """The functions with these names."""
    known = {function.name: function for function in functions}
    for name in names:
        if name not in known:
            raise RowError("functions", str(unknown_name("function", name, known)), f"declare it in {FUNCTIONS_FILE}.")
    return tuple(known[name] for name in names)


def told(row: Row, functions: Sequence[Function]) -> Row:
    """A row with the functions in a system turn and all calls as text."""
    turns = row.get("prompt")
    given = turns if isinstance(turns, list) else [{"role": "user", "content": turns}]
    result = {**row, "prompt": [{"role": "system", "content": render(functions)}, *map(turn_told, given)]}
    if "calls" in row:
        calls = calls_field(row["calls"])
        check_calls(calls, functions)
        result["completion"] = call_text(calls)
    elif "answer" in row:
        result["completion"] = text_field(row, "answer")
    return result


def turn_told(turn: Any) -> Any:
    """A turn of user, assistant or tool as a message; anything else is left for the message's own checks."""
    if not isinstance(turn, dict):
        return turn
    if turn.get("role") == "tool":
        return {"role": "user", "content": response_text(str(turn.get("content", "")))}
    if turn.get("role") == "assistant" and "calls" in turn:
        return {"role": "assistant", "content": call_text(calls_field(turn["calls"]))}
    return turn


def calls_field(value: Any) -> tuple[ToolCall, ...]:
    """A non-empty list of {name, arguments}."""
    if not isinstance(value, list) or not value:
        raise RowError("calls", f"must be a list of calls, got {shown(value)}.", 'write [{"name", "arguments"}].')
    return tuple(call_field(item) for item in value)


def call_field(value: Any) -> ToolCall:
    """One {name, arguments}."""
    if not isinstance(value, dict) or not isinstance(value.get("arguments"), dict):
        raise RowError("calls", f"must be an object with arguments, got {shown(value)}.", "write name and arguments.")
    return ToolCall(text_field(value, "name"), value["arguments"])


def check_calls(calls: Sequence[ToolCall], functions: Sequence[Function]) -> None:
    """Refuse a call of a function that the row does not offer, or with arguments that do not fit its schema."""
    offered: Mapping[str, Function] = {function.name: function for function in functions}
    for call in calls:
        if call.name not in offered:
            raise RowError("calls", str(unknown_name("offered function", call.name, offered)), "offer or change it.")
        problems = offered[call.name].problems(call.arguments)
        if problems:
            raise RowError("calls", f"{call.name}: {problems[0]}.", "make the arguments fit the schema.")
