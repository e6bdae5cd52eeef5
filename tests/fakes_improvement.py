"""A learner of one number and a verifier of numbers, so that the loop can be followed by hand; and a process to kill.

`python -m tests.fakes_improvement FOLDER [SECONDS]` runs the loop over the tasks 0..11 and prints what is on disk.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from domains.example import Message
from experts.improvement.bursts import Immediate
from experts.improvement.learner import Attempt, Burst, Codec, Lesson
from experts.improvement.loop import Loop, Pace
from experts.improvement.record import Record
from experts.improvement.replay import Replay
from experts.improvement.thread import Rules
from judges.verifier import Condition, Critique, Task

NUMBER: Codec[int] = Codec(int, int)


def task(number: int) -> Task:
    """A task that is solved by a number of at least its own."""
    return Task(f"t{number}", (Message("user", f"Reach {number}."),), {"wanted": number})


@dataclass
class Counter:
    """Answers with its skill, one more with each attempt; a burst adds one to the skill. It learns in small steps of
    `seconds`, and says when it begins."""

    skill: int = 0
    version: int = 0
    seconds: float = 0.0
    asked: list[tuple[str, int, int]] = field(default_factory=list)
    trained: list[list[str]] = field(default_factory=list)

    def answer(self, task: Task, trace: Sequence[Attempt[int]], seed: int) -> int:
        self.asked.append((task.id, len(trace), self.version))
        return self.skill + len(trace)

    def train(self, rows: Sequence[Lesson[int]], num_steps: int, seed: int) -> Burst:
        self.trained.append([row.task.id for row in rows])
        for step in range(num_steps):
            print(f"step {step}", flush=True) if self.seconds else None
            time.sleep(self.seconds)
        self.skill, self.version = self.skill + 1, self.version + 1
        return Burst(1.0, num_steps, num_trained=len(rows))

    def save(self, folder: Path) -> None:
        (folder / "state.json").write_text(json.dumps({"skill": self.skill, "version": self.version}))

    def load(self, folder: Path) -> None:
        content = json.loads((folder / "state.json").read_text())
        self.skill, self.version = content["skill"], content["version"]


@dataclass
class Reaches:
    """One condition: the share of the wanted number that was reached. Tasks in `blind` cannot be judged."""

    name: str = "reaches"
    blind: frozenset[str] = frozenset()

    def conditions(self, task: Task) -> tuple[Condition, ...]:
        return (Condition("reached", f"Is it at least {task.facts['wanted']}?"),)

    def judge(self, task: Task, conditions: Sequence[Condition], answer: int) -> Critique | None:
        if task.id in self.blind:
            return None
        wanted = task.facts["wanted"]
        score = 1.0 if answer >= wanted else 0.5 * answer / wanted
        return Critique((score,), "" if score == 1 else "reached: go higher")


@dataclass(frozen=True)
class Digest:
    """Scores a text with a number that its characters decide, so that some retries are better than others."""

    name: str = "digest"

    def conditions(self, task: Task) -> tuple[Condition, ...]:
        return (Condition("high", "Is the number high?"),)

    def judge(self, task: Task, conditions: Sequence[Condition], answer: str) -> Critique | None:
        score = hashlib.sha256(answer.encode()).digest()[0] / 255
        return Critique((score,), "" if score > 0.5 else "- Is the number high? No.")


def loop_in(folder: Path, learner: Counter, pace: Pace, rules: Rules | None = None) -> Loop[int]:
    """A loop of which everything is in a folder."""
    record, replay = Record(folder, NUMBER), Replay(folder / "replay.jsonl", NUMBER)
    bursts = Immediate(learner, record)
    return Loop(learner, Reaches(), replay, record, bursts, rules or Rules(), pace, lambda line: None)


if __name__ == "__main__":
    counter = Counter(seconds=float(sys.argv[2]) if len(sys.argv) > 2 else 0.0)
    loop = loop_in(Path(sys.argv[1]), counter, Pace(prompts=4, steps=5, rows_per_step=1))
    loop.run([task(number) for number in range(12)])
    print(json.dumps({"skill": counter.skill, "version": counter.version, "lessons": len(loop.replay)}), flush=True)
