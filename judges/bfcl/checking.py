"""Whether calls are right, by the package's own checker: names, types and values of single-turn rows, and for
multi-turn rows the state of the simulated APIs and what they returned, after every turn.
"""

from __future__ import annotations

import keyword
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from domains.tool_calls import ToolCall
from judges.bfcl.official import MODEL, official
from judges.bfcl.rows import AST, IRRELEVANCE, RELEVANCE, Task

NAMES = count()
REFUSED = "undeclared_function()"
GROWING = frozenset(("power", "factorial"))  # of the simulated calculator: these would not end for a large number
PRECISION = "precision"  # digits that its roots and logarithms are computed to
MAX_GROWING = 10_000


@dataclass(frozen=True)
class Outcome:
    """Whether a row is solved, and if not, the kind of mistake in the words of the package."""

    right: bool
    mistake: str = ""


def check(task: Task, calls: Sequence[ToolCall] | None) -> Outcome:
    """A single-turn row; `calls` is None where the answer made none."""
    if task.category in IRRELEVANCE:
        return Outcome(not calls, "" if not calls else "irrelevance_error:decoder_success")
    if task.category in RELEVANCE:
        return Outcome(bool(calls), "" if calls else "relevance_error:decoder_failed")
    if not calls:
        return Outcome(False, "ast_decoder:decoder_failed")
    return check_calls(task, calls)


def check_calls(task: Task, calls: Sequence[ToolCall]) -> Outcome:
    """Calls against the possible answers. What the checker cannot compare (it trusts the types inside lists and
    dictionaries) is wrong."""
    assert task.category in AST
    found = official()
    given = [{call.name: dict(call.arguments)} for call in calls]
    try:
        result = found.ast.ast_checker(
            task.entry["function"], given, task.truth, language(task.category), task.category, MODEL
        )
    except (AttributeError, IndexError, KeyError, SyntaxError, TypeError, ValueError) as error:
        return Outcome(False, f"checker:{type(error).__name__}")
    return Outcome(bool(result["valid"]), "" if result["valid"] else str(result["error_type"]))


def language(category: str) -> Any:
    """The language whose values the arguments are."""
    languages = official().languages
    if category == "simple_java":
        return languages.JAVA
    return languages.JAVASCRIPT if category == "simple_javascript" else languages.PYTHON


@dataclass
class World:
    """The simulated APIs of one multi-turn row while a model acts in them. The package keeps them by name for the whole
    process; leaving the context forgets them."""

    task: Task
    name: str = field(default_factory=lambda: f"{MODEL}{next(NAMES)}")

    def __enter__(self) -> World:
        return self

    def __exit__(self, *error: object) -> None:
        kept = vars(official().execution)
        for name in [name for name in kept if name.startswith((f"{self.name}_",))]:
            del kept[name]

    def run(self, calls: Sequence[ToolCall]) -> list[str]:
        """What calls return."""
        results, _ = official().execution.execute_multi_turn_func_call(
            [source(call, self.task) for call in calls],
            self.task.entry["initial_config"],
            self.task.entry["involved_classes"],
            self.name,
            self.task.id,
            long_context="long_context" in self.task.category,
        )
        return list(results)


def check_turns(task: Task, steps: Sequence[Sequence[Sequence[ToolCall]]]) -> Outcome:
    """The turns so far: for each the calls of each step. State and results must be those of the right answer after
    every turn."""
    given = [[[source(call, task) for call in calls] for calls in turn if calls] for turn in steps]
    with World(task) as world:
        result = official().multi_turn.multi_turn_checker(
            given, task.truth[: len(steps)], dict(task.entry), task.category, world.name
        )
    return Outcome(bool(result["valid"]), "" if result["valid"] else str(result["error_type"]))


def source(call: ToolCall, task: Task) -> str:
    """A call as the Python text that the package evaluates. Only functions of the row's APIs and plain arguments get
    there; anything else becomes a call that fails."""
    names = all(name.isidentifier() and not keyword.iskeyword(name) for name in call.arguments)
    if call.name not in method_names(task) or not names or grows(call):
        return REFUSED
    return f"{call.name}({', '.join(f'{name}={value!r}' for name, value in call.arguments.items())})"


def grows(call: ToolCall) -> bool:
    """Whether a computation would take all the time there is."""
    sizes = call.arguments if call.name in GROWING else call.arguments.keys() & {PRECISION}
    numbers = [call.arguments[name] for name in sizes]
    return any(isinstance(number, int | float) and abs(number) > MAX_GROWING for number in numbers)


def method_names(task: Task) -> frozenset[str]:
    """The functions that the row's APIs document, also those that are offered late."""
    late: Mapping[str, Any] = task.entry.get("missed_function", {})
    documents = [*task.entry["function"], *(each for added in late.values() for each in added)]
    return frozenset(str(each["name"]) for each in documents)
