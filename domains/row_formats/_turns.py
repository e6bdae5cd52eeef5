"""Turns of a conversation, before they are checked: what the formats share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from domains.readers import RowError, shown

SCORE_KEYS = (
    ("score_chosen", "score_rejected"),
    ("chosen_score", "rejected_score"),
    ("chosen_rating", "rejected_rating"),
    ("chosen-rating", "rejected-rating"),
)


def turn(role: str, content: Any) -> dict[str, Any]:
    """One turn."""
    return {"role": role, "content": content}


def as_turns(value: Any, role: str) -> Any:
    """A text as one turn of `role`; everything else as it is, for the reader to judge."""
    return [turn(role, value)] if isinstance(value, str) else value


def alternatives(value: Any) -> list[Any]:
    """Rejected answers as a list of conversations: one text, one conversation, or a list of either."""
    if not value:
        return []
    if isinstance(value, list) and not isinstance(value[0], dict):
        return [as_turns(item, "assistant") for item in value]
    return [as_turns(value, "assistant")]


def common_start(conversations: Sequence[Any]) -> list[Any]:
    """The turns with which all conversations begin; the last turn of the shortest is never among them."""
    if not all(isinstance(each, list) for each in conversations):
        return []
    room = min(len(each) for each in conversations) - 1
    size = 0
    while size < room and all(each[size] == conversations[0][size] for each in conversations):
        size += 1
    return list(conversations[0][:size])


def after(prompt: Any, turns: Any) -> Any:
    """The turns of a conversation that come after its prompt; all of them when it does not begin with the prompt."""
    is_whole = isinstance(prompt, list) and isinstance(turns, list) and len(turns) > len(prompt)
    return turns[len(prompt) :] if is_whole and turns[: len(prompt)] == prompt else turns


def pair(prompt: Any, chosen: Any, rejected: Any) -> dict[str, Any]:
    """The prompt, chosen and rejected columns from texts or conversations; without a prompt it is what all share."""
    answers = [as_turns(chosen, "assistant"), *alternatives(rejected)]
    start = common_start(answers) if prompt is None else as_turns(prompt, "user")
    if prompt is None and not start:
        raise RowError("prompt", "missing, and the answers share no turn.", 'add "prompt", or whole conversations.')
    return {"prompt": start, "chosen": after(start, answers[0]), "rejected": [after(start, a) for a in answers[1:]]}


def ending_with_answer(turns: Any, name: str) -> dict[str, Any]:
    """A conversation as a prompt and its last turn, which must be the assistant's; earlier answers are noted."""
    if not isinstance(turns, list) or len(turns) < 2:
        raise RowError(name, "needs at least a user and an assistant turn.", "add the missing turn.")
    last = turns[-1]
    if not isinstance(last, dict) or last.get("role") != "assistant":
        role = shown(last.get("role") if isinstance(last, dict) else last)
        raise RowError(name, f"ends with {role}, not with an assistant turn.", "end it with the answer to learn.")
    earlier = any(isinstance(each, dict) and each.get("role") == "assistant" for each in turns[:-1])
    notes = ["earlier assistant turns are context; only the last answer is trained"] if earlier else []
    return {"prompt": turns[:-1], "completion": turns[-1:], "notes": notes}


def kept(row: dict[str, Any]) -> dict[str, Any]:
    """The columns that mean the same in every format."""
    return {key: row[key] for key in ("id", "kind", "rejected_kinds", "scores", "checks") if key in row}


def has_score_pair(row: dict[str, Any]) -> bool:
    """Whether a row gives a score for its chosen and its rejected answer."""
    return any(chosen in row and rejected in row for chosen, rejected in SCORE_KEYS)


def is_transcript(value: Any) -> bool:
    """Whether a text is a dialogue of Human: and Assistant: turns."""
    return isinstance(value, str) and value.lstrip().startswith("Human:")


COMMON_KEYS = frozenset({"id", "kind", "rejected_kinds", "scores", "checks"})
