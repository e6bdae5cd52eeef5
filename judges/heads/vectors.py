"""One unit vector per text from the embedded sentence encoder: the mean over its sentences, so that none is cut off."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from judges.embeddings import load_encoder
from judges.heads.cues import reply_sentences

MOST_KEPT = 20_000


def text_vectors(texts: Sequence[str]) -> Tensor:
    """Unit vectors [N, D] of texts; a text without words is zeros."""
    return mean_vectors([reply_sentences(text) for text in texts])


def mean_vectors(spoken: Sequence[Sequence[str]]) -> Tensor:
    """The unit mean [N, D] of each list of sentences, zeros for none."""
    vectors = sentence_vectors(list(dict.fromkeys(sentence for part in spoken for sentence in part)))
    zero_D = torch.zeros(int(load_encoder("", None).model.config.hidden_size))
    means = [torch.stack([vectors[s] for s in part]).mean(0) if part else zero_D for part in spoken]
    return torch.nn.functional.normalize(torch.stack(means), dim=-1)


def sentence_vectors(unique: Sequence[str]) -> dict[str, Tensor]:
    """Unit vectors of sentences, computed in batches; those of earlier calls are kept (30 MB at most)."""
    kept = known_vectors()
    missing = [sentence for sentence in unique if sentence not in kept]
    new = dict(zip(missing, (pooled(e.tokens_ND) for e in load_encoder("", None).embed(missing)), strict=True))
    found = {sentence: new[sentence] if sentence in new else kept[sentence] for sentence in unique}
    if len(kept) + len(new) > MOST_KEPT:
        kept.clear()
    kept.update(list(new.items())[:MOST_KEPT])
    return found


@lru_cache(maxsize=1)
def known_vectors() -> dict[str, Tensor]:
    """The vectors of sentences that were embedded in this process: several judges read the same answers."""
    return {}


def pooled(tokens_ND: Tensor) -> Tensor:
    """The unit mean of a sentence's token vectors."""
    return torch.nn.functional.normalize(tokens_ND.mean(0), dim=-1)
