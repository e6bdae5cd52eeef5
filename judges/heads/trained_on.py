"""What the heads were trained on: a probe that says the same is no evidence that a head can be believed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from domains.near_duplicates import has_near_duplicate
from domains.probes import Probe
from domains.readers import rows
from domains.splits import split_of

FOLDER = Path(__file__).parent
MIN_WORDS = 5
TEXTS = {"empathy": ("empathy.jsonl", ("post", "reply")), "politeness": ("politeness.jsonl", ("text",))}


def seen(judge: str, probes: Sequence[Probe]) -> list[bool]:
    """For each probe whether its question or an answer is, nearly word for word, a text that the judge's head was
    trained on. A few words ("What now?") are nobody's."""
    texts = [text for probe in probes for text in (probe.question, probe.better, probe.worse)]
    near = has_near_duplicate(texts, trained_texts(judge))
    known = [found and len(text.split()) >= MIN_WORDS for found, text in zip(near, texts, strict=True)]
    return [any(known[3 * place : 3 * place + 3]) for place in range(len(probes))]


@lru_cache(maxsize=8)
def trained_texts(judge: str) -> tuple[str, ...]:
    """The texts of the rows that decided about weights and settings, which are all but the test rows; none for a judge
    without a head."""
    if judge not in TEXTS:
        return ()
    name, fields = TEXTS[judge]
    given = [json.loads(line) for _, line in rows(FOLDER / name)]
    kept = [row for row in given if split_of(row["id"].partition("-")[0]) != "test"]
    return tuple(dict.fromkeys(row[field] for row in kept for field in fields))
