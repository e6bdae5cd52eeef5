"""Questions that a passage answers, with an answer from the passage alone: reference answers, held out as their
sections are."""

from __future__ import annotations

from typing import Any

from domains.example import Message
from experts.builders._parts import Item, Material, Writers, asked, example_row, labelled, passages, supported

TARGET = "questions.jsonl"
USES_MODEL = True
INSTRUCTION = """
Write one question that a person in need of help could ask, and that the passage answers. The question is in the
person's own words and does not mention the passage. Then answer it in three to five plain sentences, with facts of the
passage only. Write exactly:
QUESTION: ...
ANSWER: ...
"""


def items(material: Material) -> list[Item]:
    """One per section of the dev and test splits, which no training row is made from."""
    domain = material.domain
    return passages([*domain.sections("dev"), *domain.sections("test")])


def build(item: Item, writers: Writers) -> dict[str, Any]:
    """A question and its answer, whose numbers are those of the passage."""
    found = labelled(asked(writers.strong, INSTRUCTION, item.passage), "question", "answer")
    return example_row([Message("user", found["question"])], supported(found["answer"], item.passage))
