"""How hard a text is to read: the Flesch-Kincaid grade (Kincaid et al. 1975), lower = easier.

Parts: Flesch reading ease (1948), Gunning fog (1952), SMOG (McLaughlin 1969; None under three sentences), Coleman-Liau
(1975), automated readability index (Senter and Smith 1967).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

from domains.domain import Domain
from judges.sentences import sentences, syllables, words
from judges.verdict import Answered, Verdict


@dataclass(frozen=True)
class Judge:
    """The United States school grade that a reader needs; None for an answer without words."""

    @classmethod
    def for_domain(cls, domain: Domain | None) -> Judge:
        """The same for every domain."""
        return cls()

    def __call__(self, rows: Sequence[Answered]) -> list[Verdict]:
        """One verdict per row; the question and the reference do not count."""
        return [readability(row.answer) for row in rows]


def readability(text: str) -> Verdict:
    """The verdict on one text."""
    counts = count(text)
    if not counts.words:
        return Verdict(None, "Unscored: the answer has no words.", parts(counts))
    grade = round(flesch_kincaid_grade(counts), 2)
    return Verdict(grade, f"Flesch-Kincaid grade {grade:.1f}; lower is easier to read.", parts(counts))


@dataclass(frozen=True)
class Counts:
    """What the formulas need; `complex_words` follows Gunning: no names, no syllable from -es, -ed or -ing. `letters`
    counts letters and digits."""

    words: int
    sentences: int
    syllables: int
    polysyllables: int
    complex_words: int
    letters: int


def count(text: str) -> Counts:
    """Count a text."""
    found = [words(sentence) for sentence in sentences(text)]
    lengths = [syllables(word) for sentence in found for word in sentence]
    return Counts(
        words=len(lengths),
        sentences=len(found),
        syllables=sum(lengths),
        polysyllables=sum(length >= 3 for length in lengths),
        complex_words=sum(is_complex(word, first=not i) for sentence in found for i, word in enumerate(sentence)),
        letters=sum(character.isalnum() for sentence in found for word in sentence for character in word),
    )


def is_complex(word: str, first: bool) -> bool:
    """Three syllables without an inflection, and no proper name (a capital inside a sentence)."""
    if "-" in word or (word[0].isupper() and not first):
        return False
    stem = next((word.removesuffix(end) for end in ("ing", "es", "ed") if word.lower().endswith(end)), word)
    return syllables(word) >= 3 and syllables(stem) >= 3


def parts(counts: Counts) -> dict[str, Any]:
    """The other indices, rounded, and the counts."""
    values = {name: index(counts) if counts.words else None for name, index in INDICES.items()}
    rounded = {name: None if value is None else round(value, 2) for name, value in values.items()}
    return {**rounded, "words": counts.words, "sentences": counts.sentences}


def flesch_kincaid_grade(counts: Counts) -> float:
    """0.39 words per sentence + 11.8 syllables per word - 15.59."""
    return 0.39 * counts.words / counts.sentences + 11.8 * counts.syllables / counts.words - 15.59


def flesch_reading_ease(counts: Counts) -> float:
    """206.835 - 1.015 words per sentence - 84.6 syllables per word; higher = easier."""
    return 206.835 - 1.015 * counts.words / counts.sentences - 84.6 * counts.syllables / counts.words


def gunning_fog(counts: Counts) -> float:
    """0.4 (words per sentence + percentage of complex words)."""
    return 0.4 * (counts.words / counts.sentences + 100 * counts.complex_words / counts.words)


def smog(counts: Counts) -> float | None:
    """1.043 sqrt(30 polysyllables per sentence) + 3.1291; not defined under three sentences."""
    if counts.sentences < 3:
        return None
    return 1.043 * sqrt(30 * counts.polysyllables / counts.sentences) + 3.1291


def coleman_liau(counts: Counts) -> float:
    """0.0588 letters per 100 words - 0.296 sentences per 100 words - 15.8."""
    return (5.88 * counts.letters - 29.6 * counts.sentences) / counts.words - 15.8


def automated_readability(counts: Counts) -> float:
    """4.71 letters per word + 0.5 words per sentence - 21.43."""
    return 4.71 * counts.letters / counts.words + 0.5 * counts.words / counts.sentences - 21.43


INDICES: dict[str, Callable[[Counts], float | None]] = {
    "flesch_reading_ease": flesch_reading_ease,
    "gunning_fog": gunning_fog,
    "smog": smog,
    "coleman_liau": coleman_liau,
    "automated_readability": automated_readability,
}
