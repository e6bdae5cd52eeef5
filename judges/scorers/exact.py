"""Exact match with the reference: case, white space and final punctuation do not count."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from domains.domain import Domain
from judges.verdict import Answered, Verdict

FINAL_PUNCTUATION = ".!?,;:…"


@dataclass(frozen=True)
class Judge:
    """1.0 when the normalised answer equals the normalised reference, else 0.0."""

    @classmethod
    def for_domain(cls, domain: Domain | None) -> Judge:
        """The same for every domain."""
        return cls()

    def __call__(self, rows: Sequence[Answered]) -> list[Verdict]:
        """One verdict per row."""
        return [match(row) for row in rows]


def match(row: Answered) -> Verdict:
    """The verdict on one row."""
    if row.reference is None or not row.reference.strip():
        return Verdict(None, "Unscored: there is no reference to compare with.")
    equal = normalised(row.answer) == normalised(row.reference)
    return Verdict(float(equal), f"The answer {'equals' if equal else 'differs from'} the reference.")


def normalised(text: str) -> str:
    """Case-folded, single-spaced, without final punctuation."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split()).rstrip(FINAL_PUNCTUATION + " ")
