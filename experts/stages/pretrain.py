"""Domain pretraining (DAPT): next-token training of the base model on the domain's documents.

Documents are packed into rows with no attention across them. Gururangan et al. 2020, arXiv 2004.10964.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from domains.example import Document
from experts.batch import Row, document_segments, pack
from experts.checkpoint import Checkpoint, load_tokenizer
from experts.encoding import Tokenizer, document_ids
from experts.ranks import rank
from experts.recipe import Pretrain
from experts.train import train_rows


def document_rows(tokenizer: Tokenizer, documents: Sequence[Document], row_tokens: int, seed: int) -> list[Row]:
    """Documents as packed rows, in an order that the seed decides."""
    shuffled = list(documents)
    Random(seed).shuffle(shuffled)
    ids = (document_ids(tokenizer, document.text) for document in shuffled)
    return pack((segment for tokens in ids for segment in document_segments(tokens, row_tokens)), row_tokens)


def run(base: Checkpoint, documents: Sequence[Document], settings: Pretrain, seed: int, folder: Path) -> dict[str, Any]:
    """Train; the adapter (method lora) or the full model (method full) is written to `folder`."""
    tokenizer = load_tokenizer(base.base)
    rows = document_rows(tokenizer, documents, settings.row_tokens, seed)
    metrics = train_rows(base, rows, settings, seed, folder)
    if settings.method == "full" and rank() == 0:
        tokenizer.save_pretrained(folder)
    return metrics | {"documents": len(documents), "tokens_per_epoch": sum(map(len, rows))}
