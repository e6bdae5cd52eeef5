"""Length: the geometric mean of words(rejected) / words(chosen), and how often the rejected answer is the longer one.

Warned of beyond a factor of 1.33 or when 80% of the pairs lean one way; refused beyond a factor of 2 or from 95%: a
model can then learn to write shorter or longer answers and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log
from statistics import fmean

from judges.audits._pairs import Finding, Limits, Pair, Pairs, per_kind, worst
from judges.sentences import words

FACTOR = Limits(warn=1.33, refuse=2.0)
SHARE = Limits(warn=0.80, refuse=0.95)


def check(pairs: Pairs) -> list[Finding]:
    """The ratio of all pairs and of each kind."""
    return per_kind(pairs, length, "length")


def length(kind: str, group: Sequence[Pair]) -> Finding:
    """The finding of one kind."""
    sizes = [(max(1, len(words(pair.chosen))), max(1, len(words(pair.rejected)))) for pair in group]
    ratio = exp(fmean(log(rejected / chosen) for chosen, rejected in sizes))
    longer = fmean((rejected > chosen) + 0.5 * (rejected == chosen) for chosen, rejected in sizes)
    level = worst([FACTOR.level(max(ratio, 1 / ratio), kind), SHARE.level(max(longer, 1 - longer), kind)])
    text = f"Rejected answers have {ratio:.2f} times the words of the chosen ones and are longer in {longer:.0%}."
    return Finding("length", kind, ratio, len(group), level, text)
