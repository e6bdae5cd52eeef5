"""BERTScore (arXiv 1904.09675) of an answer with its reference: F1 of greedy token matches in an encoder's space.

Agrees with the bert-score package (no idf, no rescaling) where that works. Long texts are read in windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from domains.domain import Domain
from judges.embeddings import Embedded, load_encoder
from judges.encoder import NAME
from judges.verdict import Answered, Verdict

PAIRS_AT_ONCE = 1024


@dataclass(frozen=True)
class Judge:
    """F1 in about [0, 1]; `model` is a name or a folder ("" = the embedded MiniLM), `num_layers` None = its usual one.

    An empty answer is 0.0; a missing reference is unscored.
    """

    model: str = ""
    num_layers: int | None = None

    @classmethod
    def for_domain(cls, domain: Domain | None) -> Judge:
        """The same for every domain."""
        return cls()

    def __call__(self, rows: Sequence[Answered]) -> list[Verdict]:
        """One verdict per row; equal pairs and equal texts are computed once."""
        pairs = sorted({(row.reference, row.answer) for row in rows if row.reference and comparable(row)})
        verdicts: dict[tuple[str, str], Verdict] = {}
        for first in range(0, len(pairs), PAIRS_AT_ONCE):
            verdicts |= self.compare(pairs[first : first + PAIRS_AT_ONCE])
        return [special_case(row) or verdicts[row.reference or "", row.answer] for row in rows]

    def compare(self, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Verdict]:
        """The verdict of each (reference, answer)."""
        encoder = load_encoder(self.model, self.num_layers)
        texts = list(dict.fromkeys(text for pair in pairs for text in pair))
        embedded = dict(zip(texts, encoder.embed(texts), strict=True))
        name = f"{self.model or NAME}, layer {encoder.num_layers}"
        return {pair: score(embedded[pair[0]], embedded[pair[1]], name) for pair in pairs}


def comparable(row: Answered) -> bool:
    """Both texts are there."""
    return special_case(row) is None


def special_case(row: Answered) -> Verdict | None:
    """The verdict on a row that lacks one of the two texts."""
    if row.reference is None or not row.reference.strip():
        return Verdict(None, "Unscored: there is no reference to compare with.")
    return None if row.answer.strip() else empty_answer()


def empty_answer() -> Verdict:
    """The verdict on an answer without any token."""
    return Verdict(0.0, "The answer is empty.", {"precision": 0.0, "recall": 0.0, "num_windows": 0})


def score(reference: Embedded, answer: Embedded, name: str) -> Verdict:
    """Greedy matching: every token goes to its most similar token of the other text."""
    if reference.empty:
        return Verdict(None, "Unscored: the reference has no token that the encoder knows.")
    if answer.empty:
        return empty_answer()
    similarity_AR = answer.tokens_ND @ reference.tokens_ND.T
    precision = float(similarity_AR.amax(dim=1) @ answer.weights_N / answer.weights_N.sum())
    recall = float(similarity_AR.amax(dim=0) @ reference.weights_N / reference.weights_N.sum())
    f1 = 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0
    parts = {
        "precision": round(precision, 6),
        "recall": round(recall, 6),
        "num_windows": answer.num_windows,
        "num_reference_windows": reference.num_windows,
    }
    return Verdict(round(f1, 6), f"BERTScore F1 {f1:.3f} with {name}.", parts)
