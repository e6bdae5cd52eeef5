"""Labelled requests of any kind, split for a measurement: rows {text, label} of a JSONL file, or those of domains."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from domains.domain import GENERAL, Domain
from domains.errors import UserError
from domains.example import SPLITS, Split, Utterance
from domains.readers import RowError, read_jsonl, text_field
from domains.splits import DEV_SHARE, TRAIN_SHARE

OUT_OF_SCOPE = frozenset({GENERAL, "out_of_scope", "out-of-scope", "oos", "none"})
SPLIT_NAMES: dict[str, Split] = {"train": "train", "dev": "dev", "val": "dev", "validation": "dev", "test": "test"}
CARVED_SHARE = 0.2
PROBLEMS_SHOWN = 5


@dataclass(frozen=True)
class Labelled:
    """A row of a file; `split` is None where the file does not say."""

    utterance: Utterance
    split: Split | None


@dataclass(frozen=True)
class Rows:
    """Requests by split, and the labels with `general` last. `notes`: what was left out."""

    train: tuple[Utterance, ...]
    dev: tuple[Utterance, ...]
    test: tuple[Utterance, ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what nothing can be learnt from or measured on."""
        if len({row.label for row in self.train}) < 2 or not self.test:
            raise UserError(
                f"There are {len(self.train)} training rows with {len({row.label for row in self.train})} labels and "
                f"{len(self.test)} test rows. Give rows of at least two labels, five or more of each."
            )

    @property
    def labels(self) -> tuple[str, ...]:
        """All labels."""
        found = {row.label for row in (*self.train, *self.dev, *self.test)}
        return tuple(sorted(found, key=lambda name: (name == GENERAL, name)))


def read_rows(path: Path) -> Rows:
    """The rows of a file, one per text. A label that means out of scope (`general`, `out_of_scope`, `out-of-scope`,
    `oos`, `none`, in any case) counts as `general`. Rows without a `split` are split by a hash of the text; where the
    file has train rows and no dev rows, a fifth of the train rows become dev."""
    records = good_rows(path)
    by_text = {plain(row): row for row in reversed(records)}
    found = list(by_text.values())
    given = [row for row in found if row.split]
    parts: dict[str, list[Utterance]] = {split: [r.utterance for r in given if r.split == split] for split in SPLITS}
    if parts["train"] and not parts["dev"]:
        parts["dev"], parts["train"] = cut(parts["train"], (CARVED_SHARE,))
    free = cut([row.utterance for row in found if not row.split], (TRAIN_SHARE, TRAIN_SHARE + DEV_SHARE))
    for split, rows in zip(SPLITS, free, strict=True):
        parts[split] += rows
    train, dev, test = (tuple(parts[split]) for split in SPLITS)
    return Rows(train, dev, test, tuple(repeated(records, by_text)))


def good_rows(path: Path) -> tuple[Labelled, ...]:
    """The rows of a file; bad ones are refused, each with its line."""
    reading = read_jsonl(path, parse_labelled)
    problems = reading.problems
    if problems:
        shown = " ".join(map(str, problems[:PROBLEMS_SHOWN]))
        more = f" And {len(problems) - PROBLEMS_SHOWN} more." if len(problems) > PROBLEMS_SHOWN else ""
        raise UserError(f"{len(problems)} bad rows. {shown}{more}")
    return reading.records


def plain(row: Labelled) -> str:
    """The text of a row, blanks aside."""
    return " ".join(row.utterance.text.split())


def repeated(rows: Sequence[Labelled], by_text: Mapping[str, Labelled]) -> Iterator[str]:
    """What to say of rows whose text an earlier one has."""
    num_repeated = len(rows) - len(by_text)
    num_other = sum(row.utterance.label != by_text[plain(row)].utterance.label for row in rows)
    if num_repeated:
        yield (
            f"{num_repeated} rows repeat the text of an earlier one and are left out, {num_other} of them although "
            "they have another label."
        )


def parse_labelled(row: dict[str, Any]) -> Labelled:
    """A row {text, label, split?}."""
    text, label, split = text_field(row, "text"), label_field(row), row.get("split")
    if split is not None and str(split).casefold() not in SPLIT_NAMES:
        raise RowError("split", f"unknown split {str(split)!r}.", f"use one of {', '.join(SPLIT_NAMES)}.")
    name = GENERAL if label.casefold() in OUT_OF_SCOPE else label
    return Labelled(Utterance(text, text, name), SPLIT_NAMES[str(split).casefold()] if split is not None else None)


def label_field(row: dict[str, Any]) -> str:
    """The label, which may be a whole number."""
    label = row.get("label")
    return str(label) if isinstance(label, int) and not isinstance(label, bool) else text_field(row, "label").strip()


def cut(rows: Sequence[Utterance], shares: Sequence[float]) -> list[list[Utterance]]:
    """Rows cut at the shares, label by label in the order of the hash of their text, so that each label is in each part
    that is large enough."""
    parts: list[list[Utterance]] = [[] for _ in (*shares, 1)]
    for label in sorted({row.label for row in rows}):
        mine = sorted((row for row in rows if row.label == label), key=lambda row: text_hash(row.text))
        edges = [0, *(round(share * len(mine)) for share in shares), len(mine)]
        for place, (first, last) in enumerate(pairwise(edges)):
            parts[place] += mine[first:last]
    return parts


def text_hash(text: str) -> str:
    """A stable hash of a text, blanks aside."""
    return hashlib.sha256(" ".join(text.split()).encode()).hexdigest()


def domain_rows(domains: Sequence[Domain]) -> Rows:
    """The routing rows of domains by their own splits."""
    train, dev, test = (tuple(row for domain in domains for row in domain.utterances(split)) for split in SPLITS)
    return Rows(train, dev, test)


def shortened(rows: Rows, limit: int) -> Rows:
    """At most `limit` dev and test rows each, spread over the labels."""
    return replace(rows, dev=spread(rows.dev, rows.labels, limit), test=spread(rows.test, rows.labels, limit))


def spread(rows: Sequence[Utterance], labels: Sequence[str], limit: int) -> tuple[Utterance, ...]:
    """At most `limit` rows, the labels in turn."""
    by_label = {label: [row for row in rows if row.label == label] for label in labels}
    turns = max((len(mine) for mine in by_label.values()), default=0)
    picked = [mine[i] for i in range(turns) for mine in by_label.values() if i < len(mine)]
    return tuple(picked[:limit])
