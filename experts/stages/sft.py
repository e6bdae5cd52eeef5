"""Supervised fine-tuning: cross-entropy on the completion, the prompt masked, the end-of-turn token trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from domains.example import Example
from experts.batch import Row, conversation_segment, pack
from experts.checkpoint import Checkpoint, load_tokenizer
from experts.encoding import Tokenizer, completion_ids, prompt_ids
from experts.recipe import Training
from experts.train import train_rows


def example_rows(tokenizer: Tokenizer, examples: Sequence[Example], row_tokens: int, seed: int) -> list[Row]:
    """Conversations as packed rows, in an order that the seed decides."""
    shuffled = list(examples)
    Random(seed).shuffle(shuffled)
    segments = (
        conversation_segment(prompt_ids(tokenizer, e.prompt), completion_ids(tokenizer, e.completion)) for e in shuffled
    )
    return pack(segments, row_tokens)


def run(start: Checkpoint, examples: Sequence[Example], settings: Training, seed: int, folder: Path) -> dict[str, Any]:
    """Train; the adapter is written to `folder`."""
    rows = example_rows(load_tokenizer(start.tokenizer_folder), examples, settings.row_tokens, seed)
    return train_rows(start, rows, settings, seed, folder) | {"examples": len(examples)}
