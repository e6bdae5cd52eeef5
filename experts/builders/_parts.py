"""What the builders share: what a row is made from, who writes, and how a written reply is read and checked."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from domains.domain import Domain
from domains.example import Document, Example, Message, Preference
from domains.near_duplicates import shingles
from judges.quantities import conflicts
from judges.replies import bare

Ask = Callable[[Sequence[Message]], str]
SAME = 0.8
MIN_PASSAGE_WORDS = 30


class Skipped(Exception):
    """An item gives no row, and asking again would not change it: the text says why."""


class Failed(Exception):
    """A model gave no reply this time: the item is tried again on the next run."""


@dataclass(frozen=True)
class Item:
    """What one row is made from: a passage of a document, or a row that is there already. `data` is JSON-like. `lent`
    is a text of another row: with another one it is the same item still, which is not made twice."""

    id: str
    passage: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    lent: str = ""

    def content(self) -> list[Any]:
        """What tells items apart."""
        return [self.id, self.passage, dict(self.data)]


@dataclass(frozen=True)
class Material:
    """What a builder may use: the domain, rows of a file or of the domain, and a person's corrections of drafts."""

    domain: Domain
    rows: tuple[Preference | Example, ...] = ()
    edits: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class Writers:
    """Who is asked: the writer, and the weaker model whose answers are to be worse."""

    strong: Ask
    weak: Ask


def passages(documents: Sequence[Document]) -> list[Item]:
    """Sections that are long enough to ask something about. A row lies in the split of its section: what a model is
    tested on was in none of the documents that it was trained on."""
    return [Item(d.id, d.text, {"split_of": d.id}) for d in documents if len(d.text.split()) >= MIN_PASSAGE_WORDS]


def asked(ask: Ask, instruction: str, passage: str = "", **parts: str) -> str:
    """The reply to an instruction about a passage and further named texts."""
    texts = {"passage": passage, **parts}
    blocks = [f"<{name}>\n{text.strip()}\n</{name}>" for name, text in texts.items() if text.strip()]
    reply = bare(ask([Message("user", "\n\n".join([*blocks, instruction.strip()]))]))
    if not reply:
        raise Skipped("the reply is empty.")
    return reply


def labelled(reply: str, *names: str) -> dict[str, str]:
    """The parts of a reply that has one "NAME: text" per name, in this order."""
    marks = r"(.*?)".join(rf"^[\W_]*{name}[*_]*:[*_]*" for name in names) + r"(.*)"
    found = re.search(marks, reply, re.IGNORECASE | re.MULTILINE | re.DOTALL)
    values = [text.strip() for text in found.groups()] if found else []
    if not found or not all(values):
        raise Skipped(f"the reply has not the parts {', '.join(names)}.")
    return dict(zip(names, values, strict=True))


def supported(text: str, passage: str) -> str:
    """The text; one with a number that its passage does not have is skipped."""
    wrong = conflicts(text, passage, passage)
    if wrong:
        raise Skipped(f"'{wrong[0].claim}' is not in the passage.")
    return text


def different(chosen: str, rejected: str) -> str:
    """The rejected answer; one that says nearly the same in the same words is skipped."""
    first, second = shingles(chosen), shingles(rejected)
    if not second or len(first & second) >= SAME * len(first | second):
        raise Skipped("the rejected answer is nearly the chosen one.")
    return rejected


def example_row(prompt: Sequence[Message], completion: str) -> dict[str, Any]:
    """A prompt/completion row without its id."""
    return {"prompt": [turn.as_dict() for turn in prompt], "completion": answer(completion)}


def preference_row(prompt: Sequence[Message], chosen: str, rejected: Mapping[str, str]) -> dict[str, Any]:
    """A preference row without its id; `rejected` is the kind and text of each rejected answer."""
    return {
        "prompt": [turn.as_dict() for turn in prompt],
        "chosen": answer(chosen),
        "rejected": [answer(text) for text in rejected.values()],
        "rejected_kinds": [re.sub(r"#\d+\Z", "", kind) for kind in rejected],
    }


def answer(text: str) -> list[dict[str, str]]:
    """One assistant turn."""
    return [Message("assistant", text).as_dict()]
