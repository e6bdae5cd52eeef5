"""The loop of SuperIntelliAgent (arXiv 2511.23436): threads on N prompts, then a burst of K steps on what they taught.

Each prompt is answered once, before anything is learnt from it, so the first attempts are a prequential evaluation. The
same loop runs with training at once and in the background (`bursts`), and goes on after a kill (`record`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import ceil
from random import Random
from typing import Any, Generic

from experts.improvement.bursts import Bursts, Done, Job
from experts.improvement.learner import Answer, Learner
from experts.improvement.record import Record, Seen
from experts.improvement.replay import Replay, Stamp
from experts.improvement.thread import Rules, Thread, run_threads
from judges.verifier import Task, Verifier

Tell = Callable[[str], None]
ROUND_SEEDS = 1000


@dataclass(frozen=True)
class Pace:
    """`prompts` threads (the paper's N), then at most `steps` optimiser steps (its K) of `rows_per_step` lessons each,
    fewer while the buffer holds so few lessons that one would come more than `repeats` times on average: the paper has
    no such bound, and a burst on one lesson learns it by heart. Answers may be at most `max_staleness` steps behind (0:
    they wait for each burst)."""

    prompts: int = 16
    steps: int = 8
    rows_per_step: int = 2
    max_staleness: int = 0
    seed: int = 0
    repeats: int = 4

    def rounds(self, tasks: Sequence[Task]) -> list[list[Task]]:
        """The tasks in a random order that the seed decides, in groups."""
        order = list(tasks)
        Random(self.seed).shuffle(order)
        return [order[first : first + self.prompts] for first in range(0, len(order), self.prompts)]


@dataclass
class Loop(Generic[Answer]):
    """A learner that answers, a verifier that does not change, and where what they find is kept."""

    learner: Learner[Answer]
    verifier: Verifier[Any]
    replay: Replay[Answer]
    record: Record[Answer]
    bursts: Bursts[Answer]
    rules: Rules
    pace: Pace
    tell: Tell
    added: int = field(default=0, init=False)  # lessons of this round that were new

    def run(self, tasks: Sequence[Task]) -> None:
        """All rounds; those that were done before are passed over."""
        version, groups = self.learner.version, self.pace.rounds(tasks)
        try:
            for number, group in enumerate(groups):
                done = self.record.finished(number)
                if done is not None:
                    version = self.go_on(done)
                    continue
                self.adopt(self.bursts.settle(self.pace.max_staleness))
                threads = self.answer(number, group)
                version = self.train(number, version)
                self.say(number, len(groups), threads)
            self.adopt(self.bursts.settle(0))
        finally:
            self.bursts.close()

    def go_on(self, done: dict[str, Any]) -> int:
        """Take up what an earlier run had learnt by the end of a round."""
        version = int(done["version"])
        if version != self.learner.version:
            self.learner.load(self.record.version(version))
        return version

    def answer(self, number: int, group: Sequence[Task]) -> list[Thread[Answer]]:
        """The threads of a round; those that an earlier run finished are read."""
        names = [task.id for task in group]
        missing = set(self.record.missing(number, names))
        seen, self.added = Seen(number, self.learner.version, self.bursts.lag), 0
        run_threads(
            self.learner,
            self.verifier,
            [task for task in group if task.id in missing],
            self.rules,
            ROUND_SEEDS * (self.pace.seed + 1) + 10 * number,
            lambda thread: self.keep(thread, seen),
        )
        return self.record.kept(number, names)

    def keep(self, thread: Thread[Answer], seen: Seen) -> None:
        """Keep a finished thread, its lesson first: after a kill between the two the lesson is made again and known."""
        if thread.lesson is not None:
            self.added += self.replay.add([thread.lesson], Stamp.of(self.verifier))
        self.record.keep(thread, seen)

    def train(self, number: int, version: int) -> int:
        """Ask for the burst of a round; returns the version that it makes. Without any lesson there is none."""
        count = min(self.pace.steps * self.pace.rows_per_step, self.pace.repeats * len(self.replay.usable()))
        lessons = self.record.lessons(number, lambda: self.replay.sample(count, self.pace.seed + number))
        if not lessons:
            self.record.finish(number, {"version": version, "burst": None, "replay": self.replay.counts()})
            return version
        self.adopt(self.bursts.settle(max(0, self.pace.max_staleness - self.pace.steps)))
        steps = min(self.pace.steps, ceil(len(lessons) / self.pace.rows_per_step))
        self.bursts.submit(Job(number, version + 1, lessons, steps, self.pace.seed + number))
        if self.pace.max_staleness == 0:
            self.adopt(self.bursts.settle(0))
        return version + 1

    def adopt(self, done: Sequence[Done]) -> None:
        """Answer with new weights from now on."""
        for each in done:
            if self.learner.version != each.version:
                self.learner.load(each.folder)
            burst = vars(self.record.burst(each.version))
            self.record.finish(each.number, {"version": each.version, "burst": burst, "replay": self.replay.counts()})

    def say(self, number: int, num_rounds: int, threads: Sequence[Thread[Answer]]) -> None:
        """One line of progress."""
        counts = Counter(thread.outcome.value for thread in threads)
        outcomes = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())
        self.tell(
            f"Round {number + 1} of {num_rounds}: {outcomes}; {self.added} new lessons, {len(self.replay)} in the "
            f"buffer, version {self.learner.version}."
        )
