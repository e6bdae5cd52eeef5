"""Training rows of any known format as records: every row is a record or a Problem with a fix, none is dropped.

read_training_rows("answers.parquet").reading.records; write with `write_trl`.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, count, islice
from pathlib import Path
from typing import Any

from domains.atomic import write_text_atomically
from domains.errors import UserError
from domains.example import Example, Message, Preference
from domains.readers import Problem, Reading, RowError, check_new_id, parse_example, parse_preference
from domains.row_formats import format_names, format_of, load_format
from domains.row_source import SourceRow, source_rows
from domains.splits import first_in_split_of

DETECTION_ROWS = 1000
parse_sft = parse_example("instructions")
TrainingRow = Preference | Example


@dataclass(frozen=True)
class TrainingRows:
    """The rows of a source in one format, and what a person should know about them."""

    format: str
    reading: Reading[TrainingRow]
    notes: tuple[str, ...]

    @property
    def num_rows(self) -> int:
        """All rows that were seen, good and bad."""
        return len(self.reading.records) + len(self.reading.problems)


@dataclass
class Collector:
    """Reads the rows of one source; `kind` is that of the first good row, and the others must have it too."""

    file: str
    name: str
    kind: str = ""
    records: list[TrainingRow] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    seen: dict[str, int] = field(default_factory=dict)
    notes: Counter[str] = field(default_factory=Counter)

    def add(self, found: SourceRow) -> None:
        """One row: a record or a problem."""
        try:
            if found.error is not None:
                raise found.error
            record = self.parse(found)
        except RowError as error:
            self.problems.append(Problem(self.file, found.number, error.field, error.reason, error.fix))
        else:
            self.records.append(record)
            self.lines.append(found.number)

    def parse(self, found: SourceRow) -> TrainingRow:
        """The record of a row."""
        row_format = load_format(self.name)
        if not row_format.matches(found.row):
            raise unlike(self.name, found.row)
        refuse_broken_text(found.row)
        row = row_format.to_trl(found.row)
        notes = row.pop("notes", [])
        if isinstance(row.get("id"), int):
            row["id"] = str(row["id"])
        if "id" not in row:
            row["id"] = content_id(row)
            if row["id"] in self.seen:
                reason = f"the same content as line {self.seen[row['id']]}."
                raise RowError("row", reason, "remove one of them, or give each an id.")
        kind = "preference" if "chosen" in row else "prompt/completion"
        record: TrainingRow = parse_preference(row) if kind == "preference" else parse_sft(row)
        if self.kind not in {"", kind}:
            raise RowError("row", f"a {kind} row in a file of {self.kind} rows.", "put it into a file of its own.")
        check_new_id(row, self.seen, found.number)
        self.kind = kind
        ignored = sorted(found.row.keys() - row_format.KEYS)
        self.notes.update([*notes, *(f"column '{key}' is not read" for key in ignored)])
        return record

    def finished(self) -> TrainingRows:
        """What was read."""
        reading = Reading(tuple(self.records), tuple(self.lines), tuple(self.problems))
        notes = tuple(f"{count} rows: {text}." for text, count in self.notes.items())
        return TrainingRows(self.name, reading, notes)


def read_training_rows(target: str, row_format: str = "") -> TrainingRows:
    """The rows of a file or a hub data set; the format is found by keys when it is not named."""
    name = row_format or detect(target)
    load_format(name)
    collector = Collector(Path(target).name, name)
    for found in source_rows(target):
        collector.add(found)
    if not collector.records and not collector.problems:
        raise UserError(f"{target} has no readable row. It is empty.")
    return collector.finished()


def detect(target: str) -> str:
    """The format of the first row that has one; raises UserError when none of the first thousand has."""
    first = [found.row for found in islice(source_rows(target), DETECTION_ROWS) if found.error is None]
    name = next((name for name in map(format_of, first) if name), None)
    if name is None:
        keys = f"Its first row has the keys: {', '.join(sorted(first[0]))}." if first else "Nothing in it is an object."
        raise UserError(
            f"{target} has no readable row of a known format. {keys} "
            f"Formats: {', '.join(format_names())}; for example rows with prompt and completion."
        )
    return name


def unlike(name: str, row: dict[str, Any]) -> RowError:
    """The error for a row that has not the keys of the file's format."""
    other = format_of(row)
    what = f"a row of format {other}" if other else f"keys {', '.join(sorted(row)) or 'none'}"
    needed = ", ".join(sorted(load_format(name).KEYS))
    return RowError("row", f"{what} in a file of format {name}.", f"use some of the keys {needed}.")


def refuse_broken_text(row: dict[str, Any]) -> None:
    """Refuse halves of surrogate pairs, which JSON can hold and UTF-8 cannot."""
    try:
        json.dumps(row, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        raise RowError("row", "holds half of a surrogate pair (\\ud800...).", "write the character as UTF-8.") from None


def content_id(row: dict[str, Any]) -> str:
    """The id of a row that has none: the digest of its content, so that its split never changes."""
    return "row-" + hashlib.sha256(json.dumps(row, sort_keys=True, default=str).encode()).hexdigest()[:16]


def trl_row(record: TrainingRow) -> dict[str, Any]:
    """A record in TRL's conversational form; several rejected answers are a list of conversations."""
    row: dict[str, Any] = {"id": record.id, "prompt": [turn.as_dict() for turn in record.prompt]}
    if isinstance(record, Example):
        optional: dict[str, Any] = {"kind": record.kind, "checks": list(record.checks)}
        return row | {"completion": answer(record.completion)} | {k: v for k, v in optional.items() if v}
    rejected = [answer(text) for text in record.rejected]
    row |= {"chosen": answer(record.chosen), "rejected": rejected[0] if len(rejected) == 1 else rejected}
    if record.rejected_kinds:
        row["rejected_kinds"] = list(record.rejected_kinds)
    return row if record.scores is None else row | {"scores": list(record.scores)}


def one_rejected_each(record: TrainingRow) -> Iterator[TrainingRow]:
    """A preference once per rejected answer, as TRL's own trainers take it; its rows are named `id#1`, `id#2`, ...,
    or `id#1-0`, `id#1-1`, ...: the first that lies in the split of `id`."""
    if isinstance(record, Example) or len(record.rejected) == 1:
        yield record
        return
    for place, text in enumerate(record.rejected):
        scores = None if record.scores is None else (record.scores[0], record.scores[place + 1])
        kinds = record.rejected_kinds[place : place + 1]
        name = f"{record.id}#{place + 1}"
        row_id = first_in_split_of(record.id, chain([name], (f"{name}-{n}" for n in count())))
        yield Preference(row_id, record.prompt, record.chosen, (text,), kinds, scores)


def answer(text: str) -> list[dict[str, str]]:
    """One assistant turn."""
    return [Message("assistant", text).as_dict()]


def write_trl(path: Path, records: Iterable[TrainingRow]) -> None:
    """Records as JSONL in TRL's conversational form, whole or not at all."""
    write_text_atomically(path, "".join(json.dumps(trl_row(each), ensure_ascii=False) + "\n" for each in records))
