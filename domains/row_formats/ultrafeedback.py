"""UltraFeedback-style rows with scores: several scored completions, or chosen and rejected with a score each.

Of scored completions the best is chosen and those with a lower score are rejected, best first; those that tie with the
best are left out and noted. A completion's score is its fine-grained one, then the overall one, then the mean of its
ratings. Source: Cui et al. 2023, arXiv 2310.01377.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from statistics import fmean
from typing import Any

from domains.readers import RowError, shown
from domains.row_formats._turns import COMMON_KEYS, SCORE_KEYS, has_score_pair, kept, pair

PAIR_KEYS = frozenset(key for keys in SCORE_KEYS for key in keys)
KEYS = (
    frozenset({"instruction", "prompt", "completions", "ratings", "chosen", "rejected", "messages"})
    | PAIR_KEYS
    | COMMON_KEYS
)
TEXT_KEYS = ("response", "text", "content", "completion")
NUMBER_KEYS = ("fine-grained_score", "fine_grained_score", "overall_score", "score", "rating")


@dataclass(frozen=True)
class Scored:
    """A completion and its score."""

    text: Any
    score: float


def matches(row: dict[str, Any]) -> bool:
    """Completions with an instruction or a prompt, or a pair with two scores."""
    if "conversations" in row:
        return False
    several = "completions" in row and ("instruction" in row or "prompt" in row)
    return several or (has_score_pair(row) and "instruction" not in row)


def to_trl(row: dict[str, Any]) -> dict[str, Any]:
    """The row with `scores`, chosen first."""
    return from_completions(row) if "completions" in row else from_pair(row)


def from_pair(row: dict[str, Any]) -> dict[str, Any]:
    """A pair with two scores, of which the chosen one's must not be lower."""
    chosen_key, rejected_key = next(keys for keys in SCORE_KEYS if keys[0] in row and keys[1] in row)
    chosen, rejected = number(row[chosen_key], chosen_key), number(row[rejected_key], rejected_key)
    if chosen < rejected:
        raise RowError(rejected_key, f"{rejected:g} is above {chosen_key}, {chosen:g}.", "swap the two answers.")
    found = pair(row.get("prompt"), row.get("chosen"), row.get("rejected"))
    notes = ["the chosen and the rejected answer have the same score"] if chosen == rejected else []
    return kept(row) | found | {"scores": [chosen, rejected], "notes": notes}


def from_completions(row: dict[str, Any]) -> dict[str, Any]:
    """The best completion as chosen, all that are worse as rejected."""
    found = sorted(scored_completions(row), key=lambda each: -each.score)
    if len(found) < 2 or found[0].score == found[-1].score:
        raise RowError("completions", "no two have different scores.", "leave this row out, or score it again.")
    worse = [each for each in found if each.score < found[0].score]
    ties = len(found) - len(worse) - 1
    notes = ["completions that tie with the best are left out"] if ties else []
    prompt = row.get("prompt", row.get("instruction"))
    scores = [found[0].score, *(each.score for each in worse)]
    columns = pair(prompt, found[0].text, [each.text for each in worse])
    return kept(row) | columns | {"scores": scores, "notes": notes}


def scored_completions(row: dict[str, Any]) -> list[Scored]:
    """Completions as objects with their own score, or as texts beside a list of scores or ratings."""
    values = row["completions"]
    if not isinstance(values, list):
        raise RowError("completions", f"must be a list, got {shown(values)}.", "write the completions as a list.")
    numbers = row.get("scores", row.get("ratings"))
    if values and not isinstance(values[0], dict):
        if not isinstance(numbers, list) or len(numbers) != len(values):
            raise RowError("scores", f"must be {len(values)} numbers.", "one score per completion.")
        return [Scored(v, number(n, f"scores[{i}]")) for i, (v, n) in enumerate(zip(values, numbers, strict=True))]
    return [scored(value, f"completions[{place}]") for place, value in enumerate(values)]


def scored(value: Any, name: str) -> Scored:
    """One completion with its score."""
    if not isinstance(value, dict):
        raise RowError(name, f"must be an object, got {shown(value)}.", 'write {"response": ..., "score": ...}.')
    text = next((value[key] for key in TEXT_KEYS if key in value), None)
    if not isinstance(text, str) or not text.strip():
        raise RowError(f"{name}.response", "empty.", "write the text of the completion.")
    given = next((value[key] for key in NUMBER_KEYS if value.get(key) is not None), None)
    return Scored(text, number(given, f"{name}.score") if given is not None else mean_rating(value, name))


def mean_rating(value: dict[str, Any], name: str) -> float:
    """The mean of the ratings of all aspects that have one."""
    aspects = value.get("annotations")
    each = aspects.values() if isinstance(aspects, dict) else ()
    ratings = [aspect["Rating"] for aspect in each if isinstance(aspect, dict) and "Rating" in aspect]
    if not ratings:
        raise RowError(f"{name}.score", "missing.", "give the completion a score.")
    return fmean(number(rating, f"{name}.annotations") for rating in ratings)


def number(value: Any, name: str) -> float:
    """A finite number, also one written as text."""
    try:
        found = float(value) if not isinstance(value, bool) else None
    except (TypeError, ValueError):
        found = None
    if found is None or not isfinite(found):
        raise RowError(name, f"must be a number, got {shown(value)}.", "give a number.")
    return found
