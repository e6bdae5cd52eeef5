"""TRL prompt/completion rows, as texts or as messages."""

from __future__ import annotations

from typing import Any

from domains.readers import RowError
from domains.row_formats._turns import COMMON_KEYS, kept

KEYS = frozenset({"prompt", "completion"}) | COMMON_KEYS


def matches(row: dict[str, Any]) -> bool:
    """A completion, and no preference."""
    return "completion" in row and not {"chosen", "rejected", "instruction", "conversations"} & row.keys()


def to_trl(row: dict[str, Any]) -> dict[str, Any]:
    """The row; one with a true/false label (unpaired preference) is refused, because half of those are bad answers."""
    if isinstance(row.get("label"), bool):
        raise RowError("label", "an unpaired preference (KTO) row.", "give prompt, chosen and rejected instead.")
    return kept(row) | {"prompt": row.get("prompt"), "completion": row.get("completion")}
