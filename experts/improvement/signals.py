"""Signs that a learner pleases its verifier instead of the person: answers grow or shrink, fall into formulas, repeat.

Each is computed from the answers alone; they decide nothing, they are plotted in the report.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import mean

from judges.openers import opener_diversity
from judges.sentences import words

NUM_WORDS = 4
SHARED_BY = 0.2


@dataclass(frozen=True)
class Signals:
    """Over `n` answers: mean words; the share that are empty; `formula`, the mean share of an answer's 4-word phrases
    that at least a fifth of the answers (and two) have; `repetition`, the mean share of its 4-word phrases that it has
    said before; `same_opening`, the chance that two answers begin with the same three words."""

    n: int
    words: float
    empty: float
    formula: float
    repetition: float
    same_opening: float

    def as_dict(self) -> dict[str, float]:
        """The form in files."""
        return asdict(self)


def signals(answers: Sequence[str]) -> Signals | None:
    """The signals of some answers; None without any."""
    if not answers:
        return None
    phrases = [phrases_of(answer) for answer in answers]
    holders = Counter(phrase for found in phrases for phrase in set(found))
    least = max(2, SHARED_BY * len(answers))
    simpson = opener_diversity(answers).simpson
    return Signals(
        n=len(answers),
        words=mean(len(words(answer)) for answer in answers),
        empty=mean(not answer.strip() for answer in answers),
        formula=mean(share(sum(holders[phrase] >= least for phrase in found), len(found)) for found in phrases),
        repetition=mean(share(len(found) - len(set(found)), len(found)) for found in phrases),
        same_opening=0.0 if simpson is None else 1 - simpson,
    )


def phrases_of(answer: str) -> list[tuple[str, ...]]:
    """All runs of four words, in lower case."""
    found = words(answer.lower())
    return [tuple(found[i : i + NUM_WORDS]) for i in range(len(found) - NUM_WORDS + 1)]


def share(part: int, whole: int) -> float:
    """A share; 0 of nothing."""
    return part / whole if whole else 0.0
