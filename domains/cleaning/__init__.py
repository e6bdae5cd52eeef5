"""Cleaning in stages, one file a stage, each with counts and samples of what it changed or removed.

A stage of a file is `clean(blocks, context) -> Cleaned`; these run in as many processes as there are jobs. What needs
all files at once (`duplicates`, `chunks`) runs afterwards, in the order of the file names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from domains.blocks import Block

FILE_STAGES = ("unicode_repair", "boilerplate", "language", "quality", "pii")
CORPUS_STAGES = ("duplicates", "chunks")
MAX_SAMPLES = 5
SAMPLE_CHARACTERS = 160


@dataclass(frozen=True)
class CleaningSettings:
    """What a person can choose. `language` is an ISO 639-1 code, or empty to keep every language; `salt` decides the
    surrogates; `keep` are texts that are not personal; the shares of shingles from which paragraphs
    and documents are near duplicates."""

    language: str = "en"
    salt: str = ""
    keep: tuple[str, ...] = ()
    near_duplicate: float = 0.8
    near_document: float = 0.9
    chunk_characters: int = 2000

    def as_dict(self) -> dict[str, Any]:
        """For the digest of a result."""
        return asdict(self)


@dataclass
class FileContext:
    """What stages carry from part to part of one file: the settings and the people named so far."""

    settings: CleaningSettings
    names: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Change:
    """One thing that a stage did: why, to what, and (for a repair) with what result. `text` may hold personal data."""

    action: Literal["removed", "changed"]
    reason: str
    text: str
    result: str = ""


@dataclass(frozen=True)
class Cleaned:
    """The blocks that a stage leaves and what it did."""

    blocks: tuple[Block, ...]
    changes: tuple[Change, ...] = ()


@dataclass
class Tally:
    """Counts and first samples of a stage over any number of parts and files."""

    blocks_in: int = 0
    blocks_out: int = 0
    characters_in: int = 0
    characters_out: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    samples: list[dict[str, str]] = field(default_factory=list)

    def add_sizes(self, before: Sequence[Block], after: Sequence[Block]) -> None:
        """Count blocks and characters on both sides of a stage."""
        self.blocks_in += len(before)
        self.blocks_out += len(after)
        self.characters_in += sum(len(block.text) for block in before)
        self.characters_out += sum(len(block.text) for block in after)

    def add_change(self, reason: str, sample: dict[str, str]) -> None:
        """Count one change; the first few of every reason are kept as samples."""
        self.reasons[reason] = self.reasons.get(reason, 0) + 1
        if self.reasons[reason] <= 2 and len(self.samples) < MAX_SAMPLES:
            self.samples.append({"reason": reason, **sample})

    def merge(self, other: dict[str, Any]) -> None:
        """Add the tally of another file, as it is in the journal."""
        for name in ("blocks_in", "blocks_out", "characters_in", "characters_out"):
            setattr(self, name, getattr(self, name) + other[name])
        for reason, count in other["reasons"].items():
            self.reasons[reason] = self.reasons.get(reason, 0) + count
        self.samples += other["samples"][: MAX_SAMPLES - len(self.samples)]


def shortened(text: str) -> str:
    """A text for a sample: one line of bounded length."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= SAMPLE_CHARACTERS else line[: SAMPLE_CHARACTERS - 1] + "…"


def printable(text: str) -> str:
    """A text that UTF-8 can hold: half a surrogate pair, or a byte of a file name that is no UTF-8, is written as its
    escape."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
