"""Recommendation: of N titles in the prompt, which one? S-DPO's task (Chen et al. 2024, arXiv 2406.09215).

Constrained: every title is scored and the likeliest is taken, so every answer is valid. Free: the model writes; an
answer is valid when it names exactly one of the titles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from domains.example import Example, Preference
from experts.generate import generate
from experts.preferences import candidate_logprobs, encode_preference
from judges.classification import label_in

ROW_TOKENS, TITLE_TOKENS = 1024, 24


@dataclass(frozen=True)
class Recommended:
    """What a model recommended for one row; `free` is None when the answer names no title or several."""

    id: str
    right: str
    constrained: str
    free: str | None


def recommend(model: Any, tokenizer: Any, rows: Sequence[Preference], batch_size: int = 16) -> list[Recommended]:
    """The constrained and the free choice for each row."""
    encoded = [encode_preference(tokenizer, row) for row in rows]
    scored = candidate_logprobs(model, encoded, ROW_TOKENS, tokenizer.pad_token_id)
    answers = generate(model, tokenizer, [row.prompt for row in rows], TITLE_TOKENS, batch_size)
    return [
        Recommended(row.id, row.chosen, row.candidates[int(s.policy_BC[0].argmax())], label_in(a.text, row.candidates))
        for row, s, a in zip(rows, scored, answers, strict=True)
    ]


def hit_ratio(found: Sequence[Recommended], constrained: bool = True) -> float:
    """HitRatio@1: the share of all rows with the right title; an answer that is not valid is wrong."""
    return sum((r.constrained if constrained else r.free) == r.right for r in found) / len(found)


def valid_ratio(found: Sequence[Recommended]) -> float:
    """The share of free answers that name exactly one candidate."""
    return sum(r.free is not None for r in found) / len(found)


def as_examples(rows: Sequence[Preference]) -> list[Example]:
    """The rows as SFT examples: the prompt and the right title."""
    return [Example(row.id, "classification", row.prompt, row.chosen) for row in rows]
