"""Alpaca rows: instruction, optional input, output, system and history; chosen and rejected for preferences."""

from __future__ import annotations

from typing import Any

from domains.readers import RowError, shown, text_field
from domains.row_formats._turns import COMMON_KEYS, kept, pair, turn

KEYS = frozenset({"instruction", "input", "output", "system", "history", "chosen", "rejected"}) | COMMON_KEYS


def matches(row: dict[str, Any]) -> bool:
    """An instruction, and neither scored completions nor a conversation."""
    return "instruction" in row and not {"completions", "conversations"} & row.keys()


def to_trl(row: dict[str, Any]) -> dict[str, Any]:
    """The instruction and its input as the last user turn."""
    prompt = [*before(row), turn("user", request(row))]
    if "chosen" in row or "rejected" in row:
        return kept(row) | pair(prompt, row.get("chosen"), row.get("rejected"))
    return kept(row) | {"prompt": prompt, "completion": text_field(row, "output")}


def request(row: dict[str, Any]) -> str:
    """The instruction, and after an empty line its input."""
    given = row.get("input") or ""
    if not isinstance(given, str):
        raise RowError("input", f"must be a text, got {shown(given)}.", "write the input as a string.")
    return "\n\n".join([text_field(row, "instruction"), *([given] if given.strip() else [])])


def before(row: dict[str, Any]) -> list[dict[str, Any]]:
    """The system turn and the history, whose items are [question, answer]."""
    system = row.get("system")
    turns = [turn("system", system)] if system else []
    history = row.get("history") or []
    if not isinstance(history, list) or not all(isinstance(each, list) and len(each) == 2 for each in history):
        raise RowError("history", f"must be a list of pairs, got {shown(history)}.", "write [[question, answer], ...].")
    for question, reply in history:
        turns += [turn("user", question), turn("assistant", reply)]
    return turns
