"""What the loop must beat: drawing several answers and keeping the one that the verifier likes best (best-of-T, no
training), and supervised training on the accepted answers with the loop's own training compute (no rejected ones).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from domains.example import Example
from experts.checkpoint import Checkpoint, joined, load_tokenizer
from experts.encoding import completion_ids, prompt_ids
from experts.improvement.learner import Turn
from experts.improvement.learners.text import TextLearner
from experts.improvement.record import Record
from experts.improvement.thread import Outcome, Thread
from experts.journal import Stage, run_stage
from experts.recipe import Sft, Training
from experts.stages import sft
from judges.verifier import Task, Verifier

DRAW_SEEDS = 1_000_003  # no two seeds of a bench share a draw
BACKWARD = 2  # a backward pass costs about two forward ones: 3 units a trained token, 1 a scored or generated one
MAX_EPOCHS = 50.0


@dataclass(frozen=True)
class Chosen:
    """The kept answer of each task, how many tokens were generated for all of them, and how many of prompts were read
    for that."""

    answers: list[str]
    num_tokens: int
    num_prompt_tokens: int = 0

    @property
    def compute(self) -> int:
        """The units that the answers took."""
        return self.num_tokens + self.num_prompt_tokens


def best_of(
    learner: TextLearner, verifier: Verifier[str], tasks: Sequence[Task], num_answers: int, seed: int
) -> Chosen:
    """Of one greedy answer and `num_answers - 1` drawn ones, the one whose worst condition is best, then the one with
    the highest mean; ties by order. An answer that cannot be judged comes last."""
    temperatures = [learner.manner.temperature if place else 0.0 for place in range(num_answers)]
    rounds = [learner.draws(tasks, draw_seed(seed, place), heat) for place, heat in enumerate(temperatures)]
    kept = []
    for place, task in enumerate(tasks):
        conditions = verifier.conditions(task)
        found = [verifier.judge(task, conditions, answers[place]) for answers in rounds]
        scores = [(min(c.scores), mean(c.scores)) if c and c.scores else (-1.0, -1.0) for c in found]
        kept.append(rounds[scores.index(max(scores))][place])
    size = sum(len(completion_ids(learner.tokenizer, text)) for answers in rounds for text in answers)
    read = sum(len(prompt_ids(learner.tokenizer, task.request)) for task in tasks)
    return Chosen(kept, size, num_answers * read)


def draw_seed(seed: int, place: int) -> int:
    """The seed of one draw of a bench's seed."""
    return DRAW_SEEDS * (seed + 1) + place


def accepted(record: Record[str]) -> list[Example]:
    """Every accepted answer of a run, also those that were good at once."""
    good = {Outcome.SKIPPED, Outcome.LEARNT, Outcome.TOO_CLOSE}
    return [
        Example(thread.task.id, "instructions", thread.task.request, thread.attempts[-1].answer)
        for thread in threads_of(record)
        if thread.outcome in good
    ]


def threads_of(record: Record[str]) -> list[Thread[str]]:
    """All threads of a run, round by round."""
    rows = sorted(record.all_threads(), key=lambda row: int(row["number"]))
    return [thread for row in rows for thread in record.kept(row["number"], [row["task"]["id"]])]


def attempt_compute(learner: TextLearner, record: Record[str]) -> int:
    """The units of the answers that were given while practising: each attempt read its prompt with its trace."""
    tokenizer, total = learner.tokenizer, 0
    for thread in threads_of(record):
        for place, attempt in enumerate(thread.attempts):
            read = prompt_ids(tokenizer, learner.prompt(Turn(thread.task, thread.attempts[:place])))
            total += len(read) + len(completion_ids(tokenizer, attempt.answer))
    return total


def training_compute(bursts: Sequence[Mapping[str, Any]]) -> int:
    """The units of a loop's bursts: forward and backward on what was trained, forward on what was scored."""
    return sum((1 + BACKWARD) * burst["num_trained"] + burst["num_scored"] for burst in bursts)


@dataclass(frozen=True)
class Tuned:
    """A model after supervised training, and the units that it took; the start where there was nothing to train on."""

    checkpoint: Checkpoint
    compute: int


def sft_on_accepted(
    start: Checkpoint, examples: Sequence[Example], settings: Training, compute: int, seed: int, folder: Path
) -> Tuned:
    """Train on accepted answers at the rate of `settings` for as many epochs as the compute allows; kept in `folder`,
    and gone on with after a kill. The units are of the tokens that were trained."""
    rows = sft.example_rows(load_tokenizer(start.base), examples, settings.row_tokens, seed)
    size = sum(map(len, rows))
    if not size or not compute:
        return Tuned(start, 0)
    epochs = min(MAX_EPOCHS, max(0.1, compute / ((1 + BACKWARD) * size)))
    shared = settings.model_dump(include={"rank", "learning_rate", "row_tokens", "batch_rows", "checkpoint_steps"})
    tuning = Sft(**shared, epochs=epochs, accumulation=1, by_example=True)

    def run(target: Path) -> dict[str, Any]:
        found = sft.run(start, examples, tuning, seed, target / "own")
        joined(start, target / "own", target)
        return found

    inputs = {
        "start": start.digest(),
        "rows": [repr(e) for e in examples],
        "settings": tuning.model_dump(),
        "seed": seed,
    }
    found = run_stage(Stage("sft", folder, inputs, run))["metrics"]
    return Tuned(Checkpoint(start.base, folder), (1 + BACKWARD) * int(found["tokens"]))
