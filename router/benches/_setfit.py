"""A SetFit-like baseline (Tunstall et al. 2022, arXiv 2209.11055): the encoder is tuned on pairs of examples to give
the same label a cosine of 1 and different labels 0, then a logistic head reads its vectors.

The tuning is bounded: with more than 120 examples there are fewer pairs of each than the 20 + 20 of the paper, so that
all pairs are MAX_STEPS batches, and of a text the first MAX_TOKENS tokens are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from domains.example import Utterance
from experts.progress import shown

PAIRS_PER_EXAMPLE = 20  # of each kind, as in the paper; the most where there are many examples
BATCH_PAIRS = 16
LEARNING_RATE = 2e-5
MAX_STEPS, QUICK_STEPS = 300, 20
MAX_TOKENS = 64  # of a text while tuning
WARM_UP = 0.1


@dataclass(frozen=True)
class Strategy:
    """The tuned encoder and its head."""

    encoder: Any
    head: LogisticRegression
    labels: tuple[str, ...]

    def __call__(self, texts: Sequence[str]) -> list[dict[str, float]]:
        """Probabilities over the labels; one without examples gets none."""
        if not texts:
            return []
        known = [self.labels[place] for place in self.head.classes_]
        rows = self.head.predict_proba(vectors(self.encoder, texts))
        nothing = dict.fromkeys(self.labels, 0.0)
        return [nothing | dict(zip(known, map(float, row), strict=True)) for row in rows]


def fit(folder: Path, rows: Sequence[Utterance], labels: Sequence[str], quick: bool = False) -> Strategy:
    """Tune a copy of the encoder in a folder on training rows, then fit the head."""
    from sentence_transformers import SentenceTransformer

    encoder = SentenceTransformer(str(folder), device="cpu")
    targets = [list(labels).index(row.label) for row in rows]
    whole, encoder.max_seq_length = encoder.max_seq_length, MAX_TOKENS
    tune(encoder, [row.text for row in rows], targets, QUICK_STEPS if quick else MAX_STEPS)
    encoder.max_seq_length = whole
    head = LogisticRegression(max_iter=1000).fit(vectors(encoder, [row.text for row in rows]), targets)
    return Strategy(encoder, head, tuple(labels))


def vectors(encoder: Any, texts: Sequence[str]) -> Any:
    """Unit vectors."""
    return encoder.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)


def tune(encoder: Any, texts: Sequence[str], targets: Sequence[int], max_steps: int) -> None:
    """Contrastive steps with the squared error of the cosine, a warm-up and a linear decay."""
    most = max_steps * BATCH_PAIRS
    pairs = contrastive_pairs(targets, most // (2 * len(targets)))[:most]
    batches = [pairs[i : i + BATCH_PAIRS] for i in range(0, len(pairs), BATCH_PAIRS)]
    optimiser = torch.optim.AdamW(encoder.parameters(), lr=LEARNING_RATE, weight_decay=0.01)
    warm = max(1, int(WARM_UP * len(batches)))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min((step + 1) / warm, (len(batches) - step) / max(1, len(batches) - warm))
    )
    encoder.train()
    torch.manual_seed(0)
    for batch in shown(batches, "Tuning"):
        first, second = (embedded(encoder, [texts[pair[side]] for pair in batch]) for side in (0, 1))
        wanted = torch.tensor([float(targets[a] == targets[b]) for a, b in batch])
        loss = (torch.cosine_similarity(first, second) - wanted).square().mean()
        loss.backward()
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
    encoder.eval()


def embedded(encoder: Any, texts: Sequence[str]) -> Tensor:
    """Sentence embeddings with gradients."""
    found: Tensor = encoder(encoder.preprocess(list(texts)))["sentence_embedding"]
    return found


def contrastive_pairs(targets: Sequence[int], each: int = PAIRS_PER_EXAMPLE, seed: int = 0) -> list[tuple[int, int]]:
    """Shuffled pairs: for each example as many partners of its label as of other labels; `each` of both, but one at
    least and PAIRS_PER_EXAMPLE at most."""
    generator = np.random.default_rng(seed)
    size, target_N = max(1, min(each, PAIRS_PER_EXAMPLE)), np.array(targets)
    of_label = {target: np.flatnonzero(target_N == target) for target in set(targets)}
    of_others = {target: np.flatnonzero(target_N != target) for target in set(targets)}
    found = []
    for first, target in enumerate(targets):
        same = of_label[target]
        for partners in (same[same != first], of_others[target]):
            if len(partners):
                found += [(first, int(i)) for i in generator.choice(partners, size)]
    return [found[i] for i in generator.permutation(len(found))]
