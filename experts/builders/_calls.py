"""What the builders share about rows of function calls: the right answer is known, so a check takes a judge's place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from domains.domain import Domain
from domains.example import Example, Message
from domains.tool_calls import Function, parse
from experts.builders._parts import Ask, Item, Skipped
from judges.call_match import makes_calls
from judges.replies import bare

CHOSEN = "chosen"


def call_items(domain: Domain) -> list[Item]:
    """One per row of calls, whose split its pairs keep; none in other domains."""
    return [call_item(row) for row in domain.records("calls.jsonl")]


def call_item(row: Example) -> Item:
    """A row with all that a check needs."""
    functions = [{"name": f.name, "parameters": dict(f.parameters)} for f in row.functions]
    prompt = [turn.as_dict() for turn in row.prompt]
    return Item(row.id, data={"prompt": prompt, CHOSEN: row.completion, "functions": functions, "split_of": row.id})


def functions_of(item: Item) -> list[Function]:
    """The functions that the row offers."""
    return [Function(f["name"], "", f["parameters"]) for f in item.data["functions"]]


def prompt_of(item: Item) -> list[Message]:
    """The row's messages."""
    return [Message(turn["role"], turn["content"]) for turn in item.data["prompt"]]


def answered(ask: Ask, prompt: Sequence[Message]) -> str:
    """A model's answer to a row."""
    reply = bare(ask(prompt))
    if not reply:
        raise Skipped("the reply is empty.")
    return reply


def is_right(item: Item, answer: str) -> bool:
    """Whether an answer makes the calls of the row."""
    return makes_calls(answer, item.data[CHOSEN], functions_of(item))


def criticism(item: Item, answer: str) -> str:
    """What is wrong with an answer that is not right, in a sentence that does not tell the right one."""
    known: dict[str, Any] = {function.name: function for function in functions_of(item)}
    wanted, found = parse(item.data[CHOSEN]), parse(answer)
    if wanted is None:
        return "Nothing is to be called here."
    if found is None:
        return "A function is to be called here."
    for call in found:
        if call.name not in known:
            return f"There is no function {call.name}."
        problems = known[call.name].problems(call.arguments)
        if problems:
            return f"{problems[0]}."
    return f"{len(wanted)} calls are needed." if len(wanted) != len(found) else "A function or a value is wrong."
