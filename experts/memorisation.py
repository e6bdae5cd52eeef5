"""The memorisation probe: a prompt of a document's tokens, and how its continuation is predicted.

One pass over prompt and continuation gives both measures: greedy decoding repeats the document exactly up to the first
position where the most likely token is another one, so no text needs to be generated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from domains.example import Document
from experts.encoding import document_ids
from judges.memorisation import Recall

PROMPT_TOKENS = 32
CONTINUATION_TOKENS = 32
BATCH = 8


@dataclass(frozen=True)
class Passage:
    """PROMPT_TOKENS + CONTINUATION_TOKENS tokens of a document."""

    id: str
    trained: bool
    ids: tuple[int, ...]


def passages(tokenizer: Any, documents: Sequence[Document], trained: bool, limit: int) -> list[Passage]:
    """One passage from the middle of each document that is long enough, `limit` documents spread over all of them."""
    length = PROMPT_TOKENS + CONTINUATION_TOKENS
    encoded = [(document.id, document_ids(tokenizer, document.text)[:-1]) for document in documents]
    long_enough = [(name, ids) for name, ids in encoded if len(ids) >= length]
    chosen = [long_enough[i * len(long_enough) // limit] for i in range(min(limit, len(long_enough)))]
    if len(long_enough) <= limit:
        chosen = long_enough
    starts = [(len(ids) - length) // 2 for _, ids in chosen]
    return [
        Passage(name, trained, tuple(ids[start : start + length]))
        for (name, ids), start in zip(chosen, starts, strict=True)
    ]


@torch.no_grad()
def recalls(model: Any, found: Sequence[Passage]) -> list[Recall]:
    """How a model goes on after each prompt."""
    result = []
    for first in range(0, len(found), BATCH):
        chunk = found[first : first + BATCH]
        ids_BL = torch.tensor([passage.ids for passage in chunk], device=model.device)
        logits = model(ids_BL[:, :-1], use_cache=False, logits_to_keep=CONTINUATION_TOKENS).logits.float()
        result += [
            Recall(passage.id, passage.trained, exact_tokens(row, target), nats(row, target))
            for passage, row, target in zip(chunk, logits, ids_BL[:, PROMPT_TOKENS:], strict=True)
        ]
    return result


def exact_tokens(logits_TV: Tensor, target_T: Tensor) -> int:
    """Leading positions whose most likely token is the document's."""
    right_T = (logits_TV.argmax(-1) == target_T).long()
    return int(right_T.cumprod(0).sum())


def nats(logits_TV: Tensor, target_T: Tensor) -> float:
    """Mean negative log-likelihood a token."""
    return float(torch.nn.functional.cross_entropy(logits_TV, target_T))
