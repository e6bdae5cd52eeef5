"""The rows of the leaderboard's categories as its package has them, and fixed random subsets of them."""

from __future__ import annotations

import copy
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from domains.errors import UserError, unknown_name
from domains.example import Message, Role
from domains.tool_calls import Function
from judges.bfcl.official import official

NON_LIVE = ("simple_python", "simple_java", "simple_javascript", "multiple", "parallel", "parallel_multiple")
IRRELEVANCE = ("irrelevance", "live_irrelevance")
RELEVANCE = ("live_relevance",)
LIVE = ("live_simple", "live_multiple", "live_parallel", "live_parallel_multiple")
MULTI_TURN = ("multi_turn_base", "multi_turn_miss_func", "multi_turn_miss_param", "multi_turn_long_context")
AST = NON_LIVE + LIVE
CATEGORIES = NON_LIVE + IRRELEVANCE[:1] + LIVE + IRRELEVANCE[1:] + RELEVANCE + MULTI_TURN
SUBSET_SEED = 20_251_123
MULTI_TURN_SHARE = 4
ROLES: dict[str, Role] = {"system": "system", "user": "user", "assistant": "assistant"}


@dataclass(frozen=True)
class Turn:
    """What is said to the model at once, and the functions that it can call from then on."""

    messages: tuple[Message, ...]
    functions: tuple[Function, ...]


@dataclass(frozen=True)
class Task:
    """One row: its turns (one, unless it is multi-turn) and the entry and answers of the package for its checker."""

    id: str
    category: str
    turns: tuple[Turn, ...]
    entry: Mapping[str, Any]
    truth: Sequence[Any]


@cache
def read_category(category: str) -> tuple[Task, ...]:
    """All rows of a category."""
    if category not in CATEGORIES:
        raise unknown_name("category", category, CATEGORIES)
    utils = official().utils
    original = utils.load_dataset_entry(category, include_language_specific_hint=False)
    shown = utils.load_dataset_entry(category)
    has_truth = category in AST + MULTI_TURN
    truths = {row["id"]: row["ground_truth"] for row in (utils.load_ground_truth_entry(category) if has_truth else [])}
    return tuple(
        Task(entry["id"], category, turns_of(told, category), entry, truths.get(entry["id"], ()))
        for entry, told in zip(original, shown, strict=True)
    )


def turns_of(entry: Mapping[str, Any], category: str) -> tuple[Turn, ...]:
    """The turns of a row, with functions that come later in the turn that adds them."""
    functions = list(entry["function"])
    late = entry.get("missed_function", {})
    turns = []
    for number, asked in enumerate(entry["question"]):
        added = late.get(str(number), [])
        functions = [*functions, *added]
        text = official().prompts.DEFAULT_USER_PROMPT_FOR_ADDITIONAL_FUNCTION_FC
        messages = [{"role": "user", "content": text}] if added else asked
        turns.append(Turn(tuple(Message(ROLES[m["role"]], m["content"]) for m in messages), as_functions(functions)))
    return tuple(turns if category in MULTI_TURN else turns[:1])


def as_functions(found: Sequence[Mapping[str, Any]]) -> tuple[Function, ...]:
    """The package's declarations with JSON schemas."""
    return tuple(Function(f["name"], f["description"], as_schema(f["parameters"])) for f in found)


def as_schema(given: Mapping[str, Any]) -> dict[str, Any]:
    """A schema with the types of JSON schema, by the package's own table (`dict` is an object, `any` a string)."""
    types = official().types
    schema = copy.deepcopy({key: value for key, value in given.items() if key in KEPT})
    if "type" in schema:
        schema["type"] = types.get(str(schema["type"]), "string")
    if isinstance(schema.get("properties"), dict):
        schema["properties"] = {name: as_schema(value) for name, value in schema["properties"].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            schema[key] = as_schema(schema[key])
    return schema


KEPT = frozenset(
    ("type", "properties", "required", "items", "additionalProperties", "enum", "description", "default", "minimum",
     "maximum", "minItems", "maxItems", "optional")
)  # fmt: skip


def subset(num_rows: int | None, categories: Sequence[str] = CATEGORIES) -> dict[str, tuple[Task, ...]]:
    """Rows by category: all of them, or about `num_rows` drawn with a fixed seed: equally many of each category (all of
    a small one), and a quarter of that of the multi-turn ones, whose rows are conversations."""
    found = {category: read_category(category) for category in categories}
    if num_rows is None:
        return found
    if num_rows < len(categories):
        raise UserError(f"{num_rows} rows are fewer than the {len(categories)} categories. Ask for more with --rows.")
    sizes = quotas({category: len(rows) for category, rows in found.items()}, num_rows)
    return {category: drawn(rows, sizes[category]) for category, rows in found.items()}


def quotas(sizes: Mapping[str, int], num_rows: int) -> dict[str, int]:
    """The smallest equal quota that gives at least `num_rows`, bounded by the sizes."""
    for quota in range(1, max(sizes.values()) + 1):
        found = {name: min(size, share(name, quota)) for name, size in sizes.items()}
        if sum(found.values()) >= num_rows:
            break
    return found


def share(category: str, quota: int) -> int:
    """How many rows of a category a quota is."""
    return max(1, quota // MULTI_TURN_SHARE) if category in MULTI_TURN else quota


def drawn(rows: Sequence[Task], size: int) -> tuple[Task, ...]:
    """A random choice that does not depend on the order of the rows; a smaller one is part of a larger."""
    order = sorted(rows, key=lambda row: random.Random(f"{SUBSET_SEED} {row.id}").random())
    return tuple(order[:size])
