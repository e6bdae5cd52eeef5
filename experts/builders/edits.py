"""A person's correction of a draft (chosen) against the draft (rejected): rows {"prompt", "draft", "edited"}."""

from __future__ import annotations

from typing import Any

from domains.errors import UserError
from domains.readers import RowError, messages, text_field
from experts.builders._parts import Item, Material, Skipped, Writers, preference_row
from judges.samples import key_of

TARGET = "preferences.jsonl"
USES_MODEL = False


def items(material: Material) -> list[Item]:
    """One per correction; one without an id is named by its content, so that its place does not matter."""
    if not material.edits:
        raise UserError('No corrections were given. Add --edits FILE.jsonl with rows {"prompt", "draft", "edited"}.')
    return [Item(str(row.get("id", key_of(row)[:12])), data=row) for row in material.edits]


def build(item: Item, writers: Writers) -> dict[str, Any]:
    """The pair; a correction that changes nothing, or a row that lacks a part, gives none."""
    row = dict(item.data)
    try:
        prompt = messages(row.get("prompt", row.get("question")), "prompt")
        draft, edited = text_field(row, "draft").strip(), text_field(row, "edited").strip()
    except RowError as error:
        raise Skipped(str(error)) from None
    if draft == edited:
        raise Skipped("the correction changes nothing.")
    if prompt[-1].role != "user":
        raise Skipped("the prompt does not end with a user turn.")
    return preference_row(prompt, edited, {"draft": draft})
