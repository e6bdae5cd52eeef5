"""JSON lines: the longest text of each object is its body, the other fields are named; bad lines are counted."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from domains.encodings import encoding_of
from domains.formats import Limits, Part, Unreadable
from domains.formats.csv import ended

ROWS_PER_PART = 1_000
BODY_CHARACTERS = 80
MAX_LINE_CHARACTERS = 5_000_000


def read(path: Path, limits: Limits) -> Iterator[Part]:
    """Objects as text, in parts; the last part notes the lines that could not be used."""
    rows: list[str] = []
    bad: list[int] = []
    num_good = 0
    with path.open(encoding=encoding_of(path), errors="replace") as handle:
        number = 0
        while line := handle.readline(MAX_LINE_CHARACTERS):
            number += 1
            if not line.strip():
                continue
            text = object_text(line)
            num_good += text is not None
            (bad if text is None else rows).append(number if text is None else text)  # type: ignore[arg-type]
            if len(rows) == ROWS_PER_PART:
                yield Part("\n\n".join(rows), rows=True)
                rows = []
    if not num_good and bad:
        raise Unreadable("corrupt", f"none of its {len(bad)} lines is a JSON object.")
    note = (f"{len(bad)} lines are not JSON objects, the first: line {bad[0]}.",) if bad else ()
    yield Part("\n\n".join(rows), rows=True, notes=note)


def object_text(line: str) -> str | None:
    """One object as text; None when the line is not a JSON object."""
    try:
        value = json.loads(line)
    except (json.JSONDecodeError, RecursionError):
        return None
    return row_text(value) if isinstance(value, dict) else None


def row_text(row: Mapping[str, Any]) -> str:
    """The fields as `name: value`, then the body as its own paragraphs."""
    texts = {key: plain(value) for key, value in row.items()}
    body = max(texts, key=lambda key: len(texts[key]), default="")
    has_body = len(texts.get(body, "")) >= BODY_CHARACTERS
    fields = [(key, text) for key, text in texts.items() if text.strip() and not (has_body and key == body)]
    named = "; ".join(f"{key}: {' '.join(text.split())}" for key, text in fields)
    return "\n\n".join(part for part in (named and ended(named), texts[body].strip() if has_body else "") if part)


def plain(value: Any) -> str:
    """A JSON value as text; messages as `role: content`."""
    if value is None or isinstance(value, bool | int | float | str):
        return "" if value is None else str(value)
    if isinstance(value, list) and value and all(isinstance(turn, dict) and "content" in turn for turn in value):
        return "\n\n".join(f"{turn.get('role', 'text')}: {turn['content']}" for turn in value)
    return json.dumps(value, ensure_ascii=False)
