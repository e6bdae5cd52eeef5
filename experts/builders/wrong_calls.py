"""Right calls made wrong by rule, without a model; each wrong call still reads well.

Kinds: wrong_function (another function of the prompt, or one that does not exist), dropped_argument, wrong_value (a
unit, an option or a number), missing_call (one of several), unnecessary_call (where nothing was to be called, or once
more) and no_call (words instead of a call). The same row is always changed in the same way and keeps its split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from domains.errors import UserError
from domains.tool_calls import Function, ToolCall, call_text, parse, properties
from experts.builders._calls import CHOSEN, call_items, functions_of, prompt_of
from experts.builders._parts import Item, Material, Skipped, Writers, preference_row
from judges.samples import key_of

TARGET = "preferences.jsonl"
USES_MODEL = False
FACTORS = (10, 0.1, 2)
EXAMPLES: Mapping[str, Any] = {
    "string": "unknown",
    "boolean": True,
    "integer": 1,
    "number": 1,
    "array": [],
    "object": {},
}


def items(material: Material) -> list[Item]:
    """One per row of calls."""
    found = call_items(material.domain)
    if not found:
        raise UserError(f"{material.domain.name} has no rows in calls.jsonl. Choose another kind.")
    return found


def build(item: Item, writers: Writers) -> dict[str, Any]:
    """The right answer with every wrong one that it allows."""
    rejected = wrong_answers(item.data[CHOSEN], functions_of(item), item.id)
    if not rejected:
        raise Skipped("no wrong call can be made of this row.")
    return preference_row(prompt_of(item), item.data[CHOSEN], rejected)


def wrong_answers(chosen: str, functions: Sequence[Function], key: str) -> dict[str, str]:
    """Wrong answers by kind; none equals the right one."""
    calls = parse(chosen)
    if calls is None:
        return {"unnecessary_call": call_text([made_up(functions[draw(key, len(functions))])])} if functions else {}
    place = draw(key, len(calls))
    call, known = calls[place], {function.name: function for function in functions}
    changed = {
        "wrong_function": wrong_function(call, functions, key),
        "dropped_argument": dropped_argument(call, key),
        "wrong_value": wrong_value(call, known.get(call.name), key),
    }
    found = {kind: call_text([*calls[:place], c, *calls[place + 1 :]]) for kind, c in changed.items() if c}
    if len(calls) > 1:
        found["missing_call"] = call_text([*calls[:place], *calls[place + 1 :]])
    else:
        found["no_call"] = "I cannot do that."
    return {kind: text for kind, text in found.items() if parse(text) != calls}


def draw(key: str, below: int) -> int:
    """A number from 0 to below `below` that depends on a text alone."""
    return int(key_of(key)[:8], 16) % max(1, below)


def wrong_function(call: ToolCall, functions: Sequence[Function], key: str) -> ToolCall:
    """The same arguments for another function of the prompt; a name with a prefix where there is none."""
    others = [function.name for function in functions if function.name != call.name]
    name = others[draw(key, len(others))] if others else f"get_{call.name}"
    return ToolCall(name, call.arguments)


def dropped_argument(call: ToolCall, key: str) -> ToolCall | None:
    """The call without one of its arguments."""
    names = list(call.arguments)
    if not names:
        return None
    gone = names[draw(key + "dropped", len(names))]
    return ToolCall(call.name, {name: value for name, value in call.arguments.items() if name != gone})


def wrong_value(call: ToolCall, function: Function | None, key: str) -> ToolCall | None:
    """The call with another option, a number of another size, or a turned truth value."""
    schemas = properties(function.parameters) if function else {}
    options = {name: other_value(value, schemas.get(name, {}), key) for name, value in call.arguments.items()}
    names = [name for name, value in options.items() if value is not None]
    if not names:
        return None
    name = names[draw(key + "value", len(names))]
    return ToolCall(call.name, {**call.arguments, name: options[name]})


def other_value(value: Any, schema: Mapping[str, Any], key: str) -> Any:
    """A value of the same type that is not the right one; None where there is no simple one."""
    if isinstance(value, bool):
        return not value
    if "enum" in schema:
        others = [other for other in schema["enum"] if other != value]
        return others[draw(key, len(others))] if others else None
    if isinstance(value, int | float):
        other = value * FACTORS[draw(key + "factor", len(FACTORS))] or 1
        return other if isinstance(value, float) else int(other) if other == int(other) else value * 10
    if isinstance(value, list) and len(value) > 1:
        return value[:-1]
    return None


def made_up(function: Function) -> ToolCall:
    """A call with values that nobody gave."""
    schemas = properties(function.parameters)
    return ToolCall(function.name, {name: example_value(schemas.get(name, {})) for name in function.required})


def example_value(schema: Mapping[str, Any]) -> Any:
    """A value that a careless writer would put."""
    if schema.get("enum"):
        return schema["enum"][0]
    if schema.get("type") == "array":
        return [example_value(schema.get("items", {}))]
    if "YYYY" in str(schema.get("description", "")):
        return "2024-01-01"
    return EXAMPLES.get(str(schema.get("type")), "unknown")
