"""BERTScore (arXiv 1904.09675) of an answer with its reference: F1 of greedy token matches in an encoder's space.

Agrees with the bert-score package, with idf and rescaling too, where that works. Long texts are read in windows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import log

import torch
from torch import Tensor

from domains.domain import Domain
from judges.embeddings import Embedded, Encoder, load_encoder
from judges.encoder import NAME
from judges.rescaling import Baseline, read_baseline
from judges.verdict import Answered, Verdict

PAIRS_AT_ONCE = 1024


@dataclass(frozen=True)
class Judge:
    """F1 in about [0, 1]; `model` is a name or a folder ("" = the embedded MiniLM), `num_layers` None = its usual one.

    `idf` weighs a token by how few of the rows' references have it, so that a verdict then depends on all rows.
    `baseline` (a language or a file, see `judges.rescaling.py`) rescales so that unrelated texts get about 0. An empty
    answer is 0.0 either way; a missing reference is unscored.
    """

    model: str = ""
    num_layers: int | None = None
    idf: bool = False
    baseline: str = ""

    @classmethod
    def for_domain(cls, domain: Domain | None) -> Judge:
        """The same for every domain."""
        return cls()

    @property
    def needs_all_rows(self) -> bool:
        """Whether a verdict depends on the other rows."""
        return self.idf

    def __call__(self, rows: Sequence[Answered]) -> list[Verdict]:
        """One verdict per row; equal pairs and equal texts are computed once."""
        pairs = sorted({(row.reference, row.answer) for row in rows if row.reference and special_case(row) is None})
        if not pairs:
            return [special_case(row) or empty_answer() for row in rows]
        matcher = self.matcher(Counter(row.reference for row in rows if row.reference and row.reference.strip()))
        verdicts: dict[tuple[str, str], Verdict] = {}
        for first in range(0, len(pairs), PAIRS_AT_ONCE):
            verdicts |= matcher.compare(pairs[first : first + PAIRS_AT_ONCE])
        return [special_case(row) or verdicts[row.reference or "", row.answer] for row in rows]

    def matcher(self, references: Counter[str]) -> Matcher:
        """What compares, for rows with these references (and how often each is there)."""
        encoder = load_encoder(self.model, self.num_layers)
        name = f"{self.model or NAME}, layer {encoder.num_layers}"
        name += ", idf" * self.idf + ", rescaled" * bool(self.baseline)
        baseline = read_baseline(self.baseline, self.model, encoder.num_layers)
        return Matcher(encoder, name, baseline, rarity(encoder, references) if self.idf else None)


@dataclass(frozen=True)
class Rarity:
    """Inverse document frequencies: log((n + 1) / (count + 1)) over n references, by token id."""

    by_token: dict[int, float] = field(repr=False)
    unseen: float

    def weights(self, ids: Sequence[int]) -> Tensor:
        """The weights of a text's tokens."""
        return torch.tensor([self.by_token.get(token, self.unseen) for token in ids])


def rarity(encoder: Encoder, references: Counter[str]) -> Rarity:
    """The inverse document frequencies over references, special tokens included (in all, so their weight is 0)."""
    num = references.total()
    counts: Counter[int] = Counter()
    for ids, times in zip(encoder.tokens(list(references)), references.values(), strict=True):
        counts.update(dict.fromkeys({*encoder.before, *ids, *encoder.after}, times))
    return Rarity({token: log((num + 1) / (count + 1)) for token, count in counts.items()}, log(num + 1))


@dataclass(frozen=True)
class Matcher:
    """Greedy matching: every token goes to its most similar token of the other text."""

    encoder: Encoder
    name: str
    baseline: Baseline
    rarity: Rarity | None

    def compare(self, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Verdict]:
        """The verdict of each (reference, answer)."""
        texts = list(dict.fromkeys(text for pair in pairs for text in pair))
        embedded = dict(zip(texts, self.encoder.embed(texts), strict=True))
        return {pair: self.score(embedded[pair[0]], embedded[pair[1]]) for pair in pairs}

    def weights(self, text: Embedded) -> Tensor:
        """The shares of a text's tokens in its mean, [N]; all 0 when no token has weight."""
        weights_N = text.weights_N if self.rarity is None else self.rarity.weights(text.ids)
        return weights_N / weights_N.sum().clamp(min=1e-12)

    def score(self, reference: Embedded, answer: Embedded) -> Verdict:
        """The verdict on two embedded texts."""
        if reference.empty:
            return Verdict(None, "Unscored: the reference has no token that the encoder knows.")
        if answer.empty:
            return empty_answer()
        answer_A, reference_R = self.weights(answer), self.weights(reference)
        if not (answer_A.any() and reference_R.any()):
            return Verdict(None, "Unscored: every token is in all references, so idf leaves nothing to compare.")
        similarity_AR = answer.tokens_ND @ reference.tokens_ND.T
        precision = float(similarity_AR.amax(dim=1) @ answer_A)
        recall = float(similarity_AR.amax(dim=0) @ reference_R)
        f1 = 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0
        value = rescaled(f1, self.baseline.f1)
        parts = {
            "precision": round(rescaled(precision, self.baseline.precision), 6),
            "recall": round(rescaled(recall, self.baseline.recall), 6),
            "num_windows": answer.num_windows,
            "num_reference_windows": reference.num_windows,
        }
        return Verdict(round(value, 6), f"BERTScore F1 {value:.3f} with {self.name}.", parts)


def rescaled(value: float, baseline: float) -> float:
    """0 at the baseline, 1 at 1."""
    return (value - baseline) / (1 - baseline)


def special_case(row: Answered) -> Verdict | None:
    """The verdict on a row that lacks one of the two texts."""
    if row.reference is None or not row.reference.strip():
        return Verdict(None, "Unscored: there is no reference to compare with.")
    return None if row.answer.strip() else empty_answer()


def empty_answer() -> Verdict:
    """The verdict on an answer without any token."""
    return Verdict(0.0, "The answer is empty.", {"precision": 0.0, "recall": 0.0, "num_windows": 0})
