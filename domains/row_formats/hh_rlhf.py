"""HH-RLHF rows: chosen and rejected as whole dialogues in one text, with Human: and Assistant: turns.

Source: Bai et al. 2022, arXiv 2204.05862. The prompt is what both dialogues share.
"""

from __future__ import annotations

import re
from typing import Any

from domains.readers import RowError, shown
from domains.row_formats._turns import COMMON_KEYS, is_transcript, kept, pair, turn

KEYS = frozenset({"chosen", "rejected"}) | COMMON_KEYS
MARK = re.compile(r"(?:\A|\n\s*\n)\s*(Human|Assistant):")
ROLES = {"Human": "user", "Assistant": "assistant"}


def matches(row: dict[str, Any]) -> bool:
    """A chosen dialogue."""
    return is_transcript(row.get("chosen")) and "instruction" not in row


def to_trl(row: dict[str, Any]) -> dict[str, Any]:
    """The dialogues as turns; they must differ in their last answer only."""
    chosen, rejected = (dialogue(row.get(name), name) for name in ("chosen", "rejected"))
    if chosen[:-1] != rejected[:-1]:
        raise RowError("rejected", "the dialogues differ before the last answer.", "give both the same earlier turns.")
    return kept(row) | pair(chosen[:-1], chosen[-1:], [rejected[-1:]])


def dialogue(value: Any, name: str) -> list[dict[str, Any]]:
    """A text as turns, at least a question and an answer."""
    if not is_transcript(value):
        raise RowError(name, f"no dialogue, got {shown(value)}.", 'write "\\n\\nHuman: ...\\n\\nAssistant: ...".')
    parts = MARK.split(value)[1:]
    turns = [turn(ROLES[speaker], text.strip()) for speaker, text in zip(parts[::2], parts[1::2], strict=True)]
    if len(turns) < 2 or turns[-1]["role"] != "assistant":
        raise RowError(name, "does not end with an Assistant: turn.", "add the answer.")
    return turns
