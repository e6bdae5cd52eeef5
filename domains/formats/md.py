"""Markdown, in pieces cut at blank lines; front matter and comments are not text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from domains.encodings import pieces, text_chunks
from domains.formats import PART_CHARACTERS, Limits, Part

FRONT_MATTER = re.compile(r"\A\s*---\n(?:[\w-]+:.*\n|[ \t].*\n|- .*\n)*?---[ \t]*\n")
TITLE = re.compile(r"(?m)^title:\s*[\"']?(.+?)[\"']?\s*$")
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)


def read(path: Path, limits: Limits) -> Iterator[Part]:
    """The Markdown; a title that only the front matter has becomes the first heading."""
    for number, piece in enumerate(pieces(text_chunks(path), PART_CHARACTERS)):
        text = piece if number else without_front_matter(piece)
        yield Part(COMMENT.sub("", text))


def without_front_matter(text: str) -> str:
    """The text after the front matter, under its title."""
    found = FRONT_MATTER.match(text)
    if found is None:
        return text
    body, title = text[found.end() :], TITLE.search(found.group())
    return f"# {title.group(1)}\n\n{body}" if title and not re.search(r"(?m)^# ", body) else body
