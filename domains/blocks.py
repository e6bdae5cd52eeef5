"""Markdown as blocks: headings, paragraphs, tables, code, records. What cleaning works on and chunks are made of."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from domains.formats import PAGE_BREAK, Part

Kind = Literal["heading", "text", "table", "code", "row"]
HEADING = re.compile(r"^(#{1,6})\s+(.+?)\s*#*$")
UNDERLINE = re.compile(r"^(=|-){3,}\s*$")
FENCE = re.compile(r"^\s*(```|~~~)")


@dataclass(frozen=True)
class Block:
    """One block of Markdown. `level`: of a heading, 1 to 6. `page`: from 1, or 0 when the file has no pages."""

    kind: Kind
    text: str
    level: int = 0
    page: int = 0


def blocks_of(part: Part) -> Iterator[Block]:
    """The blocks of a part of a file."""
    if part.rows:
        yield from (Block("row", text.strip()) for text in part.text.split("\n\n") if text.strip())
        return
    for page, text in enumerate(part.text.split(PAGE_BREAK), 1):
        yield from page_blocks(text, page if part.num_pages else 0)


def page_blocks(text: str, page: int) -> Iterator[Block]:
    """The blocks of one page."""
    lines: list[str] = []
    fenced = False
    for line in [*text.splitlines(), ""]:
        if FENCE.match(line):
            fenced = not fenced
        heading = None if fenced else HEADING.match(line)
        starts = heading or not line.strip() or kind_of(line) != kind_of(lines[-1]) if lines else False
        if lines and not fenced and not FENCE.match(lines[0]) and starts or closed(lines):
            yield from finished(lines, page)
            lines = []
        if heading:
            yield Block("heading", heading.group(2).strip(), len(heading.group(1)), page)
        elif line.strip() or fenced and lines:
            lines.append(line)
    if lines:
        yield from finished(lines, page)


def closed(lines: list[str]) -> bool:
    """Whether the lines are a whole fenced block."""
    return len(lines) > 1 and bool(FENCE.match(lines[0]) and FENCE.match(lines[-1]))


def kind_of(line: str) -> Kind:
    """Table lines start with a bar."""
    return "table" if line.lstrip().startswith("|") else "text"


def finished(lines: list[str], page: int) -> Iterator[Block]:
    """The block or blocks that some neighbouring lines are; an underlined line is a heading."""
    start = 0
    while underlined(lines, start):
        yield Block("heading", lines[start].strip(), 1 if lines[start + 1].startswith("=") else 2, page)
        start += 2
    if start < len(lines):
        kind: Kind = "code" if FENCE.match(lines[start]) else kind_of(lines[start])
        yield Block(kind, "\n".join(lines[start:]).strip("\n"), page=page)


def underlined(lines: list[str], place: int) -> bool:
    """Whether the line at a place is a heading by the line under it."""
    if place + 1 >= len(lines) or FENCE.match(lines[place]):
        return False
    return bool(UNDERLINE.match(lines[place + 1])) and len(lines[place]) <= 120
