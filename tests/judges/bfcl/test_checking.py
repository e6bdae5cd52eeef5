"""Every row of the leaderboard's categories: its right answer is right, and each way to spoil it is wrong."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from typing import Any

import pytest

from domains.tool_calls import ToolCall, call_text, parse
from tests.judges.bfcl.answers import right_calls

pytest.importorskip("bfcl_eval")

from judges.bfcl.checking import REFUSED, World, check, check_turns, source  # noqa: E402
from judges.bfcl.rows import AST, CATEGORIES, IRRELEVANCE, MULTI_TURN, RELEVANCE, read_category  # noqa: E402

UNSOLVABLE = {
    "simple_java_36", "simple_java_65",  # numbers in a list of any type, which the package reads as texts
    "live_simple_106-63-0", "live_simple_112-68-0",  # possible values are lists without a value
    "live_multiple_862-181-3", "live_multiple_964-207-0",  # arguments that the function does not declare, or lacks
}  # fmt: skip
EXTRA = "an_argument_that_nobody_declared"
SIZES = {
    "simple_python": 400, "simple_java": 100, "simple_javascript": 50, "multiple": 200, "parallel": 200,
    "parallel_multiple": 200, "irrelevance": 240, "live_simple": 258, "live_multiple": 1053, "live_parallel": 16,
    "live_parallel_multiple": 24, "live_irrelevance": 884, "live_relevance": 16,
    **dict.fromkeys(MULTI_TURN, 200),
}  # fmt: skip


def test_the_categories_have_the_sizes_that_the_leaderboard_names():
    assert {name: len(read_category(name)) for name in CATEGORIES} == SIZES


def spoiled(calls: list[ToolCall]) -> Mapping[str, list[ToolCall]]:
    """Wrong answers by what was done to the first call."""
    first, *rest = calls
    found = {
        "no call": [],
        "another name": [ToolCall(f"{first.name}_x", first.arguments), *rest],
        "one more argument": [ToolCall(first.name, {**first.arguments, EXTRA: 1}), *rest],
        "one call more": [*calls, first],
        "one call less": rest,
    }
    for name in first.arguments:
        found[f"another {name}"] = [ToolCall(first.name, {**first.arguments, name: "\u2205 wrong"}), *rest]
        found[f"type of {name}"] = [ToolCall(first.name, {**first.arguments, name: {"wrong": [None]}}), *rest]
    return found


@pytest.mark.parametrize("category", AST)
def test_every_row_of_a_category_is_judged_as_it_was_planted(category):
    """Also after the way through our own text format. Required arguments left out are wrong, too."""
    for task in read_category(category):
        calls = right_calls(task)
        assert check(task, parse(call_text(calls))).right is (task.id not in UNSOLVABLE), task.id
        for what, wrong in spoiled(calls).items():
            assert not check(task, wrong).right, (task.id, what)
        declared = {function["name"]: function["parameters"]["required"] for function in task.entry["function"]}
        for name in declared[calls[0].name]:
            left = {key: value for key, value in calls[0].arguments.items() if key != name}
            assert not check(task, [ToolCall(calls[0].name, left), *calls[1:]]).right, (task.id, name)


@pytest.mark.parametrize("category", [name for name in AST if "parallel" in name])
def test_the_order_of_parallel_calls_does_not_count(category):
    """In one row a call fits two of the possible answers, and the package takes the first that fits."""
    wrong = {task.id for task in read_category(category) if not check(task, right_calls(task)[::-1]).right}
    assert wrong == ({"parallel_178"} if category == "parallel" else set())


@pytest.mark.parametrize("category", IRRELEVANCE + RELEVANCE)
def test_rows_that_need_no_call_or_any_call(category):
    for task in read_category(category):
        call = ToolCall(task.turns[0].functions[0].name if task.turns[0].functions else "f", {"anything": 1})
        assert check(task, [call]).right is (category in RELEVANCE)
        assert check(task, None).right is (category in IRRELEVANCE)


@pytest.mark.parametrize("category", MULTI_TURN)
def test_every_conversation_is_judged_as_it_was_planted(category):
    """The right calls, one step a turn, pass; the same without the calls of the last turn that has some do not."""
    for task in read_category(category):
        steps = [[calls_of(turn, task)] if turn else [] for turn in task.truth]
        assert check_turns(task, steps).right, task.id
        last = max(number for number, turn in enumerate(task.truth) if turn)
        assert not check_turns(task, [*steps[:last], [], *steps[last + 1 :]]).right, task.id


def calls_of(turn: list[str], task: Any) -> list[ToolCall]:
    """Calls in Python; arguments by position get their declared names."""
    declared = {f.name: list(f.parameters["properties"]) for f in task.turns[-1].functions}
    found = []
    for text in turn:
        node: Any = ast.parse(text, mode="eval").body
        name = ast.unparse(node.func)
        placed = {key: ast.literal_eval(value) for key, value in zip(declared[name], node.args, strict=False)}
        found.append(ToolCall(name, placed | {k.arg: ast.literal_eval(k.value) for k in node.keywords}))
    return found


def task_of(category: str = "multi_turn_base") -> Any:
    return read_category(category)[0]


@pytest.mark.parametrize(
    "call",
    [
        ToolCall("__import__", {"name": "os"}),
        ToolCall("print", {"x": 1}),
        ToolCall("cd", {"folder='x') or __import__('os').system('true'), y": 1}),
        ToolCall("cd", {"class": 1}),
        ToolCall("cd()", {}),
        ToolCall("kill", {}),
    ],
)
def test_nothing_but_declared_functions_is_run(call):
    assert source(call, task_of()) == REFUSED
    with World(task_of()) as world:
        (result,) = world.run([call])
    assert "Error" in result


def test_text_in_arguments_stays_text():
    text = "'); import os; ('"
    written = source(ToolCall("cd", {"folder": text}), task_of())
    node: Any = ast.parse(written, mode="eval").body
    assert ast.literal_eval(node.keywords[0].value) == text


def test_a_computation_that_would_not_end_is_not_begun():
    task = next(task for task in read_category("multi_turn_base") if "MathAPI" in task.entry["involved_classes"])
    assert source(ToolCall("power", {"base": 2, "exponent": 10**9}), task) == REFUSED
    assert source(ToolCall("power", {"base": 2, "exponent": 3}), task) == "power(base=2, exponent=3)"
    assert source(ToolCall("square_root", {"number": 2, "precision": 10**9}), task) == REFUSED
    assert source(ToolCall("logarithm", {"value": 2, "base": 3, "precision": 1e9}), task) == REFUSED
    assert source(ToolCall("square_root", {"number": 10**9, "precision": 8}), task).startswith("square_root(")


def test_worlds_do_not_know_each_other_and_leave_nothing():
    from judges.bfcl.official import official

    task = task_of()
    before = set(vars(official().execution))
    with World(task) as one, World(task) as other:
        one.run([ToolCall("mkdir", {"dir_name": "mine"})])
        assert "mine" in json.dumps(one.run([ToolCall("ls", {})]))
        assert "mine" not in json.dumps(other.run([ToolCall("ls", {})]))
    assert set(vars(official().execution)) == before


def test_functions_come_late_where_they_are_missing():
    task = read_category("multi_turn_miss_func")[3]
    late = next(number for number, turn in enumerate(task.turns) if len(turn.functions) > len(task.turns[0].functions))
    assert task.entry["question"][late] == []
    assert task.turns[late].messages[0].role == "user"
