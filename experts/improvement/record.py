"""What a run has done, on disk: every finished thread and every burst, so that a killed run goes on where it was.

RUN/threads.jsonl, RUN/rounds.jsonl, RUN/lessons-N.json (what burst N trains on) and RUN/version-N (what it learnt).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Generic

from domains.atomic import write_text_atomically
from experts.improvement.learner import (
    Answer,
    Attempt,
    Burst,
    Codec,
    Lesson,
    lesson_as_dict,
    lesson_of,
    task_as_dict,
    task_of,
)
from experts.improvement.thread import Outcome, Thread
from judges.samples import SampleFile
from judges.verifier import Condition, Critique


@dataclass(frozen=True)
class Seen:
    """A finished thread as it was recorded: the learner's version that answered, and how many optimiser steps had been
    asked for but not yet taken up then."""

    number: int
    version: int
    staleness: int


@dataclass(frozen=True)
class Record(Generic[Answer]):
    """The folder of a run."""

    folder: Path
    codec: Codec[Answer]

    @cached_property
    def threads(self) -> SampleFile:
        """Finished threads by round and task."""
        return SampleFile(self.folder / "threads.jsonl")

    @cached_property
    def rounds(self) -> SampleFile:
        """Finished rounds."""
        return SampleFile(self.folder / "rounds.jsonl")

    def keep(self, thread: Thread[Answer], seen: Seen) -> None:
        """Write a finished thread."""
        self.threads.append([{"key": thread_key(seen.number, thread.task.id), **thread_as_dict(thread, self.codec),
                              **asdict(seen)}])  # fmt: skip

    def missing(self, number: int, task_ids: Sequence[str]) -> list[str]:
        """The tasks of a round whose threads are not there."""
        return [name for name in task_ids if thread_key(number, name) not in self.threads.known]

    def kept(self, number: int, task_ids: Sequence[str]) -> list[Thread[Answer]]:
        """The threads of a round, in the order of its tasks."""
        return [thread_of(self.threads.known[thread_key(number, name)], self.codec) for name in task_ids]

    def all_threads(self) -> list[dict[str, Any]]:
        """All threads as they stand in the file, in the order in which they ended."""
        return list(self.threads.known.values())

    def finish(self, number: int, content: dict[str, Any]) -> None:
        """Note that a round is done."""
        self.rounds.append([{"key": str(number), "number": number, **content}])

    def finished(self, number: int) -> dict[str, Any] | None:
        """The note of a round that is done."""
        return self.rounds.known.get(str(number))

    def lessons(self, number: int, draw: Callable[[], list[Lesson[Answer]]]) -> list[Lesson[Answer]]:
        """What the burst of a round trains on: drawn once, the same after a kill."""
        path = self.folder / f"lessons-{number}.json"
        if not path.exists():
            rows = [lesson_as_dict(lesson, self.codec) for lesson in draw()]
            write_text_atomically(path, json.dumps(rows, ensure_ascii=False))
        return [lesson_of(row, self.codec) for row in json.loads(path.read_text(encoding="utf-8"))]

    def version(self, number: int) -> Path:
        """Where a version is."""
        return self.folder / f"version-{number}"

    def save(self, number: int, write: Callable[[Path], None], burst: Burst) -> Path:
        """Keep a version: its folder has its name when it is complete."""
        target = self.version(number)
        scratch = target.with_name(f".{target.name}.part")
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        write(scratch)
        (scratch / "burst.json").write_text(json.dumps(asdict(burst)), encoding="utf-8")
        scratch.rename(target)
        return target

    def burst(self, number: int) -> Burst:
        """The burst that made a version."""
        return Burst(**json.loads((self.version(number) / "burst.json").read_text(encoding="utf-8")))


def thread_key(number: int, task_id: str) -> str:
    """The key of a thread."""
    return f"{number}:{task_id}"


def thread_as_dict(thread: Thread[Answer], codec: Codec[Answer]) -> dict[str, Any]:
    """A thread as JSON."""
    return {
        "task": task_as_dict(thread.task),
        "conditions": [asdict(condition) for condition in thread.conditions],
        "attempts": [
            {"answer": codec.encode(a.answer), "scores": list(a.critique.scores), "advice": a.critique.advice,
             "score": a.score}
            for a in thread.attempts
        ],
        "outcome": thread.outcome.value,
        "lesson": lesson_as_dict(thread.lesson, codec) if thread.lesson else None,
    }  # fmt: skip


def thread_of(content: dict[str, Any], codec: Codec[Answer]) -> Thread[Answer]:
    """A thread from its JSON."""
    attempts = tuple(
        Attempt(codec.decode(a["answer"]), Critique(tuple(a["scores"]), a["advice"]), a["score"])
        for a in content["attempts"]
    )
    return Thread(
        task_of(content["task"]),
        tuple(Condition(**condition) for condition in content["conditions"]),
        attempts,
        Outcome(content["outcome"]),
        lesson_of(content["lesson"], codec) if content["lesson"] else None,
    )
