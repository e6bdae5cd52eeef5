"""CSV and TSV: each row becomes a line `column: value; column: value.`, so that every value keeps its name."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from domains.encodings import encoding_of
from domains.formats import Limits, Part

SAMPLE_CHARACTERS = 20_000
MAX_CELL_CHARACTERS = 1_000_000
ROWS_PER_PART = 1_000
DELIMITERS = ",;\t|"


def read(path: Path, limits: Limits) -> Iterator[Part]:
    """Rows as text, in parts; the first row names the columns when it can."""
    csv.field_size_limit(MAX_CELL_CHARACTERS)
    with path.open(encoding=encoding_of(path), errors="replace", newline="") as handle:
        delimiter = delimiter_of(handle.read(SAMPLE_CHARACTERS), path)
        handle.seek(0)
        rows = (row for row in csv.reader(handle, delimiter=delimiter) if any(cell.strip() for cell in row))
        first = next(rows, [])
        columns = first if is_header(first) else [f"column {n}" for n in range(1, len(first) + 1)]
        yield from parts(columns, rows if columns is first else chain([first], rows))


def parts(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[Part]:
    """Rows in groups."""
    lines: list[str] = []
    for row in rows:
        lines.append(row_text(columns, row))
        if len(lines) == ROWS_PER_PART:
            yield Part("\n\n".join(lines), rows=True)
            lines = []
    if lines:
        yield Part("\n\n".join(lines), rows=True)


def row_text(columns: Sequence[str], row: Sequence[str]) -> str:
    """One row with the names of its columns; empty cells are left out."""
    names = [*columns, *(f"column {n}" for n in range(len(columns) + 1, len(row) + 1))]
    pairs = [(n.strip(), " ".join(v.split())) for n, v in zip(names, row, strict=False) if v.strip()]
    return ended("; ".join(f"{name}: {value}" for name, value in pairs))


def ended(text: str) -> str:
    """A text with a mark at its end."""
    return text if text.endswith((".", "?", "!")) else text + "."


def delimiter_of(sample: str, path: Path) -> str:
    """The delimiter that splits the first lines most evenly; a tab for TSV."""
    if path.suffix.lower() == ".tsv":
        return "\t"
    lines = [line for line in sample.splitlines() if line.strip()][:20]
    return max(DELIMITERS, key=lambda mark: (min((line.count(mark) for line in lines), default=0), mark == ","))


def is_header(row: Sequence[str]) -> bool:
    """Names: all different, none empty, none a number, none long."""
    names = [cell.strip() for cell in row]
    return len(set(names)) == len(names) and all(
        name and len(name) <= 60 and not any(c.isdigit() for c in name[:1]) for name in names
    )
