"""How differently a set of answers begins: a model that opens every answer with one phrase is not listening.

opener_diversity([answer, ...]).as_dict(); opener_rows(arm, answers) are rows for a report.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import fsum, log2
from typing import Any

from domains.errors import UserError
from judges.metrics import Row
from judges.sentences import words

METRIC = "opener_diversity"
NUM_WORDS = 3
NUM_SHOWN = 5


@dataclass(frozen=True)
class Opener:
    """The first words of answers, in how many answers they are, and the share of these."""

    text: str
    count: int
    share: float


@dataclass(frozen=True)
class OpenerDiversity:
    """Over `n` answers with words: `distinct` openers; `simpson`, the chance that two different answers open
    differently (Simpson 1949, without replacement); `entropy_bits` of the openers (Shannon 1948) and `evenness`, that
    entropy over its largest possible value log2(n). None where fewer than two answers have words; `empty` have none.
    """

    num_words: int
    n: int
    empty: int
    distinct: int
    distinct_share: float | None
    simpson: float | None
    entropy_bits: float | None
    evenness: float | None
    most_common: tuple[Opener, ...]

    def as_dict(self) -> dict[str, Any]:
        """The form in files."""
        return asdict(self)

    def sentence(self) -> str:
        """One sentence for a report."""
        if self.simpson is None or not self.most_common:
            return "Too few answers to say how differently they begin."
        first = self.most_common[0]
        return (
            f"{self.distinct} different openings in {self.n} answers (first {self.num_words} words); "
            f"the most common, '{first.text}', begins {first.share:.0%}."
        )


def opener(answer: str, num_words: int = NUM_WORDS) -> str:
    """The first words of an answer in lower case, without punctuation; "" when it has no words."""
    return " ".join(words(answer.replace("’", "'").lower())[:num_words])


def opener_diversity(answers: Sequence[str], num_words: int = NUM_WORDS) -> OpenerDiversity:
    """The diversity of the first `num_words` words over a set of answers; raises UserError below one word."""
    counts = counted(answers, num_words)
    n = sum(counts.values())
    shares = [count / n for count in counts.values()]
    entropy = max(0.0, -fsum(share * log2(share) for share in shares))
    return OpenerDiversity(
        num_words=num_words,
        n=n,
        empty=len(answers) - n,
        distinct=len(counts),
        distinct_share=len(counts) / n if n else None,
        simpson=1 - sum(c * (c - 1) for c in counts.values()) / (n * (n - 1)) if n > 1 else None,
        entropy_bits=entropy if n > 1 else None,
        evenness=entropy / log2(n) if n > 1 else None,
        most_common=tuple(Opener(text, count, count / n) for text, count in ordered(counts)[:NUM_SHOWN]),
    )


def counted(answers: Sequence[str], num_words: int) -> Counter[str]:
    """How often each opener occurs; answers without words are left out."""
    if num_words < 1:
        raise UserError(f"num_words is {num_words}. Use 1 or more; {NUM_WORDS} is usual.")
    return Counter(text for text in (opener(answer, num_words) for answer in answers) if text)


def ordered(counts: Counter[str]) -> list[tuple[str, int]]:
    """Most common first, ties by the alphabet."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def opener_rows(arm: str, answers: Mapping[str, str], num_words: int = NUM_WORDS) -> list[Row]:
    """Report rows of one arm from {item: answer}: the share of its other answers that begin differently.

    Their mean is `OpenerDiversity.simpson`. An answer without words, or one that is alone, is unscored.
    """
    counts = counted(list(answers.values()), num_words)
    others = sum(counts.values()) - 1
    rows = []
    for item, answer in answers.items():
        text = opener(answer, num_words)
        value = 1 - (counts[text] - 1) / others if text and others > 0 else None
        rows.append(Row(arm, METRIC, item, value, {"opener": text}))
    return rows
