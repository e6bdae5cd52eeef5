"""Empathy on the three axes of EPITOME (Sharma et al. 2020, arXiv 2009.08441), by small trained heads.

Emotional reaction: warmth or concern. Interpretation: showing that the person's feeling or experience is understood,
sharing a like experience included. Exploration: asking about it. Each is 0 (none), 1 (weak, generic) or 2 (strong,
specific). Inputs: cues that can be read (`judges/heads/cues.toml`) and the answer's sentence embedding. The heads are
fitted by `python -m judges.heads.fit` on replies written for this project; see `judges/heads/README.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from domains.domain import Domain
from judges.heads.cues import NAMES, Reading, read
from judges.heads.head import FOLDER, Head, load_heads, matrix
from judges.heads.vectors import mean_vectors
from judges.verdict import Answered, Verdict

WEIGHTS = FOLDER / "empathy.safetensors"
AXES = ("emotional_reaction", "interpretation", "exploration")
TOP = 6


@dataclass(frozen=True)
class Judge:
    """The sum of the expected levels of the three axes over 6, from 0 to 1; an answer without words is 0.0.

    Parts: the level of each axis, and by axis the expected level, the probabilities of the levels and the phrases
    found; `stock_phrases` are those that fit any question. Raises UserError where the encoder is not installed.
    """

    @classmethod
    def for_domain(cls, domain: Domain | None) -> Judge:
        """The same for every domain."""
        return cls()

    def __call__(self, rows: Sequence[Answered]) -> list[Verdict]:
        """One verdict per row; equal pairs of question and answer are judged once, all in one batch."""
        pairs = list(dict.fromkeys((row.question, row.answer) for row in rows if row.answer.strip()))
        found = dict(zip(pairs, judged(pairs), strict=True)) if pairs else {}
        return [found.get((row.question, row.answer)) or nothing_said() for row in rows]


def empathy(question: str, answer: str) -> Verdict:
    """The verdict on one answer."""
    return Judge()([Answered(question, answer)])[0]


def judged(pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
    """The verdicts on pairs of a question and an answer that is not empty."""
    readings = [read(question, answer) for question, answer in pairs]
    measures = matrix([reading.measures for reading in readings], NAMES)
    vectors = mean_vectors([reading.said for reading in readings])
    heads = load_heads(WEIGHTS)
    axes = {name: axis_parts(heads[name], measures, vectors) for name in AXES}
    return [verdict(reading, {name: axes[name][i] for name in AXES}) for i, reading in enumerate(readings)]


def axis_parts(head: Head, measures: torch.Tensor, vectors: torch.Tensor) -> list[dict[str, Any]]:
    """Level, expected level and probabilities of one axis for each row."""
    found = head.probabilities(measures, vectors)
    expected = found @ torch.arange(found.shape[1], dtype=found.dtype)
    return [
        {"level": level, "expected": round(float(mean), 4), "probabilities": [round(float(p), 4) for p in row]}
        for level, mean, row in zip(head.levels(found), expected, found, strict=True)
    ]


def verdict(reading: Reading, axes: dict[str, dict[str, Any]]) -> Verdict:
    """The verdict from what was read and the three axes."""
    value = sum(axis["expected"] for axis in axes.values()) / 6
    evidence = {name: reading.evidence(name)[:TOP] for name in AXES}
    stock = [phrase for name, found in reading.phrases.items() if name.startswith("stock_") for phrase in found][:TOP]
    named = ", ".join(f"{name.replace('_', ' ')} {axis['level']}" for name, axis in axes.items())
    parts = {
        **{name: axis["level"] for name, axis in axes.items()},
        "expected": {name: axis["expected"] for name, axis in axes.items()},
        "probabilities": {name: axis["probabilities"] for name, axis in axes.items()},
        "evidence": evidence,
        "stock_phrases": stock,
    }
    return Verdict(round(value, 4), f"Levels from 0 to 2: {named}.", parts)


def nothing_said() -> Verdict:
    """The verdict on an answer without text."""
    sure = {name: [1.0, 0.0, 0.0] for name in AXES}
    parts = {
        **dict.fromkeys(AXES, 0),
        "expected": dict.fromkeys(AXES, 0.0),
        "probabilities": sure,
        "evidence": {name: [] for name in AXES},
        "stock_phrases": [],
    }
    return Verdict(0.0, "The answer is empty, so it shows no empathy.", parts)
