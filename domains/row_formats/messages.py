"""Chat rows of the OpenAI form: `messages`, of which the last is the answer to learn."""

from __future__ import annotations

from typing import Any

from domains.row_formats._turns import COMMON_KEYS, ending_with_answer, kept

KEYS = frozenset({"messages"}) | COMMON_KEYS


def matches(row: dict[str, Any]) -> bool:
    """Messages, and neither a completion nor a preference beside them."""
    return "messages" in row and not {"chosen", "rejected", "completion", "conversations", "instruction"} & row.keys()


def to_trl(row: dict[str, Any]) -> dict[str, Any]:
    """The conversation as prompt and completion."""
    return kept(row) | ending_with_answer(row.get("messages"), "messages")
