"""Known better and worse answers, on which a judge shows whether it can be believed: `judges/data/probes.jsonl`.

Written by hand for this project; none is a row of a domain. In about half of them the worse answer is the longer one,
and some of the worse ones are more fluent, more confident or better laid out. Of those called `*-claims-*`, the
grounding judge was improved on the odd ones only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent / "data" / "probes.jsonl"
DOMAIN_BOUND = frozenset({"safety", "grounding"})
GENERAL_CRITERIA = frozenset(
    {"correctness", "helpfulness", "empathy", "politeness", "simplicity", "summarization", "safety"}
)
LONGER_BETTER_SHARE = 0.45


@dataclass(frozen=True)
class Probe:
    """A question with a better and a worse answer. `applies_to`: the judges and criteria that must see the difference;
    `kind`: what is wrong with the worse one; `domain`: mortgage, caregiving or general."""

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


@lru_cache(maxsize=1)
def load_probes() -> tuple[Probe, ...]:
    """All shipped probes."""
    rows = [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]
    return tuple(Probe(**(row | {"applies_to": tuple(row["applies_to"])})) for row in rows)


def probes_for(criteria: Sequence[str], domain: str = "") -> tuple[Probe, ...]:
    """The probes of any of the criteria. Those that rest on a domain's own rules or documents are of that domain."""
    wanted = frozenset(criteria)
    bound = wanted <= DOMAIN_BOUND
    return tuple(p for p in load_probes() if wanted & set(p.applies_to) and (not bound or p.domain == domain))


def criteria_of(judge: str, rubrics: Sequence[str] = ()) -> tuple[str, ...]:
    """What a judge is probed on: its own name; for the LLM judge its rubrics, and everything for other rubrics."""
    if judge != "llm_judge":
        return (judge,)
    known = tuple(name for name in rubrics if name in GENERAL_CRITERIA)
    return known if known and len(known) == len(rubrics) else tuple(sorted(GENERAL_CRITERIA))


def subset(probes: Sequence[Probe], limit: int) -> tuple[Probe, ...]:
    """A fixed choice of at most `limit` probes (0 = all), in a little under half of which the longer answer is better.

    The order is that of a hash, so that the choice mixes domains and kinds and stays what it is.
    """
    if not limit or limit >= len(probes):
        return tuple(probes)
    ordered = sorted(probes, key=lambda probe: hashlib.sha256(probe.id.encode()).hexdigest())
    longer = [probe for probe in ordered if probe.longer_is_better]
    shorter = [probe for probe in ordered if not probe.longer_is_better]
    num_longer = min(len(longer), max(int(limit * LONGER_BETTER_SHARE), limit - len(shorter)))
    chosen = {*longer[:num_longer], *shorter[: limit - num_longer]}
    return tuple(probe for probe in ordered if probe in chosen)
