"""The evaluation engine on this machine: answers in batches against one at a time, BERTScore against its package.

Seconds are wall time, loading apart for the answers and included for both BERTScores; each is the best of its rounds,
which alternate. `max_abs_difference` is over precision, recall and F1 of all rows.
Run: `expertsmith bench evaluation --json`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from domains.domain import Domain
from domains.example import Message
from experts.checkpoint import load_base, load_tokenizer
from experts.device import probe
from experts.embedded import foundation_folder
from experts.generate import generate
from judges.embeddings import load_encoder
from judges.encoder import encoder_folder
from judges.scorers.bertscore import Judge
from judges.verdict import Answered

DOMAINS = ("mortgage", "caregiving")
LAYERS = 6


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    prompts: int
    new_tokens: int
    rows: int
    rounds: int


FULL, QUICK = Size(48, 64, 360, 3), Size(16, 24, 48, 2)


def run(quick: bool = False, home: Path = Path()) -> dict[str, Any]:
    """The five numbers."""
    size = QUICK if quick else FULL
    sequential, batched = generation(size)
    rows = answered_rows(size.rows)
    seconds = race({"package": lambda: by_package(rows), "ours": lambda: by_us(rows)}, size.rounds)
    return {
        "sequential_seconds": round(sequential, 3),
        "batched_seconds": round(batched, 3),
        "bertscore_package_seconds": round(seconds["package"], 3),
        "bertscore_ours_seconds": round(seconds["ours"], 3),
        "max_abs_difference": round(difference(by_package(rows), by_us(rows)), 8),
    }


def generation(size: Size) -> tuple[float, float]:
    """Seconds for the same prompts one at a time and in batches, on the embedded foundation."""
    device, folder = probe(), foundation_folder()
    model = load_base(folder, device.dtype, device.score_attention).to(device.name).eval().requires_grad_(False)
    tokenizer, asked = load_tokenizer(folder), prompts(size.prompts)
    generate(model, tokenizer, asked[:2], 4, 2)
    batched = timed(lambda: generate(model, tokenizer, asked, size.new_tokens, size.prompts))
    return timed(lambda: generate(model, tokenizer, asked, size.new_tokens, 1)), batched


def prompts(count: int) -> list[tuple[Message, ...]]:
    """The domains' questions, in turn."""
    columns = [Domain.load(name).records("questions.jsonl") for name in DOMAINS]
    return [row.prompt for pair in zip(*columns, strict=False) for row in pair][:count]


def answered_rows(count: int) -> list[Answered]:
    """Answers with their references as an evaluation has them: each reference with several answers."""
    preferences = [row for name in DOMAINS for row in Domain.load(name).records("preferences.jsonl")]
    return [Answered("", answer, row.chosen) for row in preferences for answer in row.rejected][:count]


def by_package(rows: Sequence[Answered]) -> list[list[float]]:
    """Precision, recall and F1 by the bert-score package."""
    import bert_score

    answers, references = [row.answer for row in rows], [row.reference for row in rows]
    columns = bert_score.score(answers, references, model_type=str(encoder_folder()), num_layers=LAYERS)
    return [list(each) for each in zip(*(column.tolist() for column in columns), strict=True)]


def by_us(rows: Sequence[Answered]) -> list[list[float]]:
    """The same by the judge; the encoder is loaded again, as the package does."""
    load_encoder.cache_clear()
    verdicts = Judge()(rows)
    return [[verdict.parts["precision"], verdict.parts["recall"], verdict.value or 0.0] for verdict in verdicts]


def difference(one: list[list[float]], other: list[list[float]]) -> float:
    """The largest difference."""
    return float((torch.tensor(one, dtype=torch.float64) - torch.tensor(other, dtype=torch.float64)).abs().max())


def race(contenders: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The best time of each over rounds in turn, after one that warms up."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds + 1):
        for name, work in contenders.items():
            times[name].append(timed(work))
    return {name: min(found[1:]) for name, found in times.items()}


def timed(work: Callable[[], object]) -> float:
    """Seconds of wall time."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
