"""Several text learners as one: each trains on the lessons of its own prompts, then their LoRA deltas are averaged.

Prompts belong to a worker by a hash of their id, so no lesson leaves it: only adapters do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from experts.checkpoint import Checkpoint
from experts.digests import digest_of
from experts.improvement.averaging import average_folders
from experts.improvement.learner import Attempt, Burst, Lesson, Turn
from experts.improvement.learners.text import TextLearner
from experts.journal import Stage, run_stage
from judges.verifier import Task


@dataclass
class FederatedLearner:
    """Workers with the same start. All answer with the average, so the first one answers for them."""

    workers: tuple[TextLearner, ...]

    @classmethod
    def of(cls, learner: TextLearner, num_workers: int) -> FederatedLearner:
        """As many copies of a learner, each with its own folder."""
        return cls(tuple(replace(learner, work=learner.work / f"worker-{i}") for i in range(num_workers)))

    @property
    def version(self) -> int:
        """The version of the average."""
        return self.workers[0].version

    @property
    def checkpoint(self) -> Checkpoint:
        """The start with the average."""
        return self.workers[0].checkpoint

    @property
    def lost_by_rank(self) -> float:
        """What the cut of the joined adapter to the maximal rank took."""
        return self.workers[0].lost_by_rank

    def answer(self, task: Task, trace: Sequence[Attempt[str]], seed: int) -> str:
        """One answer."""
        return self.workers[0].answer(task, trace, seed)

    def answer_all(self, turns: Sequence[Turn[str]], seed: int) -> list[str]:
        """One answer a turn."""
        return self.workers[0].answer_all(turns, seed)

    def train(self, rows: Sequence[Lesson[str]], num_steps: int, seed: int) -> Burst:
        """Each worker with lessons trains; the mean of what they learnt is the new version."""
        shards = [[row for row in rows if owner(row.task.id, len(self.workers)) == i] for i in range(len(self.workers))]
        active = [(worker, shard) for worker, shard in zip(self.workers, shards, strict=True) if shard]
        bursts = [worker.train(shard, min(num_steps, len(shard)), seed) for worker, shard in active]
        folders = [worker.own for worker, _ in active if worker.own is not None]
        first, version = self.workers[0], active[0][0].version

        def run(folder: Path) -> dict[str, float]:
            lost = average_folders(folders, first.start.base, first.study.training.rank, folder)
            return {"lost_by_rank": lost}

        inputs = {"workers": [digest_of([Checkpoint(folder).digest()]) for folder in folders]}
        target = first.work.parent / f"average-{version}"
        lost = run_stage(Stage("average", target, inputs, run))["metrics"]
        for worker in self.workers:
            worker.own, worker.version = target, version
        return Burst(
            sum(burst.loss for burst in bursts) / len(bursts),
            max(burst.steps for burst in bursts),
            sum(burst.num_trained for burst in bursts),
            sum(burst.num_scored for burst in bursts),
            {**lost, "workers": len(bursts)},
        )

    def save(self, folder: Path) -> None:
        """The average and the version."""
        self.workers[0].save(folder)

    def load(self, folder: Path) -> None:
        """Take up an average, in every worker."""
        for worker in self.workers:
            worker.load(folder)


def owner(task_id: str, num_workers: int) -> int:
    """The worker whose prompt this is."""
    return int.from_bytes(hashlib.sha256(task_id.encode()).digest()[:4], "big") % num_workers
