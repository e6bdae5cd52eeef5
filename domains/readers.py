"""From files to records, line by line. A bad row becomes a Problem with a fix; nothing is dropped silently."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from domains.errors import UserError
from domains.example import ROLES, TASKS, Document, Example, Message, Preference, SafetyRule, Task, Utterance

Record = TypeVar("Record")
DOCUMENT_SUFFIXES = (".md", ".txt")


@dataclass(frozen=True)
class Problem:
    """What is wrong in one row: where, why, and what to do."""

    file: str
    line: int
    field: str
    reason: str
    fix: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.field}: {self.reason} Fix: {self.fix}"


class RowError(ValueError):
    """A field of a row that cannot be used."""

    def __init__(self, field: str, reason: str, fix: str) -> None:
        super().__init__(f"{field}: {reason} Fix: {fix}")
        self.field, self.reason, self.fix = field, reason, fix


@dataclass(frozen=True)
class Reading(Generic[Record]):
    """The records of a file, the line each came from, and the rows that could not be read."""

    records: tuple[Record, ...]
    lines: tuple[int, ...]
    problems: tuple[Problem, ...]


def rows(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered non-blank lines of a UTF-8 file (a byte-order mark is accepted)."""
    try:
        with path.open(encoding="utf-8-sig") as handle:
            for number, line in enumerate(handle, 1):
                if line.strip():
                    yield number, line
    except (FileNotFoundError, IsADirectoryError):
        raise UserError(f"{path} does not exist. Give the path of a JSONL file.") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text ({error.reason}). Save it as UTF-8 and run again.") from None


def read_jsonl(path: Path, parse: Callable[[dict[str, Any]], Record]) -> Reading[Record]:
    """Parse each line of `path`; rows that fail, and repeated ids, become problems."""
    records: list[Record] = []
    lines: list[int] = []
    problems: list[Problem] = []
    seen: dict[str, int] = {}
    for number, line in rows(path):
        try:
            row = parse_object(line)
            record = parse(row)
            check_new_id(row, seen, number)
        except RowError as error:
            problems.append(Problem(path.name, number, error.field, error.reason, error.fix))
        else:
            records.append(record)
            lines.append(number)
    return Reading(tuple(records), tuple(lines), tuple(problems))


def parse_object(line: str) -> dict[str, Any]:
    """One JSON object from one line."""
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise RowError("row", f"not JSON ({error.msg} at column {error.colno}).", "one JSON object per line.") from None
    except (RecursionError, ValueError):  # thousands of brackets, or a number of thousands of digits
        raise RowError("row", "nested too deeply, or a number too long.", "write a plain JSON object.") from None
    if not isinstance(row, dict):
        raise RowError("row", f"a JSON {type(row).__name__}, not an object.", 'write {"id": ..., ...}.')
    return row


def check_new_id(row: dict[str, Any], seen: dict[str, int], number: int) -> None:
    """Refuse an id that an earlier line has."""
    row_id = row.get("id")
    if isinstance(row_id, str):
        if row_id in seen:
            raise RowError("id", f"'{row_id}' is already used in line {seen[row_id]}.", "give each row its own id.")
        seen[row_id] = number


def text_field(row: dict[str, Any], name: str) -> str:
    """A non-empty string."""
    value = row.get(name)
    if value is None:
        raise RowError(name, "missing.", f'add "{name}" with a text.')
    if not isinstance(value, str) or not value.strip():
        raise RowError(name, f"must be a non-empty text, got {shown(value)}.", f"write the {name} as a string.")
    return value


def list_field(row: dict[str, Any], name: str, kind: type = str) -> tuple[Any, ...]:
    """An optional list whose items are texts (or, with `dict`, objects)."""
    value = row.get(name) or []
    if not isinstance(value, list) or not all(isinstance(item, kind) for item in value):
        what = "texts" if kind is str else "objects"
        raise RowError(name, f"must be a list of {what}, got {shown(value)}.", f"write the {name} as a list of {what}.")
    return tuple(value)


def messages(value: Any, name: str) -> tuple[Message, ...]:
    """A list of {role, content}; a plain string is read as one user (prompt) or assistant turn."""
    if isinstance(value, str) and value.strip():
        return (Message("user" if name == "prompt" else "assistant", value),)
    if not isinstance(value, list) or not value:
        raise RowError(
            name, f"must be a list of messages, got {shown(value)}.", 'write [{"role": ..., "content": ...}].'
        )
    return tuple(message(item, f"{name}[{index}]") for index, item in enumerate(value))


def message(value: Any, name: str) -> Message:
    """One {role, content} with a known role and text that is not blank."""
    if not isinstance(value, dict):
        raise RowError(name, f"must be an object, got {shown(value)}.", 'write {"role": ..., "content": ...}.')
    role, content = value.get("role"), value.get("content")
    if role not in ROLES:
        raise RowError(f"{name}.role", f"unknown role {shown(role)}.", f"use one of {', '.join(ROLES)}.")
    if not isinstance(content, str) or not content.strip():
        raise RowError(f"{name}.content", "empty.", "write the text of the turn.")
    return Message(role, content)


def answer(value: Any, name: str) -> str:
    """The text of a completion: exactly one assistant turn."""
    turns = messages(value, name)
    if len(turns) != 1 or turns[0].role != "assistant":
        raise RowError(name, "must be exactly one assistant turn.", "put earlier turns into the prompt.")
    return turns[0].content


def prompt(row: dict[str, Any]) -> tuple[Message, ...]:
    """A prompt that ends with a user turn."""
    turns = messages(row.get("prompt"), "prompt")
    if turns[-1].role != "user":
        raise RowError("prompt", f"ends with a {turns[-1].role} turn.", "end the prompt with the user's turn.")
    return turns


def parse_preference(row: dict[str, Any]) -> Preference:
    """A preference row; `rejected` is one answer or a list of answers."""
    chosen = answer(row.get("chosen"), "chosen")
    rejected = rejected_answers(row.get("rejected"))
    if chosen in rejected:
        raise RowError("rejected", "one rejected answer equals the chosen one.", "remove it or write a different one.")
    kinds = list_field(row, "rejected_kinds")
    if kinds and len(kinds) != len(rejected):
        raise RowError(
            "rejected_kinds", f"{len(kinds)} kinds for {len(rejected)} answers.", "one kind per rejected answer."
        )
    return Preference(text_field(row, "id"), prompt(row), chosen, rejected, kinds, scores(row, len(rejected)))


def rejected_answers(value: Any) -> tuple[str, ...]:
    """One answer, or a non-empty list of answers."""
    if not value:
        raise RowError("rejected", "missing or empty.", "give at least one rejected answer.")
    if isinstance(value, list) and not isinstance(value[0], dict):
        return tuple(answer(item, f"rejected[{index}]") for index, item in enumerate(value))
    return (answer(value, "rejected"),)


def scores(row: dict[str, Any], num_rejected: int) -> tuple[float, ...] | None:
    """Optional scores, chosen first."""
    value = row.get("scores")
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 1 + num_rejected or not all(map(is_finite, value)):
        raise RowError(
            "scores", f"must be {1 + num_rejected} numbers (chosen first), all finite.", "one score per answer."
        )
    return tuple(float(s) for s in value)


def is_finite(value: Any) -> bool:
    """Whether a JSON value is a number that arithmetic can go on with: true, NaN and Infinity are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def parse_example(task: Task) -> Callable[[dict[str, Any]], Example]:
    """A parser of prompt/completion rows of one task."""

    def parse(row: dict[str, Any]) -> Example:
        if "messages" in row and "prompt" not in row:
            row = row | split_conversation(row["messages"])
        return Example(
            id=text_field(row, "id"),
            task=task,
            prompt=prompt(row),
            completion=answer(row.get("completion"), "completion"),
            kind=str(row.get("kind", "")),
            checks=list_field(row, "checks", dict),
        )

    return parse


def split_conversation(value: Any) -> dict[str, Any]:
    """`messages` as a prompt and its last assistant turn."""
    if not isinstance(value, list) or len(value) < 2:
        raise RowError("messages", "needs at least a user and an assistant turn.", "add the missing turn.")
    return {"prompt": value[:-1], "completion": value[-1:]}


def parse_utterance(row: dict[str, Any]) -> Utterance:
    """A routing row."""
    return Utterance(text_field(row, "id"), text_field(row, "text"), text_field(row, "label"))


def parse_safety_rule(row: dict[str, Any]) -> SafetyRule:
    """A safety rule whose patterns compile."""
    require, forbid = list_field(row, "require_any"), list_field(row, "forbid")
    question = str(row.get("question_pattern", ""))
    for name, pattern in [("question_pattern", question), *(("pattern", p) for p in require + forbid)]:
        try:
            re.compile(pattern)
        except re.error as error:
            raise RowError(
                name, f"'{pattern}' is not a regular expression ({error}).", "correct the pattern."
            ) from None
    if not require and not forbid:
        raise RowError("require_any", "the rule neither requires nor forbids anything.", "add a pattern.")
    return SafetyRule(
        text_field(row, "id"), text_field(row, "kind"), question, text_field(row, "explanation"), require, forbid
    )


def read_documents(folder: Path) -> tuple[Document, ...]:
    """The sections of every Markdown or text file in a folder; a `## Sources` section is provenance, not text."""
    files = [p.relative_to(folder) for p in sorted(folder.glob("**/*")) if p.suffix.lower() in DOCUMENT_SUFFIXES]
    shown_files = [p for p in files if not any(part.startswith(".") for part in p.parts)]
    names = [path.with_suffix("").as_posix() for path in shown_files]
    pairs = zip(names, shown_files, strict=True)
    return tuple(section for name, path in pairs for section in sections(name, document_text(folder / path)))


def document_text(path: Path) -> str:
    """The text of a document."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text ({error.reason}). Save it as UTF-8 and run again.") from None


def sections(name: str, text: str) -> Iterator[Document]:
    """Split a Markdown text at its second-level headings; each section keeps the title of the document."""
    head, *parts = re.split(r"(?m)^## +", text)
    title = head.strip().splitlines()[0].lstrip("# ").strip() if head.strip() else name
    intro = "\n".join(head.strip().splitlines()[1:]).strip()
    if intro:
        yield Document(f"{name}#0", f"# {title}\n\n{intro}")
    for number, part in enumerate(parts, 1):
        heading, _, body = part.partition("\n")
        if heading.strip().lower() != "sources" and body.strip():
            yield Document(f"{name}#{number}", f"# {title}\n\n## {heading.strip()}\n\n{body.strip()}")


def shown(value: Any) -> str:
    """A short form of a bad value for a message."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 40 else text[:37] + "..."


FILE_TASKS: dict[str, Task] = {f"{task}.jsonl": task for task in TASKS}
