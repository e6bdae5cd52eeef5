"""A question answered from the passage (chosen) and by a weaker model that has not seen it (rejected).

Source of the idea: the tool-use pairs of arXiv 2511.22138. The weak answer is not checked to be wrong: audit the set.
For rows of function calls it is: the row's own calls are chosen, and what the weaker model calls instead is rejected.
"""

from __future__ import annotations

from typing import Any

from domains.example import Message
from experts.builders._calls import CHOSEN, answered, call_items, is_right, prompt_of
from experts.builders._parts import (
    Item,
    Material,
    Skipped,
    Writers,
    asked,
    different,
    labelled,
    passages,
    preference_row,
    supported,
)
from experts.builders.question_answer import INSTRUCTION

TARGET = "preferences.jsonl"
USES_MODEL = True


def items(material: Material) -> list[Item]:
    """One per section, and per row of calls."""
    return [*passages(material.domain.documents), *call_items(material.domain)]


def build(item: Item, writers: Writers) -> dict[str, Any]:
    """The two answers."""
    if CHOSEN in item.data:
        return call_pair(item, writers)
    found = labelled(asked(writers.strong, INSTRUCTION, item.passage), "question", "answer")
    chosen = supported(found["answer"], item.passage)
    weak = asked(writers.weak, found["question"])
    return preference_row([Message("user", found["question"])], chosen, {"weak_model": different(chosen, weak)})


def call_pair(item: Item, writers: Writers) -> dict[str, Any]:
    """The right calls, and what the weaker model says instead."""
    weak = answered(writers.weak, prompt_of(item))
    if is_right(item, weak):
        raise Skipped("the weaker model makes the right calls.")
    return preference_row(prompt_of(item), item.data[CHOSEN], {"weak_model": weak})
