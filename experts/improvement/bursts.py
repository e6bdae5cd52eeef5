"""When training happens: at once (the answers wait), or in the background while answers go on with the old weights."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol

from experts.improvement.learner import Answer, Learner, Lesson
from experts.improvement.record import Record

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Job(Generic[Answer]):
    """A burst to do: it makes version `version` in the round `number`."""

    number: int
    version: int
    lessons: list[Lesson[Answer]]
    steps: int
    seed: int


@dataclass(frozen=True)
class Done:
    """A burst that was done: the folder of the new version."""

    number: int
    version: int
    folder: Path
    steps: int


class Bursts(Protocol[Answer]):
    """Takes bursts and gives them back when they are done. `lag`: optimiser steps that were asked for and not given
    back, which is how stale the answering weights are."""

    @property
    def lag(self) -> int:
        """Steps that are under way."""
        ...

    def submit(self, job: Job[Answer]) -> None:
        """Begin a burst."""
        ...

    def settle(self, bound: int) -> list[Done]:
        """What is done, in order; waits until the lag is at most `bound`."""
        ...

    def close(self) -> None:
        """Let go; a burst that is under way is finished first."""
        ...


def train(learner: Learner[Answer], record: Record[Answer], job: Job[Answer]) -> Done:
    """One burst, unless it was done before a kill; the new version is on disk afterwards, whole."""
    folder = record.version(job.version)
    if not folder.is_dir():
        burst = learner.train(job.lessons, job.steps, job.seed)
        record.save(job.version, learner.save, burst)
    return Done(job.number, job.version, folder, job.steps)


@dataclass
class Immediate(Generic[Answer]):
    """Training while the answers wait: the same learner answers and trains."""

    learner: Learner[Answer]
    record: Record[Answer]
    done: list[Done] = field(default_factory=list)
    lag: int = 0

    def submit(self, job: Job[Answer]) -> None:
        """Do it now."""
        self.done.append(train(self.learner, self.record, job))

    def settle(self, bound: int) -> list[Done]:
        """What was done."""
        found, self.done = self.done, []
        return found

    def close(self) -> None:
        """Nothing is under way."""


@dataclass
class Background(Generic[Answer]):
    """Training in a thread, on a learner of its own: the one that answers keeps its weights until it takes up a saved
    version, between two answers and whole."""

    learner: Learner[Answer]
    record: Record[Answer]
    tell: Tell
    waiting: deque[tuple[Job[Answer], Future[Done]]] = field(default_factory=deque)
    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "burst"))

    @property
    def lag(self) -> int:
        """Steps of all bursts that were not given back."""
        return sum(job.steps for job, _ in self.waiting)

    def submit(self, job: Job[Answer]) -> None:
        """Begin it when those before it are done; each starts from the version before its own."""
        self.waiting.append((job, self.pool.submit(self.work, job)))

    def work(self, job: Job[Answer]) -> Done:
        """In the thread: go on from the version before, then train. Without that one (its burst failed) nothing is."""
        before = self.record.version(job.version - 1)
        if job.version > 1 and not before.is_dir():
            raise RuntimeError(f"version {job.version} cannot be trained: {before} is missing")
        if before.is_dir() and self.learner.version != job.version - 1:
            self.learner.load(before)
        return train(self.learner, self.record, job)

    def settle(self, bound: int) -> list[Done]:
        """What is done; waits for the oldest while too many steps are under way, and says so."""
        found = []
        while self.waiting and (self.lag > bound or self.waiting[0][1].done()):
            if not self.waiting[0][1].done():
                self.tell(f"Answers wait: {self.lag} steps are under way, at most {bound} may be.")
            found.append(self.waiting[0][1].result())
            self.waiting.popleft()
        return found

    def close(self) -> None:
        """Finish the burst that is under way; those that have not begun never do."""
        self.pool.shutdown(wait=True, cancel_futures=True)
