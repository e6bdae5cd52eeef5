"""One unit vector per text from the embedded sentence encoder: the mean over its sentences, so that none is cut off."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from judges.embeddings import load_encoder
from judges.heads.cues import reply_sentences


def text_vectors(texts: Sequence[str]) -> Tensor:
    """Unit vectors [N, D] of texts; a text without words is zeros. Equal sentences are computed once, in batches."""
    parts = {text: reply_sentences(text) for text in dict.fromkeys(texts)}
    unique = list(dict.fromkeys(sentence for spoken in parts.values() for sentence in spoken))
    encoder = load_encoder("", None)
    vectors = dict(zip(unique, map(pooled, (e.tokens_ND for e in encoder.embed(unique))), strict=True))
    zero_D = torch.zeros(int(encoder.model.config.hidden_size))
    mean = {
        text: torch.stack([vectors[s] for s in spoken]).mean(0) if spoken else zero_D for text, spoken in parts.items()
    }
    return torch.nn.functional.normalize(torch.stack([mean[text] for text in texts]), dim=-1)


def pooled(tokens_ND: Tensor) -> Tensor:
    """The unit mean of a sentence's token vectors."""
    return torch.nn.functional.normalize(tokens_ND.mean(0), dim=-1)
