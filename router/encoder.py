"""Sentence embeddings of the embedded MiniLM (or any encoder folder), for the strategies that need no language model.

As sentence-transformers pools them: the mean of a layer's tokens, as a unit vector. The last layer says what a text is
about; a layer from the middle says more about how it is put (a question, an order, a form to fill).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from experts.digests import digest_of, folder_digest
from judges.encoder import encoder_folder
from judges.loading import LOADING
from router.turns import shortened

FloatArray = NDArray[np.float64]
MAX_TOKENS = 256
BATCH_SIZE = 32


class Encoder(Protocol):
    """Texts to unit vectors; from several threads."""

    @property
    def digest(self) -> str:
        """What a fit on its vectors is bound to."""
        ...

    def __call__(self, texts: Sequence[str]) -> FloatArray:
        """Unit vectors of the last and of a middle layer, shape (texts, 2, dimensions)."""
        ...


@dataclass(frozen=True)
class SentenceEncoder:
    """A transformer with mean pooling. One caller at a time: the tokenizer's state is shared."""

    model: Any
    tokenizer: Any
    digest: str
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, texts: Sequence[str]) -> FloatArray:
        """Unit vectors, computed in batches of similar length."""
        with self.lock:
            ids = [self.tokens(text) for text in texts]
            order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
            found = np.zeros((len(ids), 2, self.model.config.hidden_size))
            for first in range(0, len(order), BATCH_SIZE):
                batch = order[first : first + BATCH_SIZE]
                found[batch] = self.pooled([ids[i] for i in batch])
        return found

    def tokens(self, text: str) -> list[int]:
        """Ids with special tokens; of a long text the beginning and the end are read."""
        inner = self.tokenizer.encode(shortened(text), add_special_tokens=False, verbose=False)
        room = MAX_TOKENS - 2
        kept = inner if len(inner) <= room else inner[: room // 2] + inner[-(room // 2) :]
        return [self.tokenizer.cls_token_id, *kept, self.tokenizer.sep_token_id]

    @torch.inference_mode()
    def pooled(self, batch: Sequence[Sequence[int]]) -> FloatArray:
        """The means over tokens, padding left out."""
        width = max(map(len, batch))
        pad = self.tokenizer.pad_token_id
        ids_BN = torch.tensor([[*ids, *[pad] * (width - len(ids))] for ids in batch])
        mask_BN = torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids in batch])
        states = self.model(input_ids=ids_BN, attention_mask=mask_BN, output_hidden_states=True).hidden_states
        layers_BYND = torch.stack([states[-1], states[len(states) - 1 - len(states) // 3]], dim=1).float()
        weights_B1N1 = mask_BN[:, None, :, None].float()
        means_BYD = (layers_BYND * weights_B1N1).sum(2) / weights_B1N1.sum(2)
        return np.asarray(torch.nn.functional.normalize(means_BYD, dim=-1).double().numpy())


@lru_cache(maxsize=2)
def load_sentence_encoder(folder: Path | None = None) -> SentenceEncoder:
    """The embedded encoder, or one in a folder; loaded once."""
    from transformers import AutoModel, AutoTokenizer

    source = folder or encoder_folder()
    with LOADING:
        model = AutoModel.from_pretrained(source, dtype=torch.float32).eval()
    return SentenceEncoder(model, AutoTokenizer.from_pretrained(source), encoder_digest(source))


def encoder_digest(folder: Path | None = None) -> str:
    """Weights, configuration and tokenizer, and how much of a text is read."""
    patterns = ("*.safetensors", "config.json", "tokenizer.json", "vocab.txt")
    return digest_of([folder_digest(folder or encoder_folder(), patterns), MAX_TOKENS])
