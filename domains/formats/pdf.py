"""PDF through pdfplumber: lines by font size become headings, ruled tables become Markdown tables, pages stay pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from domains.formats import PAGE_BREAK, Limits, Part, Unreadable, table

EDGE = 0.08
HEADING_RATIO = 1.15
HEADING_CHARACTERS = 120
GAP = 0.6
MAX_WORDS_ON_PAGE = 50_000


@dataclass(frozen=True)
class Line:
    """A line of a page: text, font size in points, whether all of it is bold, vertical place, or a table."""

    text: str
    size: float
    bold: bool
    top: float
    bottom: float
    is_table: bool = False


def read(path: Path, limits: Limits) -> Iterator[Part]:
    """All pages as one part, so that what repeats from page to page can be seen."""
    import pdfplumber
    from pdfminer.pdfdocument import PDFPasswordIncorrect
    from pdfplumber.utils.exceptions import PdfminerException

    try:
        document = pdfplumber.open(path)
    except PdfminerException as error:
        if error.args and isinstance(error.args[0], PDFPasswordIncorrect):
            raise Unreadable("encrypted", "protected by a password: remove it and run again.") from None
        raise
    with document:
        pages = read_pages(document, limits)
    sizes = Counter(round(line.size) for page in pages for line in page for _ in line.text)
    body = sizes.most_common(1)[0][0] if sizes else 0
    levels = heading_levels(pages, body)
    yield Part(PAGE_BREAK.join(page_text(page, body, levels) for page in pages), len(pages))


def read_pages(document: Any, limits: Limits) -> list[list[Line]]:
    """The lines of every page; each page is forgotten by the library when it is read."""
    if len(document.pages) > limits.max_pages:
        raise Unreadable("too_large", f"{len(document.pages):,} pages, the limit is {limits.max_pages:,}.")
    pages, num_characters = [], 0
    for page in document.pages:
        pages.append(page_lines(page))
        page.close()
        num_characters += sum(len(line.text) for line in pages[-1])
        if num_characters > limits.max_characters:
            raise Unreadable("too_large", f"more than {limits.max_characters:,} characters of text.")
    return pages


def page_lines(page: Any) -> list[Line]:
    """Lines in reading order, tables in their place, the margins first and last."""
    words = page.extract_words(extra_attrs=["size", "fontname"], use_text_flow=True)
    if len(words) > MAX_WORDS_ON_PAGE:
        raise Unreadable("too_large", f"page {page.page_number} has {len(words):,} words.")
    tables = [(found.bbox, found.extract()) for found in page.find_tables()] if page.edges else []
    tables = [(box, rows) for box, rows in tables if len(rows) > 1 and max(map(len, rows)) > 1]
    outside = [word for word in words if not any(inside(word, box) for box, _ in tables)]
    lines = [joined(group) for group in grouped(outside)]
    for box, rows in tables:
        place = next((n for n, line in enumerate(lines) if line.top > box[1]), len(lines))
        lines.insert(place, Line(table(rows), 0, False, box[1], box[3], is_table=True))
    return sorted(lines, key=lambda line: zone(line, float(page.height)))


def zone(line: Line, height: float) -> int:
    """0 in the top margin, 2 in the bottom margin, 1 between."""
    if line.is_table:
        return 1
    return 0 if line.bottom < EDGE * height else 2 if line.top > (1 - EDGE) * height else 1


def inside(word: dict[str, Any], box: Sequence[float]) -> bool:
    """Whether the middle of a word lies in a box (x0, top, x1, bottom)."""
    x, y = (word["x0"] + word["x1"]) / 2, (word["top"] + word["bottom"]) / 2
    return bool(box[0] <= x <= box[2] and box[1] <= y <= box[3])


def grouped(words: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Neighbouring words at the same height."""
    group: list[dict[str, Any]] = []
    for word in words:
        if group and abs(word["bottom"] - group[-1]["bottom"]) > 0.5 * min(word["size"], group[-1]["size"]):
            yield group
            group = []
        group.append(word)
    if group:
        yield group


def joined(group: Sequence[dict[str, Any]]) -> Line:
    """Words as one line."""
    return Line(
        text=" ".join(word["text"] for word in group),
        size=max(word["size"] for word in group),
        bold=all("bold" in word["fontname"].lower() for word in group),
        top=min(word["top"] for word in group),
        bottom=max(word["bottom"] for word in group),
    )


def heading_levels(pages: Sequence[Sequence[Line]], body: float) -> dict[int, int]:
    """Font sizes clearly over the body's, as heading levels from the largest on."""
    lines = (line for page in pages for line in page if not line.is_table)
    sizes = sorted({round(x.size) for x in lines if x.size >= HEADING_RATIO * body and is_short(x)}, reverse=True)
    return {size: min(level, 4) for level, size in enumerate(sizes, 1)}


def is_short(line: Line) -> bool:
    """Short enough for a heading, and with letters in it."""
    return len(line.text) <= HEADING_CHARACTERS and sum(c.isalpha() for c in line.text) >= 3


def page_text(lines: Sequence[Line], body: float, levels: dict[int, int]) -> str:
    """Lines as Markdown; a gap, a heading or a table starts a new paragraph."""
    parts: list[str] = []
    previous: Line | None = None
    for line in lines:
        level = level_of(line, body, levels)
        apart = previous is None or previous.is_table or line.is_table or level or level_of(previous, body, levels)
        if apart or previous and is_gap(previous, line):
            parts.append("")
        parts.append("#" * level + " " + line.text if level else line.text)
        previous = line
    return "\n".join(parts).strip("\n")


def is_gap(above: Line, below: Line) -> bool:
    """More than the usual space between two lines, or a jump to another column."""
    space = below.top - above.bottom
    return space > GAP * max(above.size, below.size) or space < -2 * above.size


def level_of(line: Line, body: float, levels: dict[int, int]) -> int:
    """The heading level of a line, 0 for text."""
    if line.is_table or not is_short(line):
        return 0
    if line.size >= HEADING_RATIO * body:
        return levels.get(round(line.size), 0)
    return min(len(levels) + 1, 4) if line.bold and len(line.text) <= 80 and not line.text.endswith((".", ",")) else 0
