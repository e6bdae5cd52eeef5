"""The audit of preference pairs: what would let a model tell chosen from rejected without learning what was meant.

The checks are the files of `judges/audits/`; each documents at which value it warns and at which it refuses. A refusal
is about the whole set; one kind of rejected answer among several may differ by design and is only warned of.
Run: `expertsmith audit mortgage`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from domains.domain import Domain
from domains.errors import UserError
from domains.example import Preference
from domains.plugins import load_plugin, plugin_names
from domains.readers import Problem
from domains.row_source import is_row_source
from domains.splits import split_of
from domains.training_rows import read_training_rows
from judges.audits._pairs import ALL, Finding, Level, Pairs, worst

PACKAGE = "judges.audits"


@dataclass(frozen=True)
class Audit:
    """All findings about a set, and the rows of it that could not be read."""

    target: str
    num_rows: int
    findings: tuple[Finding, ...]
    problems: tuple[Problem, ...] = ()

    @property
    def level(self) -> Level:
        """The most serious finding."""
        return worst([each.level for each in self.findings])

    def kinds_too_few(self) -> tuple[str, ...]:
        """The kinds of rejected answers about which no check can say anything."""
        kinds = dict.fromkeys(each.kind for each in self.findings if each.kind != ALL)
        return tuple(k for k in kinds if all(each.value is None for each in self.findings if each.kind == k))

    def as_dict(self) -> dict[str, Any]:
        """The form for programs."""
        return {
            "target": self.target,
            "level": self.level,
            "rows": self.num_rows,
            "bad_rows": len(self.problems),
            "findings": [each.as_dict() for each in self.findings],
        }

    def lines(self) -> Iterator[str]:
        """The form for people; kinds that are too few for any check share a line."""
        few = self.kinds_too_few()
        for each in self.findings:
            if each.kind not in few:
                yield f"{each.level:<6} {each.check:<13} {each.kind:<17} n={each.n:<4} {each.text}"
        if few:
            yield f"Too few to look at alone: {', '.join(few)}."
        if self.problems:
            yield f"{len(self.problems)} bad rows were not audited: run 'expertsmith validate {self.target}'."
        verdict = {
            "ok": "Nothing found.",
            "warn": "Usable; read the warnings.",
            "refuse": "Refused: see the lines above.",
        }
        yield f"{self.num_rows} rows: {verdict[self.level]}"


def audit(target: str, row_format: str = "") -> Audit:
    """Audit the preference rows of a domain or of a file of any known format."""
    if not is_row_source(target):
        return audit_domain(Domain.load(target), target)
    found = read_training_rows(target, row_format)
    rows: Sequence[Preference] = [row for row in found.reading.records if isinstance(row, Preference)]
    pairs = Pairs(tuple(rows), {row.id: split_of(row.id) for row in rows})
    return Audit(target, len(rows), check_pairs(target, pairs), found.reading.problems)


def audit_domain(domain: Domain, target: str) -> Audit:
    """Audit the preference rows of a domain; `target` is how the user names it."""
    rows: Sequence[Preference] = domain.records("preferences.jsonl")
    split = {row.id: domain.split(row.id, "preferences") for row in rows}
    return Audit(target, len(rows), check_pairs(target, Pairs(tuple(rows), split)))


def check_pairs(target: str, pairs: Pairs) -> tuple[Finding, ...]:
    """The findings of every check."""
    if not pairs.rows:
        raise UserError(
            f"{target} has no good preference row. Give rows with prompt, chosen and rejected, or make some "
            "with 'expertsmith data'."
        )
    return tuple(
        found for name in plugin_names(PACKAGE) for found in load_plugin(PACKAGE, name, "audit check").check(pairs)
    )
