"""Known better and worse answers, on which a judge shows whether it can be believed: `judges/data/probes.jsonl`.

Written by hand for this project; none is a row of a domain. In about half of them the worse answer is the longer one,
and some of the worse ones are more fluent, more confident or better laid out. Of those called `*-claims-*`, the
grounding judge was improved on the odd ones only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from domains.domain import Domain
from domains.errors import unknown_name
from domains.plugins import plugin_names
from domains.probes import Probe
from judges.rubrics import rubric_names

__all__ = ["Probe", "criteria_of", "load_probes", "own_probes", "probes_for", "subset"]

FILE = Path(__file__).parent / "data" / "probes.jsonl"
DOMAIN_BOUND = frozenset({"safety", "grounding"})
GENERAL_CRITERIA = frozenset(
    {"correctness", "helpfulness", "empathy", "politeness", "simplicity", "summarization", "safety"}
)
LONGER_BETTER_SHARE = 0.45


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


def own_probes(domain: Domain) -> tuple[Probe, ...]:
    """The probes that a domain ships itself; a judge or criterion that there is not is a UserError."""
    known = {*plugin_names("judges.scorers"), *rubric_names()}
    for probe in domain.probes():
        for name in probe.applies_to:
            if name not in known:
                raise unknown_name(f"judge or criterion (probes.jsonl, row '{probe.id}')", name, known)
    return domain.probes()


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
