"""Personal data found and replaced consistently; see `domains/pii`. A table's cell is read with its column's name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from domains.blocks import Block
from domains.cleaning import Change, Cleaned, FileContext
from domains.pii.detect import Span, find, replaced
from domains.pii.names import learn_names

CELL = re.compile(r"(?<!\\)\|")


def clean(blocks: Sequence[Block], context: FileContext) -> Cleaned:
    """Replace personal data in every block; the first pass learns the names that the second finds alone."""
    settings, changes, kept = context.settings, [], []
    full_names = [learn_names(block.text, context.names) for block in blocks]
    for block, names in zip(blocks, full_names, strict=True):
        text = table_text(block.text, context) if block.kind == "table" else block.text
        spans = find(text, context.names, settings.keep, names) if block.kind != "table" else []
        new = replaced(text, spans, settings.salt)
        kept.append(block if new == block.text else replace(block, text=new))
        changes += [Change("changed", span.type, *sample(text, span, settings.salt)) for span in spans]
        if block.kind == "table" and new != block.text:
            changes += [Change("changed", "in a table", "", new)]
    return Cleaned(tuple(kept), tuple(changes))


def sample(text: str, span: Span, salt: str) -> tuple[str, str]:
    """No original, only its type; and the surrogate."""
    return f"[{span.type}]", replaced(text[span.start : span.end], [Span(0, span.end - span.start, span.type)], salt)


def table_text(text: str, context: FileContext) -> str:
    """A table with its personal data replaced cell by cell."""
    lines = text.split("\n")
    header = [cell.strip() for cell in CELL.split(lines[0])]
    return "\n".join([lines[0], *(row_text(line, header, context) for line in lines[1:])])


def row_text(line: str, header: Sequence[str], context: FileContext) -> str:
    """One row."""
    cells = CELL.split(line)
    names = [*header, *[""] * (len(cells) - len(header))]
    return "|".join(cell_text(cell, name, context) for cell, name in zip(cells, names, strict=False))


def cell_text(cell: str, name: str, context: FileContext) -> str:
    """One cell: the column's name stands before it as a cue."""
    if not any(c.isalnum() for c in cell):
        return cell
    cue = f"{name}: "
    text = cue + cell.strip()
    spans = [s for s in find(text, context.names, context.settings.keep) if s.start >= len(cue)]
    new = replaced(text, spans, context.settings.salt)
    return cell.replace(cell.strip(), new[len(cue) :])
