"""What the loop must beat: drawing several answers and keeping the one that the verifier likes best (best-of-T, no
training), and supervised training on the accepted answers with the loop's own training compute (no rejected ones).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from domains.example import Example
from experts.checkpoint import Checkpoint, joined, load_tokenizer
from experts.encoding import completion_ids, prompt_ids
from experts.improvement.learners.text import TextLearner
from experts.improvement.record import Record
from experts.improvement.thread import Outcome
from experts.journal import Stage, run_stage
from experts.recipe import Sft, Training
from experts.stages import sft
from judges.verifier import Task, Verifier

BACKWARD = 2  # a backward pass costs about two forward ones: 3 units a trained token, 1 a scored or generated one
MAX_EPOCHS = 50.0


@dataclass(frozen=True)
class Chosen:
    """The kept answer of each task, and how many tokens were generated for all of them."""

    answers: list[str]
    num_tokens: int


def best_of(
    learner: TextLearner, verifier: Verifier[str], tasks: Sequence[Task], num_answers: int, seed: int
) -> Chosen:
    """Of one greedy answer and `num_answers - 1` drawn ones, the one whose worst condition is best, then the one with
    the highest mean; ties by order. An answer that cannot be judged comes last."""
    rounds = [learner.draws(tasks, seed + i, learner.manner.temperature if i else 0.0) for i in range(num_answers)]
    kept = []
    for place, task in enumerate(tasks):
        conditions = verifier.conditions(task)
        found = [verifier.judge(task, conditions, answers[place]) for answers in rounds]
        scores = [(min(c.scores), mean(c.scores)) if c and c.scores else (-1.0, -1.0) for c in found]
        kept.append(rounds[scores.index(max(scores))][place])
    size = sum(len(completion_ids(learner.tokenizer, text)) for answers in rounds for text in answers)
    return Chosen(kept, size)


def accepted(record: Record[str]) -> list[Example]:
    """Every accepted answer of a run, also those that were good at once."""
    good = {Outcome.SKIPPED, Outcome.LEARNT, Outcome.TOO_CLOSE}
    numbers = {row["number"] for row in record.all_threads()}
    names = {number: [r["task"]["id"] for r in record.all_threads() if r["number"] == number] for number in numbers}
    threads = [thread for number in sorted(numbers) for thread in record.kept(number, names[number])]
    return [
        Example(thread.task.id, "instructions", thread.task.request, thread.attempts[-1].answer)
        for thread in threads
        if thread.outcome in good
    ]


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
    """Train on accepted answers for as many epochs as the compute allows; kept in `folder`, and gone on with after a
    kill."""
    tokenizer = load_tokenizer(start.base)
    size = sum(len(prompt_ids(tokenizer, e.prompt)) + len(completion_ids(tokenizer, e.completion)) for e in examples)
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
    run_stage(Stage("sft", folder, inputs, run))
    return Tuned(Checkpoint(start.base, folder), math.ceil(epochs * (1 + BACKWARD) * size))
