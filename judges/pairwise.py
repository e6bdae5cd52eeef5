"""Which of two answers is better, asked in both orders: a judge that changes its mind with the order said 'tie'.

Position bias and its cure by swapping: Wang et al. 2023 (arXiv 2305.17926), Zheng et al. 2023 (arXiv 2306.05685).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from judges.asking import NO_MARK, Task
from judges.fencing import Section
from judges.replies import Scale
from judges.rubrics import load_rubrics
from judges.scorers.llm_judge import GUIDED, Judge, reference_section, rules
from judges.verdict import Verdict
from judges.verdict_cache import key_of

Winner = Literal["a", "b", "tie"]

SCALE = Scale("winner", {"A": 1.0, "B": 0.0, "tie": 0.5})
TIE_MARGIN = 1e-3


@dataclass(frozen=True)
class Pair:
    """Two answers to one question, with a reference where there is one."""

    question: str
    a: str
    b: str
    reference: str | None = None


@dataclass(frozen=True)
class PairVerdict:
    """The better answer, None when unscored. `flipped`: the two orders disagree, so that the winner is 'tie'."""

    winner: Winner | None
    flipped: bool
    explanation: str
    parts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PairwiseJudge:
    """Compares with the model, rubrics (all of them in one request), budget and cache of a pointwise judge."""

    judge: Judge

    @property
    def digest(self) -> str:
        """What its verdicts depend on besides the pairs: the judging model, rubrics, wording, how a reply is read."""
        task = pairwise_task(Pair("question", "a", "b", "reference"), "a", "b", self.criterion)
        return key_of([self.judge.digest, task.messages(SCALE.form() + SCALE.letter_form, NO_MARK)])

    @property
    def criterion(self) -> str:
        """All rubrics in one."""
        return "\n".join(rubric.criterion for rubric in load_rubrics(self.judge.rubric))

    def __call__(self, pairs: Sequence[Pair]) -> list[PairVerdict]:
        """One verdict per pair, from two requests; a pair with an empty answer asks nobody."""
        asked = [pair for pair in pairs if pair.a.strip() and pair.b.strip()]
        found: list[Verdict] = []
        if asked:
            tasks = [task for pair in asked for task in both_orders(pair, self.criterion)]
            with self.judge.open() as asker:
                found = asker.verdicts(tasks)
        verdicts = iter([settled(*both) for both in zip(found[::2], found[1::2], strict=True)])
        return [next(verdicts) if pair.a.strip() and pair.b.strip() else by_emptiness(pair) for pair in pairs]


def both_orders(pair: Pair, criterion: str) -> tuple[Task, Task]:
    """The request with a shown first, and the one with b first."""
    return pairwise_task(pair, pair.a, pair.b, criterion), pairwise_task(pair, pair.b, pair.a, criterion)


def pairwise_task(pair: Pair, first: str, second: str, criterion: str) -> Task:
    """Choose between the answer that is shown as A and the one that is shown as B."""
    reference = reference_section(pair.reference)
    brief = (
        f"You compare ANSWER A and ANSWER B to a QUESTION.{GUIDED if reference else ''} {rules('loses')} "
        f"The order in which they stand means nothing.\nCriterion: {criterion}"
    )
    answers = (Section("ANSWER A", first), Section("ANSWER B", second))
    return Task(brief, (Section("QUESTION", pair.question), *reference, *answers), SCALE)


def settled(a_first: Verdict, b_first: Verdict) -> PairVerdict:
    """The verdict of both orders; a value over 0.5 means that the answer shown first is better."""
    if a_first.value is None or b_first.value is None:
        missing = a_first if a_first.value is None else b_first
        return PairVerdict(None, False, missing.explanation, dict(missing.parts))
    first, second = side(a_first.value, "a", "b"), side(b_first.value, "b", "a")
    parts = {"a_first": a_first.as_dict(), "b_first": b_first.as_dict()}
    if first != second:
        said = f"The orders disagree ('{first}', then '{second}' with the answers swapped), which is a tie."
        return PairVerdict("tie", True, said, parts)
    return PairVerdict(first, False, f"Both orders say '{first}'. {a_first.explanation}", parts)


def side(value: float, shown_first: Winner, shown_second: Winner) -> Winner:
    """The winner of one order."""
    if abs(value - 0.5) <= TIE_MARGIN:
        return "tie"
    return shown_first if value > 0.5 else shown_second


def by_emptiness(pair: Pair) -> PairVerdict:
    """The verdict on a pair with an answer that has no text."""
    a, b = bool(pair.a.strip()), bool(pair.b.strip())
    winner: Winner = "tie" if a == b else "a" if a else "b"
    return PairVerdict(winner, False, "An empty answer loses; two of them are equal.", {"path": "empty"})


def flip_rate(verdicts: Sequence[PairVerdict]) -> float | None:
    """The share of scored pairs on which the order changed the verdict; None without any."""
    scored = [verdict for verdict in verdicts if verdict.winner is not None]
    return sum(verdict.flipped for verdict in scored) / len(scored) if scored else None
