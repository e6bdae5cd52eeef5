"""Whether an answer makes the calls that it should: function by function, argument by argument.

Not compared: the order of parallel calls, case and outer blanks of texts, 5 against 5.0, an optional argument
that is written out with its default. This measures the domain's own rows; leaderboards have their own rules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from domains.tool_calls import Function, ToolCall, parse, properties


def makes_calls(answer: str, expected: str, functions: Sequence[Function]) -> bool:
    """Whether an answer makes exactly the calls of the expected one; where that makes none, whether it makes none."""
    found, wanted = parse(answer), parse(expected)
    if found is None or wanted is None:
        return found is None and wanted is None
    defaults = {function.name: defaults_of(function) for function in functions}
    return matched([full(call, defaults) for call in found], [full(call, defaults) for call in wanted])


def defaults_of(function: Function) -> dict[str, Any]:
    """The values of the arguments that a call may leave out."""
    return {name: s["default"] for name, s in properties(function.parameters).items() if s.get("default") is not None}


def full(call: ToolCall, defaults: Mapping[str, Mapping[str, Any]]) -> ToolCall:
    """A call with all its arguments, in the form in which they are compared."""
    arguments = {**defaults.get(call.name, {}), **call.arguments}
    return ToolCall(call.name, {name: plain(value) for name, value in arguments.items()})


def plain(value: Any) -> Any:
    """A value without what does not matter. Truth values stay apart from numbers."""
    if isinstance(value, str):
        return value.strip().casefold()
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return ("truth", value) if isinstance(value, bool) else value


def matched(found: Sequence[ToolCall], wanted: Sequence[ToolCall]) -> bool:
    """Whether two lists hold the same calls in any order."""
    left = list(wanted)
    for call in found:
        if call not in left:
            return False
        left.remove(call)
    return not left
