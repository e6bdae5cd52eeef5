"""Near-duplicates across splits: rows of train and of dev or test whose prompts or chosen answers share half of their
four-word shingles. Warned of from the first, refused from 1% of the rows and at least two."""

from __future__ import annotations

from collections.abc import Mapping

from domains.example import Split, last_user_turn
from domains.near_duplicates import near_duplicates
from judges.audits._pairs import ALL, Finding, Level, Pairs

REFUSED_SHARE = 0.01
NUM_SHOWN = 3


def check(pairs: Pairs) -> list[Finding]:
    """Rows that lie in different splits and say nearly the same."""
    prompts = {row.id: last_user_turn(row.prompt) for row in pairs.rows}
    chosen = {row.id: row.chosen for row in pairs.rows}
    found = sorted(across(prompts, pairs.split) | across(chosen, pairs.split))
    share = len(found) / max(1, len(pairs.rows))
    level: Level = "refuse" if share >= REFUSED_SHARE and len(found) > 1 else "warn" if found else "ok"
    shown = "; ".join(f"{first} and {second}" for first, second in found[:NUM_SHOWN])
    text = f"{len(found)} pairs of rows in different splits are near-duplicates{': ' + shown if shown else ''}."
    return [Finding("leaks", ALL, float(len(found)), len(pairs.rows), level, text)]


def across(texts: Mapping[str, str], split: Mapping[str, Split]) -> set[tuple[str, str]]:
    """Near-duplicate pairs of ids of which exactly one is trained on, or that lie in dev and test."""
    found = near_duplicates({key: text for key, text in texts.items() if text})
    return {(d.first, d.second) for d in found if split.get(d.first) != split.get(d.second)}
