"""The replay buffer: verified failure-to-success lessons on disk, between a thread's trace and the weights.

One append-only file: a kill loses no lesson that was added, and a last line that it cut short is taken off when the
file is opened again. Bounded (the least important go first), deduplicated, drawn in proportion to priority ** alpha
(Schaul et al. 2016, arXiv 1511.05952, proportional variant).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Generic

import numpy as np
from filelock import FileLock

from domains.atomic import write_text_atomically
from domains.errors import UserError
from domains.example import Preference, last_user_turn
from domains.votes import append_line
from experts.improvement.learner import Answer, Codec, Lesson, lesson_as_dict, lesson_key, lesson_of, task_of
from judges.samples import repaired
from judges.verifier import Task, Verifier

EVICTED = "evicted"
LOOP, VOTE = "loop", "vote"
VOTE_PRIORITY = 2.0  # a lesson of the loop has at most 1, the largest gap of scores


@dataclass(frozen=True)
class Stamp:
    """Where a lesson comes from: the loop or a person's vote, and the verifiers that taught it."""

    source: str = LOOP
    verifiers: tuple[str, ...] = ()

    @classmethod
    def of(cls, verifier: Verifier[Any]) -> Stamp:
        """A lesson of the loop under a verifier; a panel is all of its members."""
        return cls(LOOP, tuple(each.name for each in getattr(verifier, "members", (verifier,))))


@dataclass
class Replay(Generic[Answer]):
    """The lessons of a file, oldest first. `capacity` bounds all of them, `per_request` those of one request, so that
    nobody fills the buffer with one question. A lesson on a request of `held_out` (its last user turn) is an error; one
    that was kept before its request was held out is passed over. `votes`: whether votes are drawn; lessons that a
    `barred` verifier has taught are not."""

    path: Path
    codec: Codec[Answer]
    capacity: int = 512
    per_request: int = 4
    alpha: float = 0.6
    held_out: frozenset[str] = frozenset()
    votes: bool = True
    barred: frozenset[str] = frozenset()
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Read the file; evicted lessons stay known, so that they are not added again."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.lock():
            for row in repaired(self.path):
                self.take(row)

    def __len__(self) -> int:
        return len(self.rows)

    def lock(self) -> FileLock:
        """One writer at a time."""
        return FileLock(self.path.with_suffix(".lock"))

    def take(self, row: dict[str, Any]) -> None:
        """Apply one line of the file."""
        self.seen.add(row["key"])
        if row.get(EVICTED) or self.is_held_out(task_of(row["lesson"]["task"])):
            self.rows.pop(row["key"], None)
        else:
            self.rows[row["key"]] = row

    def add(self, lessons: Sequence[Lesson[Answer]], stamp: Stamp) -> int:
        """Add what is new, each in one durable write; returns how many were. What exceeds a bound leaves at once."""
        count = 0
        with self.lock():
            for lesson in lessons:
                self.refuse_held_out(lesson)
                key = lesson_key(lesson, self.codec)
                if key in self.seen:
                    continue
                self.write({"key": key, "lesson": lesson_as_dict(lesson, self.codec), **asdict(stamp)})
                count += 1
            for key in self.surplus():
                self.write({"key": key, EVICTED: True})
            self.compact()
        return count

    def refuse_held_out(self, lesson: Lesson[Answer]) -> None:
        """Nothing is trained on what measures it, wherever the lesson comes from."""
        if self.is_held_out(lesson.task):
            raise UserError(f"The prompt {lesson.task.id} is held out; it must not be trained on. Take it out.")

    def is_held_out(self, task: Task) -> bool:
        """Whether a task asks what is held out."""
        return last_user_turn(task.request) in self.held_out

    def write(self, row: dict[str, Any]) -> None:
        """One line, in the file and in memory."""
        append_line(self.path, json.dumps(row, ensure_ascii=False))
        self.take(row)

    def surplus(self) -> list[str]:
        """Keys beyond the bounds: of the lowest priority first, of these the oldest."""
        order = sorted(self.rows, key=lambda key: priority(self.rows[key]))  # stable: oldest first among equals
        counts = Counter(request(row) for row in self.rows.values())
        found: list[str] = []
        for key in order:
            name = request(self.rows[key])
            if counts[name] > self.per_request or len(self.rows) - len(found) > self.capacity:
                found.append(key)
                counts[name] -= 1
        return found

    def compact(self) -> None:
        """Write the file anew, whole, when most of its lines are of lessons that left."""
        gone = self.seen - self.rows.keys()
        if len(gone) <= 4 * self.capacity:
            return
        self.seen = set(self.rows)
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in self.rows.values()]
        write_text_atomically(self.path, "".join(lines))

    def sample(self, count: int, seed: int) -> list[Lesson[Answer]]:
        """`count` lessons: votes first, for at most half of the places, then all others and the votes that are left.
        Each part is drawn without replacement in proportion to priority ** alpha; when there are fewer lessons, all of
        them come once before any comes again. Empty when there are none."""
        generator = np.random.default_rng(seed)
        usable = self.usable()
        votes = [key for key in usable if self.rows[key]["source"] == VOTE]
        first = self.draw(votes, min(len(votes), (count + 1) // 2), generator)
        others = [key for key in usable if key not in first]
        drawn = first + self.draw(others, min(len(others), count - len(first)), generator)
        while usable and len(drawn) < count:
            drawn += self.draw(usable, min(len(usable), count - len(drawn)), generator)
        return [lesson_of(self.rows[key]["lesson"], self.codec) for key in drawn]

    def usable(self) -> list[str]:
        """The keys of the lessons that may be drawn."""
        return [key for key, row in self.rows.items() if self.is_usable(row)]

    def is_usable(self, row: Mapping[str, Any]) -> bool:
        """Whether a stored lesson may be drawn; older files do not say which verifiers taught."""
        return (self.votes or row["source"] != VOTE) and self.barred.isdisjoint(row.get("verifiers", ()))

    def draw(self, keys: Sequence[str], count: int, generator: np.random.Generator) -> list[str]:
        """`count` of the keys, each at most once."""
        if not count:
            return []
        weights = np.array([priority(self.rows[key]) for key in keys]) ** self.alpha
        drawn = generator.choice(len(keys), size=count, replace=False, p=weights / weights.sum())
        return [keys[int(place)] for place in drawn]

    def counts(self) -> dict[str, int]:
        """How many lessons come from where."""
        return dict(Counter(row["source"] for row in self.rows.values()))


def priority(row: Mapping[str, Any]) -> float:
    """The priority of a stored lesson, above 0 so that each can be drawn."""
    return max(float(row["lesson"]["priority"]), 1e-3)


def request(row: Mapping[str, Any]) -> str:
    """The request of a stored lesson as a key."""
    return json.dumps(row["lesson"]["task"]["request"])


def vote_lessons(rows: Sequence[Preference]) -> list[Lesson[str]]:
    """People's votes as lessons, ahead of what the loop finds."""
    return [
        Lesson(Task(row.id, row.prompt), row.chosen, row.rejected, (1.0,) * len(row.rejected), VOTE_PRIORITY)
        for row in rows
    ]
