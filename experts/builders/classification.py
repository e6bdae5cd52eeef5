"""Messages about a passage's subject, with the label of the domain that fits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from domains.errors import UserError
from domains.example import Message
from experts.builders._parts import Item, Material, Skipped, Writers, asked, example_row, labelled, passages

TARGET = "classification.jsonl"
USES_MODEL = True
INSTRUCTION = """
Choose the one of these labels that fits the passage best: {labels}. Then write a short message, two or three sentences,
in which a person with a problem of that kind asks for help. The message does not contain the label. Write exactly:
LABEL: ...
MESSAGE: ...
"""
SYSTEM = "Classify the message. Answer with one label only: {labels}."


def items(material: Material) -> list[Item]:
    """One per section."""
    labels = list(material.domain.labels)
    if len(labels) < 2:
        raise UserError(f'{material.domain.name} has no labels. Add labels = ["...", "..."] to its domain.toml.')
    sections = passages(material.domain.documents)
    return [replace(item, data={**item.data, "labels": labels}) for item in sections]


def build(item: Item, writers: Writers) -> dict[str, Any]:
    """A message with its label; a label that is not in the list gives no row."""
    labels = ", ".join(item.data["labels"])
    found = labelled(asked(writers.strong, INSTRUCTION.format(labels=labels), item.passage), "label", "message")
    label = next((each for each in item.data["labels"] if each.lower() == found["label"].strip(" .*'\"").lower()), None)
    if label is None:
        raise Skipped(f"'{found['label'][:40]}' is not one of the labels.")
    return example_row([Message("system", SYSTEM.format(labels=labels)), Message("user", found["message"])], label)
