"""The same facts in two voices: supportive and plain (chosen) against prescriptive and technical (rejected).

Source: the caregiving pairs of arXiv 2512.06097; here both answers must have the same numbers and names, so
that tone is learnt.
"""

from __future__ import annotations

from typing import Any

from domains.example import Message
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
from judges.audits.facts import names, numbers

TARGET = "preferences.jsonl"
USES_MODEL = True
SUPPORTIVE = """
Write one question that a worried person could ask and that the passage answers, in the person's own words. Then answer
it: first one short sentence that shows you understood this person, then what to do, in plain words and short sentences,
about 80 words, with facts of the passage only. No stock phrases of sympathy. Write exactly:
QUESTION: ...
ANSWER: ...
"""
PRESCRIPTIVE = """
Rewrite the answer for the same question so that it is prescriptive and technical: orders instead of options, terms of
the trade, no word about the person. Do not insult. Keep every fact, number and name, add none, and keep the length.
Write the answer only.
"""


def items(material: Material) -> list[Item]:
    """One per section."""
    return passages(material.domain.documents)


def build(item: Item, writers: Writers) -> dict[str, Any]:
    """Two answers with the same numbers and names."""
    found = labelled(asked(writers.strong, SUPPORTIVE, item.passage), "question", "answer")
    chosen = supported(found["answer"], item.passage)
    cold = asked(writers.strong, PRESCRIPTIVE, question=found["question"], answer=chosen)
    if numbers(chosen) != numbers(cold):
        raise Skipped("the two answers have not the same numbers.")
    missing = lost(chosen, cold) or lost(cold, chosen)
    if missing:
        raise Skipped(f"only one of the two answers names '{missing}'.")
    return preference_row([Message("user", found["question"])], chosen, {"persona_contrast": different(chosen, cold)})


def lost(one: str, other: str) -> str:
    """The first word of a name of one text that the other does not have; empty when there is none."""
    words = sorted({word for name in names(one) for word in name.split()})
    return next((word for word in words if word.lower() not in other.lower()), "")
