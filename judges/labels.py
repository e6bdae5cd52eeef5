"""People's choices between two answers, made blind: which pair is next, in which order, and what was chosen.

A choice is one line of a JSONL file, written when it is made, so a labeller can stop at any moment and go on later.
The order of the pairs, and which answer stands first, follow from the labeller's name and the pair, so that they look
random, differ between people and stay the same after a pause.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

from domains.errors import UserError
from domains.readers import Problem, RowError, parse_object, rows
from judges.agreement import CHOICES, Kappa, cohen_kappa
from judges.scoring import BadRows, optional_text, question
from judges.verdict_cache import append_line

Shown = Literal["first", "second", "tie"]


@dataclass(frozen=True)
class LabelPair:
    """Two answers to a question; the id is the row's own, or a digest of its texts."""

    id: str
    question: str
    a: str
    b: str
    reference: str | None = None


@dataclass(frozen=True)
class Label:
    """What a person chose: the better answer, or 'tie'. `shown_first` is where the person saw it."""

    id: str
    question: str
    a: str
    b: str
    choice: str
    labeller: str
    shown_first: str = "a"
    reference: str | None = None

    @property
    def pair(self) -> LabelPair:
        """What was labelled."""
        return LabelPair(self.id, self.question, self.a, self.b, self.reference)


@dataclass(frozen=True)
class Showing:
    """A pair as it is shown: which answer stands first is not seen."""

    pair: LabelPair
    a_is_first: bool

    @property
    def first(self) -> str:
        """The answer on the left."""
        return self.pair.a if self.a_is_first else self.pair.b

    @property
    def second(self) -> str:
        """The answer on the right."""
        return self.pair.b if self.a_is_first else self.pair.a


@dataclass
class Session:
    """One labeller at work on the pairs of a file; `out` gets a line for each choice."""

    pairs: Sequence[LabelPair]
    out: Path
    labeller: str
    done: set[str] = field(default_factory=set)

    @classmethod
    def open(cls, path: Path, out: Path, labeller: str) -> Session:
        """The pairs of a file."""
        if path.resolve() == out.resolve():
            raise UserError(f"{out} is the input. Give another path for the labels.")
        return cls.over(read_pairs(path), out, labeller)

    @classmethod
    def over(cls, pairs: Sequence[LabelPair], out: Path, labeller: str) -> Session:
        """Go on where the labeller stopped."""
        earlier = read_labels(out) if out.is_file() else []
        return cls(pairs, out, labeller, {label.id for label in earlier if label.labeller == labeller})

    def next(self) -> Showing | None:
        """The next pair without a choice; None when all are labelled."""
        left = [pair for pair in self.pairs if pair.id not in self.done]
        if not left:
            return None
        pair = min(left, key=lambda pair: self.lot("order", pair))
        return Showing(pair, int(self.lot("side", pair), 16) % 2 == 0)

    def choose(self, showing: Showing, choice: Shown) -> None:
        """Keep a choice, on disk before this returns; a second one for the same pair is not taken."""
        pair = showing.pair
        if pair.id in self.done:
            return
        sides = {"first": "a", "second": "b"} if showing.a_is_first else {"first": "b", "second": "a"}
        label = Label(
            pair.id, pair.question, pair.a, pair.b, sides.get(choice, "tie"), self.labeller, sides["first"],
            pair.reference,
        )  # fmt: skip
        append_line(self.out, json.dumps(asdict(label), ensure_ascii=False))
        self.done.add(pair.id)

    def lot(self, purpose: str, pair: LabelPair) -> str:
        """A draw that only depends on the labeller, the pair and what it is for."""
        return hashlib.sha256("\x1f".join([self.labeller, purpose, pair.id]).encode()).hexdigest()


def read_pairs(path: Path) -> list[LabelPair]:
    """The pairs of a JSONL file {question, a, b, id?, reference?}; bad rows are a UserError with all of them."""
    found = list(checked(path, pair_of))
    if not found:
        raise UserError(f'{path} has no pairs. Write one {{"question": ..., "a": ..., "b": ...}} a line.')
    repeated = next((p.id for place, p in enumerate(found) if p.id in {q.id for q in found[:place]}), None)
    if repeated is not None:
        raise UserError(f"{path} has the id '{repeated}' twice. Give each pair an id of its own, or none to any.")
    return found


def read_labels(path: Path) -> list[Label]:
    """The choices of a JSONL file; a labeller's last choice for a pair counts."""
    if not path.is_file():
        raise UserError(f"{path} does not exist. Make labels with 'expertsmith label PAIRS.jsonl --out {path.name}'.")
    return list({(label.labeller, label.id): label for label in checked(path, label_of)}.values())


def checked(path: Path, read: Any) -> Iterator[Any]:
    """Each row as `read` takes it; all problems at once."""
    found, problems = [], []
    for number, line in rows(path):
        try:
            found.append(read(parse_object(line)))
        except RowError as error:
            problems.append(Problem(path.name, number, error.field, error.reason, error.fix))
    if problems:
        raise BadRows(problems)
    yield from found


def pair_of(row: dict[str, Any]) -> LabelPair:
    """One pair; a field that cannot be used is a RowError."""
    texts = {name: optional_text(row, name) for name in ("a", "b")}
    for name, text in texts.items():
        if text is None:
            raise RowError(name, "missing.", f'add "{name}" with the text of an answer.')
    asked = question(row.get("question"))
    a, b = texts["a"] or "", texts["b"] or ""
    return LabelPair(str(row.get("id") or content_id(asked, a, b)), asked, a, b, optional_text(row, "reference"))


def content_id(question: str, a: str, b: str) -> str:
    """The id of a pair that has none of its own."""
    return hashlib.sha256(json.dumps([question, a, b]).encode()).hexdigest()[:16]


def label_of(row: dict[str, Any]) -> Label:
    """One choice."""
    pair = pair_of(row)
    if row.get("choice") not in CHOICES:
        raise RowError("choice", f"is {row.get('choice')!r}.", f"write one of {', '.join(CHOICES)}.")
    who = optional_text(row, "labeller") or "person"
    first = optional_text(row, "shown_first") or "a"
    return Label(pair.id, pair.question, pair.a, pair.b, row["choice"], who, first, pair.reference)


@dataclass(frozen=True)
class Between:
    """Kappa of two people on the pairs that both labelled."""

    first: str
    second: str
    kappa: Kappa


def between_people(labels: Sequence[Label]) -> list[Between]:
    """Kappa of every two labellers who share a pair."""
    by_person: dict[str, dict[str, str]] = {}
    for label in labels:
        by_person.setdefault(label.labeller, {})[label.id] = label.choice
    found = []
    for (first, a), (second, b) in combinations(sorted(by_person.items()), 2):
        common = [item for item in a if item in b]
        if common:
            found.append(Between(first, second, cohen_kappa([a[i] for i in common], [b[i] for i in common])))
    return found
