"""Recall and precision on a planted set: `{{type|text}}` is personal data, `[[text]]` only looks like it and must stay.

The rows of split `dev` were used to write the rules; those of split `test` were not, and are what is reported. A
mention is found when no word of it stays but a title; a replacement is right when it touches a mention.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from domains.pii.detect import Span, find

PLANTED = Path(__file__).with_name("planted.jsonl")
MARK = re.compile(r"\{\{(?P<type>\w+)\|(?P<personal>[^}]+)\}\}|\[\[(?P<public>[^\]]+)\]\]")

WORD = re.compile(r"\w+")
TITLES = frozenset(
    ["Mr", "Mrs", "Ms", "Dr", "Nurse", "Judge", "Father", "Sister", "Grandma", "Jr", "Sr", "III", "and", "Estate", "of"]
)


@dataclass(frozen=True)
class Passage:
    """A text with the places of its personal data and of what only looks like it."""

    text: str
    personal: tuple[Span, ...]
    public: tuple[Span, ...]


@dataclass
class Measured:
    """Counts over passages, and what went wrong."""

    passages: int = 0
    mentions: int = 0
    found: int = 0
    replacements: int = 0
    right: int = 0
    look_alikes: int = 0
    kept: int = 0
    by_type: dict[str, list[int]] = field(default_factory=dict)
    missed: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)

    def as_dict(self) -> dict[str, Any]:
        """For the report."""
        return {
            "passages": self.passages,
            "mentions": self.mentions,
            "recall": round(self.found / max(self.mentions, 1), 4),
            "precision": round(self.right / max(self.replacements, 1), 4),
            "look_alikes": self.look_alikes,
            "look_alikes_kept": round(self.kept / max(self.look_alikes, 1), 4),
            "recall_by_type": {kind: f"{found}/{all_}" for kind, (found, all_) in sorted(self.by_type.items())},
        }


def parsed(marked: str) -> Passage:
    """A marked text as a passage."""
    text, end = "", 0
    personal: list[Span] = []
    public: list[Span] = []
    for match in MARK.finditer(marked):
        text += marked[end : match.start()]
        inner = match["personal"] or match["public"]
        span = Span(len(text), len(text) + len(inner), match["type"] or "public")
        (personal if match["type"] else public).append(span)
        text, end = text + inner, match.end()
    return Passage(text + marked[end:], tuple(personal), tuple(public))


@cache
def passages(split: str) -> tuple[Passage, ...]:
    """The planted passages of a split."""
    rows = map(json.loads, PLANTED.read_text(encoding="utf-8").splitlines())
    return tuple(parsed(row["text"]) for row in rows if row["split"] == split)


def measure(given: Iterable[Passage] | None = None) -> Measured:
    """Find personal data in passages (the test split) and compare."""
    result = Measured()
    for passage in passages("test") if given is None else given:
        first: dict[str, str] = {}
        find(passage.text, first)
        compare(passage, find(passage.text, first), result)
    return result


def compare(passage: Passage, spans: list[Span], result: Measured) -> None:
    """Add one passage to the counts."""
    covered = {place for span in spans for place in range(span.start, span.end)}
    result.passages += 1
    result.replacements += len(spans)
    for span in passage.personal:
        text = passage.text[span.start : span.end]
        words = (word for word in WORD.finditer(text) if word.group() not in TITLES)
        is_found = all(span.start + n in covered for word in words for n in range(*word.span()))
        counts = result.by_type.setdefault(span.type, [0, 0])
        counts[0] += is_found
        counts[1] += 1
        result.mentions += 1
        result.found += is_found
        if not is_found:
            result.missed[f"{span.type}: {text}"] += 1
    personal = {place for span in passage.personal for place in range(span.start, span.end)}
    for span in spans:
        is_right = any(place in personal for place in range(span.start, span.end))
        result.right += is_right
        if not is_right:
            result.wrong[f"{span.type}: {passage.text[span.start : span.end]}"] += 1
    for span in passage.public:
        result.look_alikes += 1
        result.kept += covered.isdisjoint(range(span.start, span.end))
