"""Personal data found and replaced consistently; see `domains/pii`. A table's cell is read with its column's name, and
in a form (`| SSN | 123-45-6789 |`) with the label on its left."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from domains.blocks import Block
from domains.cleaning import Change, Cleaned, FileContext
from domains.pii.detect import Span, find, replaced
from domains.pii.names import learn_names

CELL = re.compile(r"(?<!\\)\|")
LABEL_CHARACTERS = 40
ONLY_AFTER_A_LABEL = ("Zyx Qwopl", "Q4771Z88", "4471", "123456789", "6175550143", "01/02/1950")


def clean(blocks: Sequence[Block], context: FileContext) -> Cleaned:
    """Replace personal data in every block; the first pass learns the names that the second finds alone."""
    settings, kept = context.settings, []
    changes: list[Change] = []
    full_names = [learn_names(block.text, context.names) for block in blocks]
    for block, names in zip(blocks, full_names, strict=True):
        if block.kind == "table":
            new = table_text(block.text, context, changes)
        else:
            spans = find(block.text, context.names, settings.keep, names)
            new = replaced(block.text, spans, settings.salt)
            changes += [Change("changed", span.type, *sample(block.text, span, settings.salt)) for span in spans]
        kept.append(block if new == block.text else replace(block, text=new))
    return Cleaned(tuple(kept), tuple(changes))


def sample(text: str, span: Span, salt: str) -> tuple[str, str]:
    """No original, only its type; and the surrogate."""
    return f"[{span.type}]", replaced(text[span.start : span.end], [Span(0, span.end - span.start, span.type)], salt)


def table_text(text: str, context: FileContext, changes: list[Change]) -> str:
    """A table with its personal data replaced cell by cell, also in its first row, which a form has no names in; what
    was replaced is added to `changes`."""
    rows = [CELL.split(line) for line in text.split("\n")]
    header, form = [label_of(cell) for cell in rows[0]], is_form(rows)
    lines = []
    for number, cells in enumerate(rows):
        columns = header if number else []
        labels = labels_left(cells) if form else []
        cues = [
            (labels[n] if n < len(labels) else "") or (columns[n] if n < len(columns) else "")
            for n in range(len(cells))
        ]
        lines.append("|".join(cell_text(cell, cue, context, changes) for cell, cue in zip(cells, cues, strict=True)))
    return "\n".join(lines)


def is_form(rows: Sequence[Sequence[str]]) -> bool:
    """Whether rows begin with labels: the first does, and another unless there is only the one."""
    first = [label_of(next((cell for cell in cells if label_of(cell)), "")) for cells in rows]
    found = [is_label(cell) for cell in first if any(c.isalnum() for c in cell)]
    return bool(found) and found[0] and (len(found) == 1 or any(found[1:]))


def labels_left(cells: Sequence[str]) -> list[str]:
    """For each cell of a form's row the nearest label on its left; nothing for a label."""
    label, found = "", []
    for cell in map(label_of, cells):
        found.append("" if is_label(cell) else label)
        label = cell if is_label(cell) else label
    return found


def label_of(cell: str) -> str:
    """A cell as a cue: without emphasis and the colon at its end."""
    return cell.strip(" *_:")


@lru_cache(maxsize=4096)
def is_label(cell: str) -> bool:
    """Whether a cell announces personal data: what says nothing alone is found after it."""
    if not cell or len(cell) > LABEL_CHARACTERS:
        return False
    cue = f"{cell}: "
    return any(span.start >= len(cue) for probe in ONLY_AFTER_A_LABEL for span in find(cue + probe))


def cell_text(cell: str, cue: str, context: FileContext, changes: list[Change]) -> str:
    """One cell, read after its cue."""
    if not any(c.isalnum() for c in cell):
        return cell
    before = f"{cue}: "
    text = before + cell.strip()
    spans = [s for s in find(text, context.names, context.settings.keep) if s.start >= len(before)]
    new = replaced(text, spans, context.settings.salt)
    changes += [Change("changed", span.type, *sample(text, span, context.settings.salt)) for span in spans]
    return cell.replace(cell.strip(), new[len(before) :])
