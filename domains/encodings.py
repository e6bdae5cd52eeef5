"""The encoding of a text file, and its text in pieces, whatever its length."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path

from charset_normalizer import from_bytes

from domains.formats import Unreadable

CHUNK_BYTES = 1 << 18
SAMPLE_BYTES = 1 << 16
LEGACY = ["cp1252", "cp1251", "koi8_r", "cp1253", "shift_jis", "euc_jp", "gb18030", "big5", "euc_kr"]
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def encoding_of(path: Path) -> str:
    """UTF-8 when the whole file is; otherwise by byte-order mark or by the look of the bytes around the first that is
    not. Raises Unreadable when the file is binary."""
    with path.open("rb") as handle:
        head = handle.read(SAMPLE_BYTES)
    for mark, name in MARKS:
        if head.startswith(mark):
            return name
    if b"\0" in head:
        return wide_encoding(head)
    offset = first_bad_byte(path)
    if offset is None:
        return "utf-8"
    with path.open("rb") as handle:
        handle.seek(max(0, offset - SAMPLE_BYTES // 2))
        best = from_bytes(handle.read(SAMPLE_BYTES), cp_isolation=LEGACY).best()
    return "cp1252" if best is None else best.encoding


def wide_encoding(head: bytes) -> str:
    """UTF-16 without a mark has zero bytes in every other place; anything else with zero bytes is no text."""
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if max(even, odd) > 0.6 * len(head) / 2 > 5 * min(even, odd):
        return "utf-16-le" if odd > even else "utf-16-be"
    raise Unreadable("corrupt", "binary data, not text.")


def first_bad_byte(path: Path) -> int | None:
    """Where a file stops being UTF-8, None when it does not."""
    decoder, position = codecs.getincrementaldecoder("utf-8")(), 0
    with path.open("rb") as handle:
        while chunk := handle.read(CHUNK_BYTES):
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError as error:
                return max(0, position + error.start)
            position += len(chunk)
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return max(0, position - 1)
    return None


def text_chunks(path: Path, encoding: str | None = None) -> Iterator[str]:
    """The text in chunks with line ends as `\\n`; a byte that does not fit the encoding becomes U+FFFD."""
    with path.open(encoding=encoding or encoding_of(path), errors="replace") as handle:
        while chunk := handle.read(CHUNK_BYTES):
            yield chunk


def whole_text(path: Path) -> str:
    """All of the text; for formats whose files are read whole."""
    return "".join(text_chunks(path))


def pieces(chunks: Iterator[str], size: int) -> Iterator[str]:
    """Chunks joined and cut again at blank lines into pieces of about `size` characters, at most twice that."""
    rest = ""
    for chunk in chunks:
        rest += chunk
        while len(rest) >= 2 * size:
            cut = cut_point(rest, size)
            yield rest[:cut]
            rest = rest[cut:]
    if rest:
        yield rest


def cut_point(text: str, size: int) -> int:
    """The last blank line, else line end, else space within twice `size`, but not before `size` // 2."""
    for mark in ("\f", "\n\n", "\n", " "):
        place = text.rfind(mark, size // 2, 2 * size)
        if place > 0:
            return place + len(mark)
    return 2 * size
