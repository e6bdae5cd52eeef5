"""Evidence in answers: what a judge points at (phrases, spans, flags in a verdict's parts), marked in the text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

TEXT_KEYS = ("phrase", "text", "match", "matched", "claim", "sentence", "quote")
NAME_KEYS = ("label", "kind", "flag", "rule", "name", "reason", "type")
EVIDENCE_KEYS = frozenset(
    {
        "spans",
        "phrases",
        "evidence",
        "matches",
        "matched",
        "flags",
        "flagged",
        "broken",
        "claims",
        "cues",
        "stock_phrases",
    }
)
MIN_CHARACTERS = 3
PASSAGE_CHARACTERS = 240


@dataclass(frozen=True)
class Mark:
    """A stretch of an answer, by character, with what it is evidence of."""

    start: int
    end: int
    name: str


@dataclass(frozen=True)
class Evidence:
    """Marks in an answer, and flags that point at no words of it."""

    marks: tuple[Mark, ...]
    flags: tuple[str, ...]


def evidence(answer: str, verdicts: Mapping[str, Mapping[str, Any]]) -> Evidence:
    """From the parts of each judge's verdict on an answer: judge -> parts."""
    marks: list[Mark] = []
    flags: list[str] = []
    for judge, parts in verdicts.items():
        for key in parts.keys() & EVIDENCE_KEYS:
            for item in _items(parts[key]):
                about = f"{judge}: stock phrase" if key == "stock_phrases" else judge
                found = _marks(answer, item, about)
                marks += found
                flags += _against(item, judge)
                if not found and (flag := _flag(item)) and key in ("flags", "flagged", "broken"):
                    flags.append(f"{judge}: {flag}")
    return Evidence(tuple(marks), tuple(dict.fromkeys(flags)))


def marked(answer: str, marks: Sequence[Mark]) -> Markup:
    """The answer, escaped, with <mark> around each stretch; of overlapping ones the first."""
    parts, done = [], 0
    for mark in sorted(marks, key=lambda m: (m.start, -m.end)):
        if mark.start < done:
            continue
        parts.append(escape(answer[done : mark.start]))
        parts.append(Markup('<mark title="{}">{}</mark>').format(mark.name, answer[mark.start : mark.end]))
        done = mark.end
    return Markup("").join([*parts, escape(answer[done:])])


def _items(value: Any) -> Iterable[Any]:
    """The entries of a list; of a mapping the phrases under its names, or its keys with their values as names where
    these are no lists; a plain value itself."""
    if isinstance(value, Mapping):
        return [item for key, inner in value.items() for item in _named(str(key), inner)]
    return value if isinstance(value, list | tuple) else [value]


def _named(key: str, inner: Any) -> list[dict[str, str]]:
    if isinstance(inner, list | tuple):
        return [{"phrase": phrase, "name": key.replace("_", " ")} for phrase in inner if isinstance(phrase, str)]
    return [{"phrase": key, "name": f"{key}: {inner}"}]


def _against(item: Any, judge: str) -> list[str]:
    """A claim that its passage speaks against, as a flag: the filter of the answers finds it by this."""
    if not isinstance(item, Mapping) or not (item.get("verdict") == "contradicted" or item.get("flags")):
        return []
    return [f"{judge}: {item.get('claim', '')} – {_finding(item)}"]


def _finding(item: Mapping[str, Any]) -> str:
    """The verdict on a claim, what was flagged in it, and the passage that it was held against."""
    found = [str(item.get("verdict") or "flagged")]
    for flag in item.get("flags") or ():
        if isinstance(flag, Mapping):
            other = f"“{flag['passage']}”" if flag.get("passage") else "nothing"
            found.append(f"{flag.get('kind')}: “{flag.get('claim')}” against {other}")
    passage = " ".join(str(item.get("passage") or "").split())
    cut = passage if len(passage) <= PASSAGE_CHARACTERS else f"{passage[:PASSAGE_CHARACTERS].rstrip()} …"
    return "; ".join(found) + (f" – {item.get('document_id', '')}: {cut}" if passage else "")


def _marks(answer: str, item: Any, judge: str) -> list[Mark]:
    """Where an entry is in the answer: by its offsets, else wherever its words stand."""
    if isinstance(item, list | tuple) and len(item) >= 2 and all(isinstance(end, int) for end in item[:2]):
        return _span(answer, item[0], item[1], str(item[2]) if len(item) > 2 else judge)
    if isinstance(item, Mapping):
        name = next((f"{judge}: {item[key]}" for key in NAME_KEYS if isinstance(item.get(key), str)), judge)
        if isinstance(item.get("verdict"), str):
            name = f"{judge}: {_finding(item)}"
        if isinstance(item.get("start"), int) and isinstance(item.get("end"), int):
            return _span(answer, item["start"], item["end"], name)
        text = next((item[key] for key in TEXT_KEYS if isinstance(item.get(key), str)), "")
        return _phrase(answer, text, name)
    return _phrase(answer, item, judge) if isinstance(item, str) else []


def _span(answer: str, start: int, end: int, name: str) -> list[Mark]:
    return [Mark(start, end, name)] if 0 <= start < end <= len(answer) else []


def _phrase(answer: str, phrase: str, name: str) -> list[Mark]:
    """Every place of a phrase as whole words, in any case."""
    if len(phrase.strip()) < MIN_CHARACTERS:
        return []
    words = r"\s+".join(map(re.escape, phrase.split()))
    pattern = rf"(?<!\w){words}(?!\w)"
    return [Mark(found.start(), found.end(), name) for found in re.finditer(pattern, answer, re.IGNORECASE)]


def _flag(item: Any) -> str:
    if isinstance(item, Mapping):
        return next((str(item[key]) for key in (*NAME_KEYS, *TEXT_KEYS) if isinstance(item.get(key), str)), "")
    return item if isinstance(item, str) else ""
