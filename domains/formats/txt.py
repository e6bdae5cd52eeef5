"""Plain text in any encoding, in pieces cut at blank lines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from domains.encodings import pieces, text_chunks
from domains.formats import PART_CHARACTERS, Limits, Part


def read(path: Path, limits: Limits) -> Iterator[Part]:
    """The text as it is; form feeds count as page breaks."""
    for piece in pieces(text_chunks(path), PART_CHARACTERS):
        yield Part(piece, piece.count("\f") + 1 if "\f" in piece else 0)
