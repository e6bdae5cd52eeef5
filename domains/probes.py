"""Probes: a question with a better and a worse answer, on which a judge shows whether it can be believed.

Those of every domain are in `judges/data/probes.jsonl`; a domain may have more in its own `probes.jsonl`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from domains.readers import RowError, list_field, shown, text_field


@dataclass(frozen=True)
class Probe:
    """A question with a better and a worse answer. `applies_to`: the judges and criteria that must see the difference;
    `kind`: what is wrong with the worse one; `domain`: mortgage, caregiving or general among the shipped ones."""

    id: str
    domain: str
    kind: str
    applies_to: tuple[str, ...]
    question: str
    better: str
    worse: str
    reference: str | None = None

    @property
    def longer_is_better(self) -> bool:
        """Whether the rule 'the longer answer wins' gets this one right."""
        return len(self.better) > len(self.worse)

    def as_dict(self) -> dict[str, Any]:
        """The form in the file."""
        return vars(self) | {"applies_to": list(self.applies_to)}


def parse_probe(row: dict[str, Any]) -> Probe:
    """A probe; `domain`, `kind` and `reference` may be left out."""
    names = list_field(row, "applies_to")
    if not names:
        raise RowError("applies_to", "missing or empty.", 'name judges or criteria, like ["empathy", "correctness"].')
    better, worse = text_field(row, "better"), text_field(row, "worse")
    if better == worse:
        raise RowError("worse", "equals the better answer.", "write a worse one.")
    reference = row.get("reference")
    if reference is not None and not isinstance(reference, str):
        raise RowError("reference", f"must be a text, got {shown(reference)}.", "write a text, or leave it out.")
    about = (text_field(row, "id"), str(row.get("domain") or ""), str(row.get("kind") or ""))
    return Probe(*about, names, text_field(row, "question"), better, worse, reference)
