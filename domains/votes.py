"""What people prefer, as data: votes from the chat page in HOME/votes, in TRL's conversational formats.

`<domain>.jsonl` has pairs (prompt, chosen, rejected), `<domain>.unpaired.jsonl` single answers with a label, and
`<domain>.ties.jsonl` pairs that were found about the same. Lines are only ever added, whole, under one lock, and an id
is never added twice. Formats: https://huggingface.co/docs/trl/dataset_formats.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from domains import readers
from domains.domain import GENERAL
from domains.errors import UserError
from domains.example import Message
from domains.readers import RowError, parse_object, text_field

FOLDER, SOURCE = "votes", "vote"
LOCK_SECONDS = 20.0

Row = dict[str, Any]


@dataclass(frozen=True)
class Candidate:
    """An answer, and the expert that gave it."""

    expert: str
    text: str

    @property
    def domain(self) -> str:
        """The domain of its expert."""
        return self.expert.partition("/")[0]

    @property
    def turn(self) -> list[dict[str, str]]:
        """The answer as a conversation of one turn."""
        return [Message("assistant", self.text).as_dict()]


@dataclass(frozen=True)
class Rating:
    """A thumb on an answer."""

    prompt: tuple[Message, ...]
    answer: Candidate
    good: bool


@dataclass(frozen=True)
class Votes:
    """The votes of a home folder. Safe with several threads and processes at once."""

    folder: Path

    @classmethod
    def of_home(cls, home: Path) -> Votes:
        """The votes that belong to a home folder."""
        return cls(home / FOLDER)

    def prefer(self, prompt: Sequence[Message], chosen: Candidate, rejected: Candidate) -> bool:
        """One answer is better than the other; False when this vote is there already."""
        with self.lock():
            return self.add(domain_of(chosen, rejected), pair_row(prompt, chosen, rejected))

    def tie(self, prompt: Sequence[Message], first: Candidate, second: Candidate) -> bool:
        """Both answers are about the same; False when this vote is there already."""
        with self.lock():
            return self.add(f"{domain_of(first, second)}.ties", tie_row(prompt, first, second))

    def rate(self, prompt: Sequence[Message], answer: Candidate, good: bool) -> int:
        """A thumb on one answer; returns how many new pairs it makes with opposite thumbs on the same prompt."""
        with self.lock():
            self.add(f"{domain_of(answer, answer)}.unpaired", unpaired_row(prompt, answer, good))
            pairs = [(answer, other) if good else (other, answer) for other in self.opposites(prompt, answer, good)]
            return sum(self.add(domain_of(*pair), pair_row(prompt, *pair)) for pair in pairs)

    def opposites(self, prompt: Sequence[Message], answer: Candidate, good: bool) -> list[Candidate]:
        """Answers to the same prompt that were rated the other way; an answer rated both ways counts for neither."""
        labels: dict[str, set[bool]] = {}
        experts: dict[str, str] = {}
        for path in sorted(self.folder.glob("*.unpaired.jsonl")):
            for rating in ratings(path):
                if rating.prompt == tuple(prompt):
                    labels.setdefault(rating.answer.text, set()).add(rating.good)
                    experts.setdefault(rating.answer.text, rating.answer.expert)
        if labels.get(answer.text) != {good}:
            return []
        return [Candidate(experts[text], text) for text, found in labels.items() if found == {not good}]

    def lock(self) -> FileLock:
        """One writer at a time."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return FileLock(self.folder / ".lock", timeout=LOCK_SECONDS, thread_local=False)

    def add(self, name: str, row: Row) -> bool:
        """Append one row unless its id is there; the lock is held."""
        path = self.folder / f"{name}.jsonl"
        if any(found.get("id") == row["id"] for found in stored(path)):
            return False
        append_line(path, json.dumps(row, ensure_ascii=False))
        return True


def domain_of(first: Candidate, second: Candidate) -> str:
    """The domain that learns from a vote: that of the first answer, unless the general model gave it."""
    name = second.domain if first.domain == GENERAL else first.domain
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise UserError(f"'{name}' is not the name of a domain. Take letters, digits, - and _.")
    return name


def pair_row(prompt: Sequence[Message], chosen: Candidate, rejected: Candidate) -> Row:
    """A preference row."""
    if not chosen.text.strip() or not rejected.text.strip() or chosen.text == rejected.text:
        raise UserError("Only two different answers with text can be compared. Ask again, or choose other experts.")
    content = {"prompt": [turn.as_dict() for turn in prompt], "chosen": chosen.turn, "rejected": rejected.turn}
    experts = {"chosen": chosen.expert, "rejected": rejected.expert}
    return {"id": identity(content), **content, "source": SOURCE, "experts": experts, "time": now()}


def tie_row(prompt: Sequence[Message], first: Candidate, second: Candidate) -> Row:
    """A row of two answers, neither better; the order in which they were shown does not change its id."""
    shown = sorted((first, second), key=lambda candidate: (candidate.text, candidate.expert))
    content = {"prompt": [turn.as_dict() for turn in prompt], "completions": [each.turn for each in shown]}
    experts = [each.expert for each in shown]
    return {"id": identity(content), **content, "source": SOURCE, "experts": experts, "time": now()}


def unpaired_row(prompt: Sequence[Message], answer: Candidate, good: bool) -> Row:
    """A row of one answer with its label."""
    if not answer.text.strip():
        raise UserError("There is no answer to rate. Ask a question first.")
    content = {"prompt": [turn.as_dict() for turn in prompt], "completion": answer.turn, "label": good}
    return {"id": identity(content), **content, "source": SOURCE, "expert": answer.expert, "time": now()}


def identity(content: Mapping[str, Any]) -> str:
    """An id that is the same for the same vote: who gives it, when, and who had answered do not count."""
    text = json.dumps(content, ensure_ascii=False, sort_keys=True)
    digest = hashlib.sha256(text.encode(errors="replace")).hexdigest()
    return f"{SOURCE}-{digest[:20]}"


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def stored(path: Path) -> Iterator[Row]:
    """The rows of a votes file; a line that is not whole is passed over."""
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            yield parse_object(line)
        except RowError:
            continue


def ratings(path: Path) -> Iterator[Rating]:
    """The thumbs in a file; rows of another form are passed over."""
    for row in stored(path):
        try:
            yield parse_rating(row)
        except RowError:
            continue


def is_rating(row: Row) -> bool:
    """Whether a row is a thumb that was given here, and not any unpaired preference."""
    return row.get("source") == SOURCE and "completion" in row and "label" in row


def parse_rating(row: Row) -> Rating:
    """A row of one answer with its label."""
    if not isinstance(row.get("label"), bool):
        raise RowError("label", "must be true or false.", "write true for a good answer, false for a bad one.")
    text = readers.answer(row.get("completion"), "completion")
    return Rating(readers.prompt(row), Candidate(text_field(row, "expert"), text), row["label"])


def append_line(path: Path, line: str) -> None:
    """Add one line with one write, readable by its owner alone; after a line that was cut off, on a line of its own."""
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        size = os.fstat(handle).st_size
        cut = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
        os.write(handle, f"{chr(10) if cut else ''}{line}\n".encode(errors="replace"))
        os.fsync(handle)
    finally:
        os.close(handle)
