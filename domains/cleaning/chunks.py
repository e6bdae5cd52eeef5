"""Structure-aware chunks: a chunk stays within its headings and its size; only tables and code are never split.

A chunk becomes a `##` section of a document, which is the unit that a domain trains on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from domains.blocks import Block

SMALL = 0.25
CUT_LEVEL = 3
HEADING_CHARACTERS = 140
SENTENCE = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[\"'(\[]?[A-Z0-9])")


@dataclass(frozen=True)
class Chunk:
    """A heading (its path below the title) and Markdown text that has no first- or second-level heading."""

    heading: str
    text: str


@dataclass
class Chunker:
    """Blocks of one document in, chunks out; `left_out`: the headings that had nothing under them."""

    title: str
    max_characters: int
    path: list[tuple[int, str]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    heading: str = ""
    bare: tuple[int, str] | None = None
    left_out: list[str] = field(default_factory=list)

    def chunks(self, blocks: Iterable[Block]) -> Iterator[Chunk]:
        """All chunks, in order."""
        for block in blocks:
            if block.kind == "heading":
                yield from self.new_heading(block)
            else:
                self.bare = None
                for text in self.fitting(block):
                    if self.texts and self.size + len(text) > self.max_characters:
                        yield from self.finish()
                    self.heading = self.heading if self.texts else self.path_text()
                    self.texts.append(text)
        yield from self.finish()
        self.leave_bare(0)

    @property
    def size(self) -> int:
        """Characters waiting."""
        return sum(len(text) + 2 for text in self.texts)

    def new_heading(self, block: Block) -> Iterator[Chunk]:
        """A heading starts a chunk, unless the one before it is still small or the heading is a deep one."""
        inside = self.texts and (block.level > CUT_LEVEL or self.size < SMALL * self.max_characters)
        if not inside:
            yield from self.finish()
            self.leave_bare(block.level)
            self.bare = (block.level, block.text)
        self.path = [(level, text) for level, text in self.path if level < block.level]
        self.path.append((block.level, block.text))
        if inside:
            self.texts.append(f"### {block.text}")

    def leave_bare(self, level: int) -> None:
        """A heading of this level or a deeper one that no text has followed is left out; the title is always kept."""
        if self.bare and self.bare[0] >= level and self.bare[1] != self.title:
            self.left_out.append(self.bare[1])

    def path_text(self) -> str:
        """The headings over the text, the title left out."""
        names = [text for _, text in self.path if text != self.title] or [self.title]
        text = " > ".join(" ".join(name.split()) for name in names)
        text = text if len(text) <= HEADING_CHARACTERS else text[: HEADING_CHARACTERS - 1] + "…"
        return "List of sources" if text.lower() == "sources" else text

    def finish(self) -> Iterator[Chunk]:
        """What is waiting, as a chunk; headings with nothing under them are left out."""
        while self.texts and self.texts[-1].startswith("### "):
            self.left_out.append(self.texts.pop().removeprefix("### "))
        if self.texts:
            yield Chunk(self.heading, "\n\n".join(self.texts))
        self.texts = []

    def fitting(self, block: Block) -> Iterator[str]:
        """A block in pieces that fit: a long paragraph is cut between sentences, then between words."""
        text = re.sub(r"(?m)^#{1,2}(?=\s)", "###", block.text)
        if block.kind in {"table", "code"} or len(text) <= self.max_characters:
            yield text
            return
        piece = ""
        for sentence in (part for found in SENTENCE.split(text) for part in words_cut(found, self.max_characters)):
            if piece and len(piece) + len(sentence) >= self.max_characters:
                yield piece
                piece = ""
            piece = f"{piece} {sentence}".strip()
        if piece:
            yield piece


def words_cut(text: str, limit: int) -> Iterator[str]:
    """A text over the limit in pieces, at spaces where there are any."""
    while len(text) > limit:
        place = text.rfind(" ", limit // 2, limit)
        place = place if place > 0 else limit
        yield text[:place]
        text = text[place:].lstrip()
    yield text
