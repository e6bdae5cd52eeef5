"""What improves by itself, behind one protocol: it answers a task, given its earlier attempts, and trains on lessons.

The loop (arXiv 2511.23436, section 3) knows nothing else of a learner: not what an answer is, and not how it trains.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from domains.example import Message
from judges.samples import key_of
from judges.verifier import Critique, Task

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Attempt(Generic[Answer]):
    """One answer of a thread with what the verifier found; `score` (0..1) is its score by the rule of acceptance."""

    answer: Answer
    critique: Critique
    score: float


@dataclass(frozen=True)
class Lesson(Generic[Answer]):
    """An accepted answer against the k >= 1 earlier ones that were not: `gaps[i]` is its score minus that of
    `rejected[i]`. Higher priority is drawn more often."""

    task: Task
    accepted: Answer
    rejected: tuple[Answer, ...]
    gaps: tuple[float, ...]
    priority: float


@dataclass(frozen=True)
class Turn(Generic[Answer]):
    """A task with its trace so far: the short-term memory of a thread."""

    task: Task
    trace: tuple[Attempt[Answer], ...] = ()


@dataclass(frozen=True)
class Burst:
    """A short training: its mean loss (nats a row), optimiser steps, and the tokens (or other units of work) that went
    forward and backward (`num_trained`) or forward only (`num_scored`)."""

    loss: float
    steps: int
    num_trained: int = 0
    num_scored: int = 0
    metrics: Mapping[str, Any] = field(default_factory=dict)


class Learner(Protocol[Answer]):
    """Answers and trains; `load` takes up what another one, or an earlier process, has saved."""

    @property
    def version(self) -> int:
        """How many trainings were taken up."""
        ...

    def answer(self, task: Task, trace: Sequence[Attempt[Answer]], seed: int) -> Answer:
        """An answer; with a trace, a revision of its last attempt."""
        ...

    def train(self, rows: Sequence[Lesson[Answer]], num_steps: int, seed: int) -> Burst:
        """So many optimiser steps on all of the rows, each seen once; killed and called again with the same
        arguments, it goes on."""
        ...

    def save(self, folder: Path) -> None:
        """Write what was learnt into an empty folder."""
        ...

    def load(self, folder: Path) -> None:
        """Take up what was saved."""
        ...


@runtime_checkable
class BatchLearner(Protocol):
    """A learner that answers many turns at once, which is several times faster for a language model."""

    def answer_all(self, turns: Sequence[Turn[Any]], seed: int) -> list[Any]:
        """One answer a turn, in order."""
        ...


@dataclass(frozen=True)
class Codec(Generic[Answer]):
    """Answers as JSON and back, for files."""

    encode: Callable[[Answer], Any]
    decode: Callable[[Any], Answer]


TEXT: Codec[str] = Codec(str, str)


def answers(learner: Learner[Answer], turns: Sequence[Turn[Answer]], seed: int) -> list[Answer]:
    """An answer to each turn, together where the learner can."""
    if isinstance(learner, BatchLearner):
        return learner.answer_all(turns, seed)
    return [learner.answer(turn.task, turn.trace, seed) for turn in turns]


def task_as_dict(task: Task) -> dict[str, Any]:
    """A task as JSON."""
    return {"id": task.id, "request": [turn.as_dict() for turn in task.request], "facts": dict(task.facts)}


def task_of(content: Mapping[str, Any]) -> Task:
    """A task from its JSON."""
    return Task(content["id"], tuple(Message(**turn) for turn in content["request"]), content["facts"])


def lesson_as_dict(lesson: Lesson[Answer], codec: Codec[Answer]) -> dict[str, Any]:
    """A lesson as JSON."""
    return {
        "task": task_as_dict(lesson.task),
        "accepted": codec.encode(lesson.accepted),
        "rejected": [codec.encode(answer) for answer in lesson.rejected],
        "gaps": list(lesson.gaps),
        "priority": lesson.priority,
    }


def lesson_of(content: Mapping[str, Any], codec: Codec[Answer]) -> Lesson[Answer]:
    """A lesson from its JSON."""
    rejected = tuple(codec.decode(answer) for answer in content["rejected"])
    accepted, gaps = codec.decode(content["accepted"]), tuple(content["gaps"])
    return Lesson(task_of(content["task"]), accepted, rejected, gaps, content["priority"])


def lesson_key(lesson: Lesson[Answer], codec: Codec[Answer]) -> str:
    """The same for the same request, accepted answer and rejected answers, in whatever order these came."""
    content = lesson_as_dict(lesson, codec)
    return key_of(content["task"]["request"], content["accepted"], sorted(map(key_of, content["rejected"])))
