"""What a judging model said, read strictly: the whole reply is one verdict, or there is none.

A verdict that only repeats one planted in the judged text is not taken.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp
from typing import Any

from judges.verdict import Verdict

THOUGHT = re.compile(r"\A\s*<think>.*?</think>\s*", re.DOTALL)
CODE_FENCE = re.compile(r"\A```(?:json)?\s*\n(.*)\n\s*```\Z", re.DOTALL)
QUOTE_SIGNS = "\"'\u2018\u2019\u201c\u201d`"
PLANTED = re.compile(rf"[{QUOTE_SIGNS}](?:score|winner)[{QUOTE_SIGNS}]?\s*[:=]", re.IGNORECASE)


@dataclass(frozen=True)
class Scale:
    """What a verdict may be: labels with their values, under a JSON key. A `numeric` scale takes values in between."""

    key: str
    values: Mapping[str, float]
    numeric: bool = False

    @property
    def letters(self) -> tuple[str, ...]:
        """The labels that one token can be."""
        return tuple(label for label in self.values if len(label) == 1)

    def schema(self, with_reason: bool = True) -> dict[str, Any]:
        """The verdict as a JSON schema: the reason comes first, so that the verdict can follow from it."""
        labels: list[Any] = [int(label) if self.numeric else label for label in self.values]
        verdict = {self.key: {"type": "integer" if self.numeric else "string", "enum": labels}}
        fields = {"reason": {"type": "string"}, **verdict} if with_reason else verdict
        return {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}

    def form(self, with_reason: bool = True) -> str:
        """How the verdict is asked for in words."""
        labels = [label if self.numeric else f'"{label}"' for label in self.values]
        reason = '"reason": "<one sentence>", ' if with_reason else ""
        verdict = f'"{self.key}": <{", ".join(labels[:-1])} or {labels[-1]}>'
        return f"Reply with one JSON object and nothing else: {{{reason}{verdict}}}."

    @property
    def letter_form(self) -> str:
        """How a verdict of one token is asked for."""
        kind = "digit" if self.numeric else "letter"
        return f"Reply with one {kind}, {', '.join(self.letters[:-1])} or {self.letters[-1]}, and nothing else."

    def value(self, given: Any) -> float | None:
        """The value of what stands under the key; None when it is none of the scale."""
        if isinstance(given, bool):
            return None
        if isinstance(given, str):
            label = given.strip()
            if label in self.values:
                return self.values[label]
            given = float(label) if self.numeric and re.fullmatch(r"\d+(?:\.\d+)?", label) else None
        if not self.numeric or not isinstance(given, int | float):
            return None
        inside = min(self.values.values()) <= given <= max(self.values.values())
        return float(given) if inside else None


@dataclass(frozen=True)
class Reading:
    """A verdict that could be read."""

    value: float
    reason: str


def read_verdict(text: str, scale: Scale) -> Reading | None:
    """The verdict that a reply is, after its thoughts and without a code fence around it; None when it is not one."""
    found = only_object(bare(text))
    if found is None or not {scale.key} <= found.keys() <= {scale.key, "reason"}:
        return None
    reason = found.get("reason", "")
    value = scale.value(found[scale.key])
    return Reading(value, reason.strip()) if value is not None and isinstance(reason, str) else None


def bare(text: str) -> str:
    """The reply without a leading block of thoughts and without a code fence around the rest."""
    rest = THOUGHT.sub("", text).strip()
    inside = CODE_FENCE.match(rest)
    return inside.group(1).strip() if inside else rest


def only_object(text: str) -> dict[str, Any] | None:
    """The JSON object that a text is as a whole; None for anything else, also when a name occurs twice in it."""
    try:
        pairs = json.loads(text, object_pairs_hook=list)
    except (ValueError, RecursionError):
        return None
    if not text.startswith("{") or not isinstance(pairs, list):
        return None
    found = dict(pairs)
    return found if len(found) == len(pairs) else None


def repeats_planted(reading: Reading, scale: Scale, texts: Sequence[str]) -> bool:
    """Whether a judged text holds something like a verdict, and this one has its reason (or no reason of its own)."""
    opening = f"[{QUOTE_SIGNS}]" + ("?" if reading.reason else "")
    planted = re.compile(rf"{opening}{scale.key}[{QUOTE_SIGNS}]?\s*[:=]", re.IGNORECASE)
    reason = plain(reading.reason)
    return any(planted.search(text) and reason in plain(text) for text in texts)


def holds_verdict(text: str) -> bool:
    """Whether a text holds a verdict of either form as it stands in JSON."""
    return PLANTED.search(text) is not None


def plain(text: str) -> str:
    """A text for comparison: one case, single spaces, no punctuation at its ends."""
    return " ".join(text.casefold().split()).strip(".!" + QUOTE_SIGNS)


def masses(top: Mapping[str, float], labels: Sequence[str]) -> dict[str, float]:
    """The probability of each label among a token's candidates (log-probabilities in nats)."""
    found = dict.fromkeys(labels, 0.0)
    for token, logprob in top.items():
        label = token.strip(" \u2581\u0120\n")
        if label in found:
            found[label] += exp(logprob)
    return found


def expectation(top: Mapping[str, float], scale: Scale, min_mass: float) -> Verdict:
    """The mean value over the labels of the scale, or unscored when the model hardly considered one of them."""
    found = masses(top, scale.letters)
    total = sum(found.values())
    parts: dict[str, Any] = {"path": "logprobs", "label_mass": round(total, 4)}
    names = f"{next(iter(found))}-{list(found)[-1]}" if scale.numeric else ", ".join(found)
    if total <= 0 or total < min_mass:
        return Verdict(None, f"Unscored: the labels {names} have only {total:.1%} of the probability.", parts)
    shares = {label: mass / total for label, mass in found.items()}
    value = sum(scale.values[label] * share for label, share in shares.items())
    parts["probabilities"] = {label: round(share, 4) for label, share in shares.items()}
    return Verdict(
        round(value, 4), f"Expected {scale.key} {value:.2f} over the judge's probabilities of {names}.", parts
    )
