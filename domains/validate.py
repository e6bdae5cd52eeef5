"""Checks on a domain or a JSONL file: every bad row with line, field, reason and fix; then what splits would leak."""

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


@dataclass(frozen=True)
class Validation:
    """The outcome for one domain or file: row counts by file, problems (must be fixed), warnings (worth a look)."""

    counts: dict[str, int]
    problems: tuple[Problem, ...]
    warnings: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """No problem found."""
        return not self.problems


def validate(target: str) -> Validation:
    """Validate a domain by name or folder, or one JSONL file by path."""
    path = Path(target)
    if path.is_file() or target.endswith(".jsonl"):
        reading = read_jsonl(path, PARSERS.get(path.name) or guess_parser(path))
        return Validation({path.name: len(reading.records)}, reading.problems)
    return validate_domain(Domain.load(target))


def guess_parser(path: Path) -> Callable[[dict[str, Any]], Any]:
    """The parser for a file with a free name, by the keys of its first row."""
    for _, line in rows(path):
        try:
            keys = parse_object(line).keys()
        except RowError:
            continue
        if {"chosen", "rejected"} & keys:
            return PARSERS["preferences.jsonl"]
        if "label" in keys and "text" in keys:
            return PARSERS["routing.jsonl"]
        return PARSERS["questions.jsonl"]
    raise UserError(
        f"{path} has no readable row. Give JSONL rows with prompt and completion, or prompt, chosen, rejected."
    )


def validate_domain(domain: Domain) -> Validation:
    """Validate every file of a domain, its labels, and overlap between splits."""
    readings = {name: domain.reading(name) for name in PARSERS if (domain.folder / name).exists()}
    problems = [problem for reading in readings.values() for problem in reading.problems]
    problems += [p for name, reading in readings.items() for p in label_problems(domain, name, reading)]
    counts = {name: len(reading.records) for name, reading in readings.items()}
    counts["documents"] = len(domain.documents)
    if not readings and not domain.documents:
        raise UserError(f"{domain.folder} holds neither rows nor documents. Add JSONL files or documents/*.md.")
    return Validation(counts, tuple(problems), tuple(leaks(domain, readings)))


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
        return record.prompt[-1].content
    return str(getattr(record, "text", ""))


def split_counts(domain: Domain) -> dict[str, dict[str, int]]:
    """Rows per file and split."""
    table: dict[str, dict[str, int]] = {}
    for name in PARSERS:
        task = name.removesuffix(".jsonl")
        if task != "safety" and (domain.folder / name).exists():
            splits = [domain.split(r.id, task) for r in domain.records(name)]
            table[task] = {s: splits.count(s) for s in SPLITS}
    table["documents"] = {s: len(domain.sections(s)) for s in SPLITS}
    return table
