"""Finds and replaces personal data in a text: the rules in their order of trust, then names; no place is used twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from domains.pii.names import known_names, learn_names
from domains.pii.patterns import RULES, traits
from domains.pii.surrogates import surrogate

MAX_CHARACTERS = 20_000


@dataclass(frozen=True)
class Span:
    """Personal data of a type at a place of a text."""

    start: int
    end: int
    type: str


def find(
    text: str,
    known: dict[str, str] | None = None,
    keep: Sequence[str] = (),
    full_names: Sequence[tuple[int, int]] | None = None,
) -> list[Span]:
    """All personal data in a text, in order. `known`: words of names seen so far (added to); `keep`: texts that stay;
    `full_names`: what `learn_names` gave for the text, when it was asked already."""
    taken = [False] * len(text)
    for kept in keep:
        start = text.find(kept)
        while kept and start >= 0:
            taken[start : start + len(kept)] = [True] * len(kept)
            start = text.find(kept, start + len(kept))
    spans: list[Span] = []
    has = traits(text)
    for rule in RULES:
        for match in rule.pattern.finditer(text) if rule.needs in has else ():
            if rule.check(match):
                add(Span(*match.span("value"), rule.type), taken, spans)
    known = {} if known is None else known
    names = [*(learn_names(text, known) if full_names is None else full_names), *known_names(text, known)]
    for start, end in sorted(names, key=lambda s: (s[0] - s[1], s[0])):
        add(Span(start, end, "name"), taken, spans)
    return sorted(spans, key=lambda span: span.start)


def add(span: Span, taken: list[bool], spans: list[Span]) -> None:
    """Take a place unless a part of it is taken."""
    if span.end > span.start and not any(taken[span.start : span.end]):
        taken[span.start : span.end] = [True] * (span.end - span.start)
        spans.append(span)


def replaced(text: str, spans: Sequence[Span], salt: str) -> str:
    """The text with a surrogate in every place."""
    out, end = [], 0
    for span in spans:
        out += [text[end : span.start], surrogate(span.type, text[span.start : span.end], salt)]
        end = span.end
    return "".join([*out, text[end:]])


def redacted(text: str, salt: str, keep: Sequence[str] = (), known: dict[str, str] | None = None) -> str:
    """A text without personal data; for samples in the report."""
    text = text[:MAX_CHARACTERS]
    return replaced(text, find(text, dict(known or {}), keep), salt)
