"""Right answers made from the possible ones that the leaderboard's package lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from domains.tool_calls import ToolCall

LANGUAGES = {"simple_java": "java", "simple_javascript": "js"}


def right_calls(task: Any) -> list[ToolCall]:
    """A right call for each possible answer; what may be left out is left out."""
    functions = {function["name"]: function["parameters"] for function in task.entry["function"]}
    return [call_from(answer, functions, LANGUAGES.get(task.category, "")) for answer in task.truth]


def call_from(answer: Mapping[str, Any], functions: Mapping[str, Any], language: str) -> ToolCall:
    ((name, possible),) = answer.items()
    schema = functions[name]
    kept = {key: values for key, values in possible.items() if "" not in values or key in schema["required"]}
    arguments = {key: chosen(values, schema["properties"].get(key, {}), language) for key, values in kept.items()}
    return ToolCall(name, arguments)


def chosen(values: Sequence[Any], schema: Mapping[str, Any], language: str) -> Any:
    """The first possible value, as source text where the row is about another language than Python."""
    value = plain(next((each for each in values if each != ""), ""))
    return written(value, schema, language) if language else value


def plain(value: Any) -> Any:
    """A value of which the parts of dictionaries are lists of possible ones; deeper ones are values."""
    if isinstance(value, dict):
        return {key: next(part for part in each if part != "") for key, each in value.items() if "" not in each}
    return [plain(each) for each in value] if isinstance(value, list) else value


def written(value: Any, schema: Mapping[str, Any], language: str) -> str:
    """A value as source text of Java or JavaScript; a name of a variable stands for itself."""
    if isinstance(value, str):
        return value
    kind = schema.get("items", {}).get("type", "any")
    if language == "js":
        return js_text(value)
    if isinstance(value, dict):
        puts = [f'put("{key}", {java_text(each)});' for key, each in value.items()]
        return f"new HashMap<String, Object>() {{{{ {' '.join(puts)} }}}}"
    if isinstance(value, list) and schema["type"] == "ArrayList":
        quoted = [f'"{v}"' if isinstance(v, str) and kind in ("String", "char") else java_part(v, kind) for v in value]
        return f"new ArrayList<>(Arrays.asList({', '.join(quoted)}))"
    if isinstance(value, list):
        return f"new {kind}[]{{{', '.join(java_part(v, kind) for v in value)}}}"
    return java_part(value, str(schema["type"]))


def java_part(value: Any, kind: str) -> str:
    """A value of a known type: of strings in arrays the checker keeps the quotes, so they have none."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value}{SUFFIXES.get(kind, '')}"


SUFFIXES = {"long": "L", "float": "f"}


def java_text(value: Any) -> str:
    """A value inside a map."""
    return f'"{value}"' if isinstance(value, str) else java_part(value, "")


def js_text(value: Any) -> str:
    """A value of JavaScript."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {js_text(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(js_text(each) for each in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
