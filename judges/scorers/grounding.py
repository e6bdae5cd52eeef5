"""Grounding: the share of an answer's claims that the domain's own documents support.

A claim is a sentence. It is *supported* by a passage that says the same (nearness in the embedded encoder's space and
shared content words) and has its numbers; *contradicted* when the sentence nearest in meaning gives another number for
the same thing or says the opposite; *unsupported* otherwise. No language model is asked: what the rules cannot see
(a subtle change of meaning) they call supported.
Run: `expertsmith score answers.jsonl --judges grounding --domain mortgage --out scored.jsonl`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from domains.domain import Domain
from domains.example import Document
from judges.claims import NUMBER, asked, claims, is_fragment
from judges.negation import opposite
from judges.passages import Index, Match, index_of
from judges.quantities import conflicts, quantities
from judges.verdict import Answered, Verdict

Outcome = Literal["supported", "unsupported", "contradicted"]
SUPPORT = 0.52
AS_NEAR = 0.05
RANK_SHARE = 0.5
OWN_COVERED = 0.5
ALIGNED = 0.65  # below, two sentences are too different for their negations to be compared
YES = re.compile(r"yes\b", re.IGNORECASE)


@dataclass(frozen=True)
class Flag:
    """What is wrong with a claim: `kind` is "number" (another one, or none, in the passage) or "negation"."""

    kind: Literal["number", "negation"]
    claim: str
    passage: str


@dataclass(frozen=True)
class Grounded:
    """A claim, its verdict, how well the passage matches (0 to 1), the passage and its document."""

    claim: str
    verdict: Outcome
    support: float
    passage: str
    document_id: str
    flags: tuple[Flag, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The form in files and for pages."""
        return asdict(self)


@dataclass(frozen=True)
class Judge:
    """1.0 when every claim is supported, 0.0 when none is; None without documents or without a checkable claim.

    `support` is how well a passage must match.
    """

    documents: tuple[Document, ...] = ()
    support: float = SUPPORT

    @classmethod
    def for_domain(cls, domain: Domain | None) -> Judge:
        """The judge with the domain's documents."""
        return cls(domain.documents if domain else ())

    def __call__(self, rows: Sequence[Answered]) -> list[Verdict]:
        """One verdict per row; numbers that the person gave in the question need no support."""
        if not self.documents:
            return [Verdict(None, "Unscored: there are no documents to compare with.") for _ in rows]
        index = index_of(self.documents) if rows else None
        return [verdict(ground(row.answer, index, row.question, self.support)) for row in rows if index]


def ground(
    answer: str, documents: Sequence[Document] | Index, question: str = "", support: float = SUPPORT
) -> list[Grounded]:
    """Every claim of an answer with the passage that supports or contradicts it, or comes nearest."""
    index = documents if isinstance(documents, Index) else index_of(documents)
    found = claims(answer, question)
    matches = index.nearest(found, asked(question)) if found else []
    return [grounded(claim, near, index, question, support) for claim, near in zip(found, matches, strict=True)]


def grounded(claim: str, matches: Sequence[Match], index: Index, question: str, threshold: float) -> Grounded:
    """One claim against its strongest match; where that flags it, one as near in meaning may still support it."""
    if not matches:
        return Grounded(claim, "unsupported", 0.0, "", "")
    fragment = is_fragment(claim, question)
    best, *others = sorted(matches, key=lambda match: rank(match, fragment), reverse=True)
    found = against(claim, best, index, question, threshold)
    lowest, least = best.alone.cosine - AS_NEAR, rank(best, fragment) - AS_NEAR
    for match in others:
        if found.flags and match.alone.cosine >= lowest and rank(match, fragment) >= least:
            again = against(claim, match, index, question, threshold)
            found = again if again.verdict == "supported" else found
    return found


def rank(match: Match, fragment: bool) -> float:
    """What decides which passage a claim is held against: how like it is to the claim, and to what was asked; of a
    claim that says little alone, mostly the latter."""
    most, least = (match.asked, match.alone) if fragment else (match.alone, match.asked)
    return most.strength + RANK_SHARE * least.strength


def support_of(claim: str, match: Match, fragment: bool) -> float:
    """How well a passage matches a claim, 0 to 1. A claim that says little alone is read with what was asked, but what
    it says in words has to be there: on the topic is not enough."""
    if fragment and (NUMBER.search(claim) or match.alone.covered >= OWN_COVERED):
        return match.asked.strength
    return match.alone.strength


def against(claim: str, match: Match, index: Index, question: str, threshold: float) -> Grounded:
    """A claim against one passage."""
    fragment = is_fragment(claim, question)
    sentence, support = match.sentence, support_of(claim, match, fragment)
    stated = f"{asked(question)} {claim}" if fragment and YES.match(claim) else claim
    numbers = conflicts(claim, sentence.text, sentence.passage, quantities(question))
    flags = [Flag("number", each.claim, each.passage) for each in numbers]
    different = any(each.passage for each in numbers)
    if support >= max(threshold, ALIGNED):
        words = opposite(stated, sentence.text, index.rarity)
        flags += [Flag("negation", ", ".join(words), sentence.text)] if words else []
        different = different or bool(words)
    outcome: Outcome = "supported" if support >= threshold and not flags else "unsupported"
    outcome = "contradicted" if support >= threshold and different else outcome
    return Grounded(claim, outcome, round(support, 4), sentence.passage, sentence.document_id, tuple(flags))


def verdict(found: Sequence[Grounded]) -> Verdict:
    """The share of supported claims."""
    counts = {
        name: sum(each.verdict == name for each in found) for name in ("supported", "unsupported", "contradicted")
    }
    parts = {**counts, "claims": [each.as_dict() for each in found]}
    if not found:
        return Verdict(None, "Unscored: the answer has no checkable claim.", parts)
    text = f"{counts['supported']} of {len(found)} claims are supported by the documents"
    text += f", {counts['contradicted']} contradicted." if counts["contradicted"] else "."
    return Verdict(round(counts["supported"] / len(found), 4), text, parts)
