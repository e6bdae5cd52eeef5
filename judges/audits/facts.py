"""Facts: whether chosen and rejected give the same numbers and names.

Value: the share of pairs that contradict each other: a number of the same kind (30 days, 60 days) or a telephone number
is another one. Pairs that are to differ in tone (`SAME_FACTS`) should not contradict: warned of from 10%. Pairs made by
a wrong number must: warned of at or below 90%. Other kinds are reported only. The text gives the overlap of all numbers
and names (Jaccard), which the rules for tone want high.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from statistics import fmean

from judges.audits._pairs import Finding, Level, Limits, Pair, Pairs, per_kind
from judges.quantities import Quantity, quantities
from judges.sentences import sentences

SAME_FACTS = frozenset({"cold", "jargon", "persona_contrast", "prescriptive", "technical", "rude"})
OTHER_NUMBERS = frozenset({"wrong_number"})
TONE = Limits(warn=0.10, refuse=2.0)
WRONG = Limits(warn=0.90, refuse=-1.0, low=True)
NAME = re.compile(r"(?<=[\w,;:)] )[A-Z][\w'&-]*(?: [A-Z][\w'&-]*)*")
NO_NAMES = frozenset({"I", "I'm", "I'd", "I'll", "I've"})


def check(pairs: Pairs) -> list[Finding]:
    """Contradictions of all pairs and of each kind."""
    return per_kind(pairs, facts, "facts")


def facts(kind: str, group: Sequence[Pair]) -> Finding:
    """The finding of one kind."""
    share = fmean(contradict(pair.chosen, pair.rejected) for pair in group)
    overlaps = [value for pair in group if (value := overlap(pair.chosen, pair.rejected)) is not None]
    shared = f"{fmean(overlaps):.0%} of numbers and names are in both" if overlaps else "no numbers or names"
    text = f"{share:.0%} of pairs give different numbers for the same thing; {shared}."
    return Finding("facts", kind, share, len(group), level(kind, {pair.kind for pair in group}, share), text)


def level(kind: str, kinds: set[str], share: float) -> Level:
    """What the share means for pairs of these kinds."""
    if kinds <= SAME_FACTS:
        return TONE.level(share, kind)
    return WRONG.level(share, kind) if kinds <= OTHER_NUMBERS else "ok"


def contradict(chosen: str, rejected: str) -> bool:
    """Whether each text has a number that the other replaces by another one of the same kind."""
    first, second = quantities(chosen), quantities(rejected)
    only_first, only_second = missing(first, second), missing(second, first)
    return any(one.same_kind(other) for one in only_first for other in only_second)


def missing(these: Sequence[Quantity], those: Sequence[Quantity]) -> list[Quantity]:
    """The quantities that the other text does not have."""
    return [one for one in these if not any(one.equals(other) for other in those)]


def overlap(chosen: str, rejected: str) -> float | None:
    """The share of numbers and names of both texts that are in both; None when there are none."""
    first, second = (names(text) | numbers(text) for text in (chosen, rejected))
    return len(first & second) / len(first | second) if first | second else None


def names(text: str) -> frozenset[str]:
    """Capitalised words inside sentences."""
    found = (match.group() for sentence in sentences(text) for match in NAME.finditer(sentence))
    return frozenset(name.removesuffix("'s") for name in found if name not in NO_NAMES)


def numbers(text: str) -> frozenset[str]:
    """The numbers of a text in their base unit."""
    return frozenset(each.code or f"{each.value:g} {each.unit}" for each in quantities(text))
