"""A question answered from the passage (chosen) and by a weaker model that has not seen it (rejected).

Source of the idea: the tool-use pairs of arXiv 2511.22138. The weak answer is not checked to be wrong: audit the set.
"""

from __future__ import annotations

from typing import Any

from domains.example import Message
from experts.builders._parts import (
    Item,
    Material,
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
    """One per section."""
    return passages(material.domain.documents)


def build(item: Item, writers: Writers) -> dict[str, Any]:
    """The two answers."""
    found = labelled(asked(writers.strong, INSTRUCTION, item.passage), "question", "answer")
    chosen = supported(found["answer"], item.passage)
    weak = asked(writers.weak, found["question"])
    return preference_row([Message("user", found["question"])], chosen, {"weak_model": different(chosen, weak)})
