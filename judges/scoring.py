"""Verdicts for rows of a JSONL file {question, answer, reference?}: what `expertsmith score` runs."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from domains.domain import Domain
from domains.errors import UserError, unknown_name
from domains.example import last_user_turn
from domains.plugins import load_plugin
from domains.readers import Problem, RowError, messages, parse_object, rows, shown
from domains.tool_calls import Function
from domains.tool_rows import parse_function
from judges.failures import FAILURE, Failures, failures
from judges.judging import Judged, attempt, needs_all_rows
from judges.metrics import Row as ReportRow
from judges.verdict import Answered, Judge, Verdict

PROBLEMS_SHOWN = 10
ARM = "answers"

Row = dict[str, Any]


class BadRows(UserError):
    """Rows that cannot be judged; `problems` has all of them, the text the first ten."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        more = f" ... and {len(problems) - PROBLEMS_SHOWN} more." if len(problems) > PROBLEMS_SHOWN else ""
        listed = " | ".join(str(problem) for problem in problems[:PROBLEMS_SHOWN])
        super().__init__(f"{len(problems)} bad rows, so nothing was scored. {listed}{more}")
        self.problems = tuple(problems)


@dataclass(frozen=True)
class JudgeSummary:
    """Over the rows of one judge: `n` scored rows and their mean (None without any), and the unscored rows."""

    n: int
    unscored: int
    mean: float | None


@dataclass(frozen=True)
class Summary:
    """What `score_file` did, and which rows failed, counted as in a report."""

    out: str
    num_rows: int
    judges: dict[str, JudgeSummary]
    failures: Failures

    def as_dict(self) -> dict[str, Any]:
        """The machine-readable form."""
        return asdict(self)


def load_judges(
    names: Sequence[str], domain: Domain | None, settings: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, Judge]:
    """The judges by name, with the settings of a domain and those given by a judge's name."""
    if not names:
        raise UserError("No judge was given. Name at least one; 'expertsmith list' shows them.")
    for name, given in (settings or {}).items():
        if name not in names:
            raise unknown_name("judge with settings", name, names)
        if not isinstance(given, Mapping):
            raise UserError(f"The settings of the judge {name} are {given!r}; write {name}.KEY=VALUE.")
    judges = {name: load_plugin("judges.scorers", name, "judge").Judge.for_domain(domain) for name in names}
    return {name: with_settings(name, judge, (settings or {}).get(name, {})) for name, judge in judges.items()}


def with_settings(name: str, judge: Any, settings: Mapping[str, Any]) -> Any:
    """A judge (a dataclass) with some of its fields changed; a wrong name or type is a UserError."""
    kinds = get_type_hints(type(judge))
    checked: dict[str, Any] = {}
    for key, value in settings.items():
        if key not in kinds:
            raise unknown_name(f"setting of the judge {name}", key, kinds)
        try:
            checked[key] = TypeAdapter(kinds[key]).validate_python(value)
        except ValidationError as error:
            problem = error.errors()[0]["msg"]
            raise UserError(f"{name}.{key} = {value!r}: {problem}. Give another value.") from None
    return replace(judge, **checked)


def score_rows(rows: Sequence[Answered], judges: Mapping[str, Judge]) -> list[dict[str, Verdict]]:
    """Every judge's verdict on every row, in the order of the rows; of one that failed the parts say why."""
    columns = {name: kept(attempt(judge, rows, not needs_all_rows(judge))) for name, judge in judges.items()}
    table: list[dict[str, Verdict]] = [{} for _ in rows]
    for name, verdicts in columns.items():
        for cell, verdict in zip(table, verdicts, strict=True):
            cell[name] = verdict
    return table


def kept(judged: Sequence[Judged]) -> list[Verdict]:
    """The verdicts, with the reason where a judge failed."""
    return [
        replace(each.verdict, parts=each.verdict.parts | {FAILURE: each.failure}) if each.failure else each.verdict
        for each in judged
    ]


def score_file(
    path: str | Path,
    judge_names: Sequence[str],
    out: str | Path,
    domain: Domain | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
) -> Summary:
    """Judge the rows of a file and write them with their verdicts; a bad row stops it before anything is judged."""
    judges = load_judges(judge_names, domain, settings)
    target = writable(Path(out), Path(path))
    given = read_rows(Path(path))
    table = score_rows([answered(row) for row in given], judges)
    write_rows([with_verdicts(row, verdicts) for row, verdicts in zip(given, table, strict=True)], target)
    summaries = {name: summarize([verdicts[name] for verdicts in table]) for name in judges}
    return Summary(str(out), len(given), summaries, failures(report_rows(table)))


def report_rows(table: Sequence[Mapping[str, Verdict]]) -> list[ReportRow]:
    """The verdicts as the rows of a report with one arm, whose failures are known by the same rule."""
    return [
        ReportRow(ARM, name, str(place), found.value, {"why": found.explanation} | found.parts)
        for place, verdicts in enumerate(table)
        for name, found in verdicts.items()
    ]


def summarize(verdicts: Sequence[Verdict]) -> JudgeSummary:
    """Counts, and the mean of what was scored."""
    values = [verdict.value for verdict in verdicts if verdict.value is not None]
    return JudgeSummary(len(values), len(verdicts) - len(values), sum(values) / len(values) if values else None)


def read_rows(path: Path) -> list[Row]:
    """All rows of a file, each checked; ids may repeat (several answers to one question)."""
    found: list[Row] = []
    problems: list[Problem] = []
    for number, line in rows(path):
        try:
            row = parse_object(line)
            answered(row)
        except RowError as error:
            problems.append(Problem(path.name, number, error.field, error.reason, error.fix))
        else:
            found.append(row)
    if problems:
        raise BadRows(problems)
    if not found:
        raise UserError(f'{path} has no rows. Write one {{"question": ..., "answer": ...}} a line.')
    return found


def answered(row: Row) -> Answered:
    """One row as judges take it; a field that cannot be used is a RowError."""
    check_encodable(row)
    if not isinstance(row.get("verdicts", {}), dict):
        raise RowError("verdicts", f"must be an object, got {shown(row['verdicts'])}.", "remove it.")
    return Answered(
        question=question(row.get("question")),
        answer=answer(row),
        reference=optional_text(row, "reference"),
        checks=checks(row.get("checks")),
        finished=finished(row.get("finished")),
        functions=functions(row.get("functions")),
    )


def check_encodable(row: Row) -> None:
    """Refuse half of a surrogate pair, which no file and no tokenizer takes."""
    for name, value in row.items():
        try:
            json.dumps({name: value}, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise RowError(name, "holds half of a surrogate pair.", "replace the broken character.") from None


def question(value: Any) -> str:
    """A text, the last user turn of a list of messages, or nothing."""
    if value is None or isinstance(value, str):
        return value or ""
    return last_user_turn(messages(value, "question"))


def answer(row: Row) -> str:
    """A text, which may be empty but not missing."""
    if row.get("answer") is None:
        raise RowError("answer", "missing.", 'add "answer" with a text ("" for an empty answer).')
    return optional_text(row, "answer") or ""


def optional_text(row: Row, name: str) -> str | None:
    """A text or nothing."""
    value = row.get(name)
    if value is not None and not isinstance(value, str):
        raise RowError(name, f"must be a text, got {shown(value)}.", f"write the {name} as a string.")
    return value


def checks(value: Any) -> tuple[dict[str, Any], ...]:
    """A list of checks (see `judges/scorers/instructions.py`) or nothing."""
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(check, dict) for check in value):
        raise RowError("checks", f"must be a list of objects, got {shown(value)}.", 'write [{"type": ...}, ...].')
    return tuple(value)


def finished(value: Any) -> bool | None:
    """Whether the answer came to its end, or nothing when unknown."""
    if value is not None and not isinstance(value, bool):
        raise RowError("finished", f"must be true or false, got {shown(value)}.", "write true, false or nothing.")
    return value


def functions(value: Any) -> tuple[Function, ...]:
    """The declared functions of a row, as objects."""
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise RowError(
            "functions", f"must be a list of declarations, got {shown(value)}.", "give objects, or remove it."
        )
    return tuple(parse_function(item) for item in value)


def with_verdicts(row: Row, verdicts: Mapping[str, Verdict]) -> Row:
    """The row with the verdicts added to those that it has."""
    return row | {"verdicts": row.get("verdicts", {}) | {name: v.as_dict() for name, v in verdicts.items()}}


def writable(out: Path, source: Path) -> Path:
    """A path that can be written, its folder made; known before the judges spend their time."""
    if out.is_dir():
        raise UserError(f"{out} is a folder. Give the path of a JSONL file to write.")
    if out.exists() and not out.is_file():
        raise UserError(f"{out} is no ordinary file. Give the path of a JSONL file to write.")
    if out.resolve() == source.resolve():
        raise UserError(f"{out} is the input. Give another path to write, so that the input stays as it is.")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{out} cannot be written ({error.strerror}). Give another path.") from None
    if not os.access(out.parent, os.W_OK):
        raise UserError(f"{out.parent} is not writable. Give another path.")
    return out


def write_rows(given: Sequence[Row], target: Path) -> None:
    """Write JSONL that appears all at once."""
    handle, scratch = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in given)
        Path(scratch).chmod(0o644)
        Path(scratch).replace(target)
    finally:
        Path(scratch).unlink(missing_ok=True)
