"""Passages with a summary of two or three sentences."""

from __future__ import annotations

from typing import Any

from domains.example import Message
from experts.builders._parts import Item, Material, Skipped, Writers, asked, example_row, passages, supported

TARGET = "summarization.jsonl"
USES_MODEL = True
SYSTEM = "Summarize the text in two or three plain sentences. Keep the names, dates and amounts that matter."
LONGEST = 0.6


def items(material: Material) -> list[Item]:
    """One per section."""
    return passages(material.domain.documents)


def build(item: Item, writers: Writers) -> dict[str, Any]:
    """The summary is clearly shorter than the passage and has no number of its own."""
    summary = supported(asked(writers.strong, SYSTEM + " Write the summary only.", item.passage), item.passage)
    if len(summary.split()) > LONGEST * len(item.passage.split()):
        raise Skipped("the summary is nearly as long as the passage.")
    return example_row([Message("system", SYSTEM), Message("user", item.passage)], summary)
