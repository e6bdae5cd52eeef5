"""TRL preference rows: prompt, chosen and rejected as texts or as messages; without a prompt, whole conversations.

`rejected` may be a list of answers. Source: TRL's documentation of data set formats ("preference", explicit and
implicit prompt).
"""

from __future__ import annotations

from typing import Any

from domains.row_formats._turns import COMMON_KEYS, has_score_pair, is_transcript, kept, pair

KEYS = frozenset({"prompt", "chosen", "rejected"}) | COMMON_KEYS
OTHERS = ("instruction", "conversations", "completions")


def matches(row: dict[str, Any]) -> bool:
    """A chosen or a rejected answer, and nothing that marks another format."""
    mine = "chosen" in row or "rejected" in row
    others = any(key in row for key in OTHERS) or is_transcript(row.get("chosen")) or has_score_pair(row)
    return mine and not others


def to_trl(row: dict[str, Any]) -> dict[str, Any]:
    """The row with its prompt taken off the answers."""
    return kept(row) | pair(row.get("prompt"), row.get("chosen"), row.get("rejected"))
