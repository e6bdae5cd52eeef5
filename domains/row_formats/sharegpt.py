"""ShareGPT rows: `conversations` of {from, value}, an optional `system`, and chosen and rejected for preferences."""

from __future__ import annotations

from typing import Any

from domains.readers import RowError, shown
from domains.row_formats._turns import COMMON_KEYS, alternatives, ending_with_answer, kept, pair, turn

KEYS = frozenset({"conversations", "system", "chosen", "rejected"}) | COMMON_KEYS
ROLES = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "assistant": "assistant",
    "model": "assistant",
}


def matches(row: dict[str, Any]) -> bool:
    """Conversations."""
    return "conversations" in row


def to_trl(row: dict[str, Any]) -> dict[str, Any]:
    """The conversation as prompt and completion, or as prompt, chosen and rejected."""
    turns = translated(row.get("conversations"), "conversations")
    if isinstance(row.get("system"), str) and row["system"].strip():
        turns = [turn("system", row["system"]), *turns]
    if "chosen" not in row and "rejected" not in row:
        return kept(row) | ending_with_answer(turns, "conversations")
    chosen = answer(row.get("chosen"), "chosen")
    rejected = [answer(each, "rejected") for each in alternatives(row.get("rejected"))]
    return kept(row) | pair(turns, chosen, rejected)


def answer(value: Any, name: str) -> Any:
    """One answer: a text, a turn, or a list with one turn."""
    if isinstance(value, str) or value is None:
        return value
    return translated(value if isinstance(value, list) else [value], name)


def translated(value: Any, name: str) -> list[dict[str, Any]]:
    """Turns with role and content."""
    if not isinstance(value, list):
        raise RowError(name, f"must be a list of turns, got {shown(value)}.", 'write [{"from": ..., "value": ...}].')
    return [translated_turn(each, f"{name}[{place}]") for place, each in enumerate(value)]


def translated_turn(value: Any, name: str) -> dict[str, Any]:
    """One turn; {role, content} is taken too."""
    if not isinstance(value, dict):
        raise RowError(name, f"must be an object, got {shown(value)}.", 'write {"from": ..., "value": ...}.')
    speaker = value.get("from", value.get("role"))
    role = ROLES.get(speaker) if isinstance(speaker, str) else None
    if role is None:
        raise RowError(f"{name}.from", f"unknown speaker {shown(speaker)}.", f"use one of {', '.join(sorted(ROLES))}.")
    return turn(role, value.get("value", value.get("content")))
