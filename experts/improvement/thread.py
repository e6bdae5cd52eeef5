"""A thread: answer, critique, revise, until the verifier accepts or the attempts are used up (arXiv 2511.23436, 3.1).

Threads go side by side, attempt by attempt, so that a learner can answer all of them in one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import mean
from typing import Any, Generic, Literal

from experts.improvement.learner import Answer, Attempt, Learner, Lesson, Turn, answers
from judges.verifier import Condition, Critique, Task, Verifier


class Outcome(StrEnum):
    """How a thread ended."""

    SKIPPED = "skipped"  # the first answer was accepted: nothing to learn
    LEARNT = "learnt"  # a later one was, and some earlier one is worse by more than the gap
    TOO_CLOSE = "too_close"  # a later one was, but none before it was much worse
    DISCARDED = "discarded"  # none was accepted
    UNJUDGED = "unjudged"  # the verifier could not judge an answer


@dataclass(frozen=True)
class Acceptance:
    """When an answer is good enough: when its score is at least `threshold`. The paper gives three rules that
    contradict each other; this is a setting. The score of an answer, which gaps are measured in too, is

    * `all`: that of its worst condition (the paper's Algorithm 1: min_i s_i >= tau),
    * `mean`: the mean over its conditions (the verifier prompt of the paper, with 0.95),
    * `share`: the share of its conditions that score at least 0.5.
    """

    rule: Literal["all", "mean", "share"] = "all"
    threshold: float = 0.5

    def score(self, scores: Sequence[float]) -> float:
        """The score of an answer (0..1) from those of its conditions, of which there is at least one."""
        if self.rule == "all":
            return min(scores)
        return mean(scores) if self.rule == "mean" else mean(float(score >= 0.5) for score in scores)

    def accepts(self, scores: Sequence[float]) -> bool:
        """Whether an answer with these scores is accepted; one without conditions never is."""
        return bool(scores) and self.score(scores) >= self.threshold


@dataclass(frozen=True)
class Rules:
    """How a thread goes: at most so many attempts, when one is accepted, and by more than how much an earlier attempt's
    score must be worse to be a rejected sample."""

    max_attempts: int = 5
    acceptance: Acceptance = Acceptance()
    gap: float = 0.15


@dataclass(frozen=True)
class Thread(Generic[Answer]):
    """A finished thread; `conditions` are the questions that its scores answer."""

    task: Task
    conditions: tuple[Condition, ...]
    attempts: tuple[Attempt[Answer], ...]
    outcome: Outcome
    lesson: Lesson[Answer] | None = None


@dataclass
class Open(Generic[Answer]):
    """A thread that is going on."""

    task: Task
    conditions: tuple[Condition, ...]
    attempts: list[Attempt[Answer]]

    @property
    def turn(self) -> Turn[Answer]:
        """What the learner sees next."""
        return Turn(self.task, tuple(self.attempts))

    def closed(self, outcome: Outcome, lesson: Lesson[Answer] | None = None) -> Thread[Answer]:
        """The thread at its end."""
        return Thread(self.task, self.conditions, tuple(self.attempts), outcome, lesson)


Keep = Callable[[Thread[Answer]], None]


def run_threads(
    learner: Learner[Answer],
    verifier: Verifier[Any],
    tasks: Sequence[Task],
    rules: Rules,
    seed: int,
    keep: Keep[Answer],
) -> None:
    """All threads of some tasks; `keep` gets each as soon as it has ended, so that a kill loses none that was verified.
    Attempt t of all threads is answered with the seed `seed + t`."""
    going: list[Open[Answer]] = [Open(task, tuple(verifier.conditions(task)), []) for task in tasks]
    for place in range(rules.max_attempts):
        given = answers(learner, [thread.turn for thread in going], seed + place) if going else []
        remaining = []
        for thread, answer in zip(going, given, strict=True):
            critique = verifier.judge(thread.task, thread.conditions, answer)
            ended = after_attempt(thread, answer, critique, rules)
            if ended is None:
                remaining.append(thread)
            else:
                keep(ended)
        going = remaining


def after_attempt(
    thread: Open[Answer], answer: Answer, critique: Critique | None, rules: Rules
) -> Thread[Answer] | None:
    """Note an attempt; the finished thread, or None while it goes on."""
    if critique is None or not critique.scores:
        return thread.closed(Outcome.UNJUDGED)
    thread.attempts.append(Attempt(answer, critique, rules.acceptance.score(critique.scores)))
    if rules.acceptance.accepts(critique.scores):
        return accepted(thread, rules.gap)
    return thread.closed(Outcome.DISCARDED) if len(thread.attempts) == rules.max_attempts else None


def accepted(thread: Open[Answer], gap: float) -> Thread[Answer]:
    """A thread whose last attempt is good."""
    *earlier, good = thread.attempts
    if not earlier:
        return thread.closed(Outcome.SKIPPED)
    worse: list[Attempt[Answer]] = []
    for attempt in earlier:
        is_new = attempt.answer != good.answer and all(attempt.answer != other.answer for other in worse)
        if is_new and good.score - attempt.score > gap:
            worse.append(attempt)
    if not worse:
        return thread.closed(Outcome.TOO_CLOSE)
    gaps = tuple(good.score - attempt.score for attempt in worse)
    rejected = tuple(attempt.answer for attempt in worse)
    return thread.closed(Outcome.LEARNT, Lesson(thread.task, good.answer, rejected, gaps, priority=max(gaps)))
