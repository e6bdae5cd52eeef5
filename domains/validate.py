"""Checks on a domain or a JSONL file: every bad row with line, field, reason and fix; then files that nothing reads
and what splits would leak."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from domains.domain import PARSERS, Domain
from domains.errors import UserError, unknown_name
from domains.example import SPLITS, Example, Preference
from domains.near_duplicates import near_duplicates
from domains.readers import Problem, Reading, RowError, parse_object, read_jsonl, rows
from domains.row_formats import format_of
from domains.row_source import is_row_source
from domains.strays import strays
from domains.tool_calls import RESPONSE_OPEN
from domains.tool_rows import parser_beside
from domains.training_rows import read_training_rows
from domains.votes import is_rating, parse_rating

OWN_FORMATS = ("preference", "prompt_completion", "messages")


@dataclass(frozen=True)
class Validation:
    """The outcome for one domain or file: row counts by file, problems (must be fixed), warnings (worth a look),
    and the format of a file that is not one of a domain's own."""

    counts: dict[str, int]
    problems: tuple[Problem, ...]
    warnings: tuple[str, ...] = ()
    format: str = ""

    @property
    def ok(self) -> bool:
        """No problem found."""
        return not self.problems


def validate(target: str, row_format: str = "") -> Validation:
    """Validate a domain by name or folder, or the rows of a file or a hub data set in any known format."""
    if is_row_source(target):
        return validate_rows(target, row_format)
    if row_format:
        raise UserError(f"--format is for files of rows, and {target} is none. Leave it out, or give a file.")
    return validate_domain(Domain.load(target))


def validate_rows(target: str, row_format: str = "") -> Validation:
    """Validate the rows of one source; a file with the name of a domain's file is read as this."""
    path = Path(target)
    parser = None if row_format else own_parser(target)
    if parser is not None:
        reading: Reading[Any] = read_jsonl(path, parser)
        return Validation({path.name: len(reading.records)}, reading.problems)
    found = read_training_rows(target, row_format)
    return Validation({path.name: len(found.reading.records)}, found.reading.problems, found.notes, found.format)


def own_parser(target: str) -> Callable[[dict[str, Any]], Any] | None:
    """The parser of a file of a domain: by its name, unless its rows are of a foreign format; routing rows and thumbs
    of the chat page by keys."""
    if not target.endswith(".jsonl"):
        return None
    for _, line in rows(Path(target)):
        try:
            row = parse_object(line)
        except RowError:
            continue
        if is_rating(row):
            return parse_rating
        named = PARSERS.get(Path(target).name)
        if named is not None and format_of(row) in {None, *OWN_FORMATS}:
            return parser_beside(Path(target), named)
        if "label" in row and "text" in row and format_of(row) is None:
            return PARSERS["routing.jsonl"]
        return None
    raise UserError(
        f"{target} has no readable row. Give JSONL rows with prompt and completion, or prompt, chosen, rejected."
    )


def validate_domain(domain: Domain) -> Validation:
    """Validate every file of a domain, its labels, and overlap between splits."""
    readings = {name: domain.reading(name) for name in PARSERS if (domain.folder / name).exists()}
    problems = [problem for reading in readings.values() for problem in reading.problems]
    problems += [p for name, reading in readings.items() for p in label_problems(domain, name, reading)]
    counts = {name: len(reading.records) for name, reading in readings.items()}
    counts["documents"] = len(domain.documents)
    unread = tuple(strays(domain.folder))
    if not readings and not domain.documents:
        raise UserError(
            " ".join([f"{domain.folder} holds neither rows nor documents. Add JSONL files or documents/*.md.", *unread])
        )
    return Validation(counts, tuple(problems), (*unread, *leaks(domain, readings)))


def label_problems(domain: Domain, name: str, reading: Reading[Any]) -> Iterator[Problem]:
    """Labels that domain.toml does not list."""
    allowed = {"classification.jsonl": set(domain.labels), "routing.jsonl": {*domain.experts, "general"}}.get(name)
    for record, line in zip(reading.records, reading.lines, strict=True):
        label = record.completion if isinstance(record, Example) else getattr(record, "label", None)
        if allowed and label not in allowed:
            error = unknown_name("label", str(label), allowed)
            yield Problem(name, line, "label", f"unknown label '{label}'.", str(error))


def leaks(domain: Domain, readings: dict[str, Reading[Any]]) -> Iterator[str]:
    """Near-duplicate texts that lie in different splits."""
    for name, reading in readings.items():
        task = name.removesuffix(".jsonl")
        texts = {r.id: text_of(r) for r in reading.records if text_of(r)}
        for pair in near_duplicates(texts):
            a, b = domain.split(pair.first, task), domain.split(pair.second, task)
            if a != b:
                share = f"{pair.similarity:.0%} of their shingles"
                yield f"{name}: {pair.first} ({a}) and {pair.second} ({b}) share {share}."


def text_of(record: object) -> str:
    """The text by which two records of a file are compared."""
    if isinstance(record, Example | Preference):
        spoken = [turn.content for turn in record.prompt if not turn.content.startswith(RESPONSE_OPEN)]
        return spoken[-1] if record.prompt[-1].content in spoken else " ".join(spoken[1:])
    return str(getattr(record, "text", ""))


def split_counts(domain: Domain) -> dict[str, dict[str, int]]:
    """Rows per file and split."""
    table: dict[str, dict[str, int]] = {}
    for name in PARSERS:
        task = name.removesuffix(".jsonl")
        if task not in ("safety", "probes") and (domain.folder / name).exists():
            splits = [domain.split(r.id, task) for r in domain.records(name)]
            table[task] = {s: splits.count(s) for s in SPLITS}
    table["documents"] = {s: len(domain.sections(s)) for s in SPLITS}
    return table
