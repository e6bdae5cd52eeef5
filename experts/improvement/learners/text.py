"""The text expert as a learner: it answers in batches, and trains a LoRA over its frozen start on preference rows.

The reference of every burst is the start itself (the expert before it improved), so the distance from it is bounded
over all bursts and not burst by burst. A burst is one call of `experts/alignment.py`; it starts from the LoRA of the
burst before, and goes on from its last checkpoint after a kill.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from peft import set_peft_model_state_dict
from torch import Tensor, nn
from transformers import TrainerCallback

from domains.example import Message, Preference
from experts.alignment import Alignment, train_preferences
from experts.checkpoint import CONFIG, WEIGHTS, Checkpoint, compose, load_tokenizer, read_adapter, write_adapter
from experts.digests import digest_of
from experts.encoding import completion_ids, prompt_ids
from experts.generate import Choose, decoded, generate_batch, likeliest
from experts.improvement.averaging import bounded
from experts.improvement.learner import Attempt, Burst, Lesson, Turn
from experts.journal import Stage, run_stage
from experts.measure import Bench
from experts.preferences import load_objective
from experts.recipe import Training
from judges.verifier import Task

STATE, LOST = "learner.json", "lost_by_rank.json"
LORA_SCALING = 2.0  # experts.train.prepare: alpha = 2 r
REVISE = "That answer is not good enough:\n{advice}\nWrite the whole answer again so that every point is met."


@dataclass(frozen=True)
class Manner:
    """How answers are written: at most `max_new_tokens`, `batch_size` at a time. The first attempt is greedy, a retry
    is drawn at `temperature`. It sees as much of its trace as fits into `context_tokens`, the latest first; without
    `feedback` nothing of it."""

    max_new_tokens: int = 96
    batch_size: int = 32
    temperature: float = 0.8
    context_tokens: int = 1024
    feedback: bool = True


@dataclass(frozen=True)
class Study:
    """How a burst trains: the objective with its settings, and the LoRA's rank, rate and rows. What was learnt and the
    start are one adapter of at most `max_rank`."""

    objective: str
    settings: dict[str, Any]
    training: Training
    max_rank: int = 128


@dataclass
class TextLearner:
    """A checkpoint that improves. `work` keeps the bursts, `bench` the model in memory; `own` is the folder of the LoRA
    that was learnt so far (None: nothing yet)."""

    start: Checkpoint
    bench: Bench
    work: Path
    manner: Manner
    study: Study
    own: Path | None = None
    version: int = 0

    @cached_property
    def tokenizer(self) -> Any:
        """The base's tokenizer."""
        return load_tokenizer(self.start.base)

    @property
    def checkpoint(self) -> Checkpoint:
        """The start with what was learnt, as one adapter over the base."""
        if self.own is None:
            return self.start
        target = self.work / f"joined-{digest_of([self.start.digest(), Checkpoint(self.own).digest()])[:12]}"
        return Checkpoint(self.start.base, target) if (target / CONFIG).exists() else joined_at(self, target)

    @property
    def lost_by_rank(self) -> float:
        """The share of the joined adapter's squared norm that the cut to `max_rank` took."""
        path = (self.checkpoint.adapter or self.work) / LOST
        return float(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else 0.0

    def answer(self, task: Task, trace: Sequence[Attempt[str]], seed: int) -> str:
        """One answer."""
        return self.answer_all([Turn(task, tuple(trace))], seed)[0]

    def answer_all(self, turns: Sequence[Turn[str]], seed: int) -> list[str]:
        """One answer a turn: greedy without a trace, drawn (and seeing the critique) with one."""
        found: dict[int, str] = {}
        for is_retry in (False, True):
            places = [place for place, turn in enumerate(turns) if bool(turn.trace) == is_retry]
            prompts = [self.prompt(turns[place]) for place in places]
            texts = self.write(prompts, seed, self.manner.temperature if is_retry else 0.0)
            found |= dict(zip(places, texts, strict=True))
        return [found[place] for place in range(len(turns))]

    def draws(self, tasks: Sequence[Task], seed: int, temperature: float) -> list[str]:
        """One answer a task without any trace, drawn at a temperature (0: greedy)."""
        return self.write([task.request for task in tasks], seed, temperature)

    def prompt(self, turn: Turn[str]) -> tuple[Message, ...]:
        """A request, then as many of the last attempts with their critiques as fit."""
        kept: tuple[Message, ...] = ()
        for attempt in reversed(turn.trace if self.manner.feedback else ()):
            advice = REVISE.format(advice=attempt.critique.advice)
            longer = (Message("assistant", attempt.answer), Message("user", advice), *kept)
            size = len(prompt_ids(self.tokenizer, (*turn.task.request, *longer)))
            if kept and size > self.manner.context_tokens:
                break
            kept = longer
        return (*turn.task.request, *kept)

    @torch.no_grad()
    def write(self, prompts: Sequence[Sequence[Message]], seed: int, temperature: float) -> list[str]:
        """Answers in the order of the prompts, in batches sorted by length."""
        if not prompts:
            return []
        model, ids = self.bench.load(self.checkpoint), [prompt_ids(self.tokenizer, prompt) for prompt in prompts]
        order = sorted(range(len(ids)), key=lambda place: len(ids[place]))
        choose, size, texts = chooser(seed, temperature), self.manner.batch_size, [""] * len(ids)
        for first in range(0, len(order), size):
            chunk = order[first : first + size]
            batch = [ids[place] for place in chunk]
            for row, tokens in generate_batch(model, self.tokenizer, batch, self.manner.max_new_tokens, choose):
                texts[chunk[row]] = decoded(self.tokenizer, tokens).text
        return texts

    def train(self, rows: Sequence[Lesson[str]], num_steps: int, seed: int) -> Burst:
        """A burst; afterwards the learner is one version on."""
        study, version = self.study, self.version + 1
        preferences = [as_preference(lesson, place) for place, lesson in enumerate(rows)]
        batch = max(1, math.ceil(len(rows) / num_steps))
        settings = study.training.model_copy(update={"epochs": 1.0, "batch_rows": batch, "accumulation": 1})
        callbacks = [GoOn(self.own)] if self.own else []

        def run(folder: Path) -> dict[str, Any]:
            alignment = Alignment(load_objective(study.objective, dict(study.settings)))
            return train_preferences(self.start, preferences, alignment, settings, seed, folder, callbacks)

        inputs = {
            "start": self.start.digest(),
            "own": Checkpoint(self.own).digest() if self.own else None,
            "rows": digest_of([repr(row) for row in preferences]),
            "settings": [study.objective, study.settings, settings.model_dump(), seed],
        }
        found = run_stage(Stage("burst", self.work / f"burst-{version}", inputs, run))["metrics"]
        self.own, self.version = self.work / f"burst-{version}", version
        scored = sum(map(self.num_tokens, preferences))
        return Burst(found["loss"], found["steps"], found["tokens"], scored, found)

    def num_tokens(self, row: Preference) -> int:
        """The tokens of a row: its prompt once, and all its candidates."""
        sizes = [len(completion_ids(self.tokenizer, text)) for text in row.candidates]
        return len(prompt_ids(self.tokenizer, row.prompt)) + sum(sizes)

    def save(self, folder: Path) -> None:
        """The LoRA and the version."""
        if self.own is not None:
            for name in (CONFIG, WEIGHTS):
                shutil.copy(self.own / name, folder / name)
        (folder / STATE).write_text(json.dumps({"version": self.version}), encoding="utf-8")

    def load(self, folder: Path) -> None:
        """Take up a LoRA: the next answer is given with it."""
        self.own = folder if (folder / CONFIG).exists() else None
        self.version = int(json.loads((folder / STATE).read_text(encoding="utf-8"))["version"])


def joined_at(learner: TextLearner, target: Path) -> Checkpoint:
    """The start and the learnt LoRA as one adapter; its folder has its name when it is complete."""
    assert learner.own is not None, "there is something to join"
    scratch = target.with_name(f".{target.name}.part")
    shutil.rmtree(scratch, ignore_errors=True)
    start, own = (read_adapter(folder) if folder else {} for folder in (learner.start.adapter, learner.own))
    cut = bounded(compose([(start, 1.0), (own, 1.0)]), learner.study.max_rank)
    write_adapter(cut.updates, learner.start.base, scratch)
    (scratch / LOST).write_text(json.dumps(cut.lost), encoding="utf-8")
    shutil.rmtree(target, ignore_errors=True)
    scratch.rename(target)
    return Checkpoint(learner.start.base, target)


def as_preference(lesson: Lesson[str], place: int) -> Preference:
    """A lesson as a preference row; `place` keeps the ids of repeated ones apart."""
    scores = (max(lesson.gaps), *(max(lesson.gaps) - gap for gap in lesson.gaps))
    return Preference(f"{lesson.task.id}-{place}", lesson.task.request, lesson.accepted, lesson.rejected, (), scores)


def chooser(seed: int, temperature: float) -> Choose:
    """Greedy at temperature 0, else draws with a generator of their own: no other thread moves it."""
    if temperature == 0:
        return likeliest
    generator = torch.Generator().manual_seed(seed)

    def draw(logits_BV: Tensor) -> Tensor:
        probabilities = (logits_BV.float() / temperature).softmax(-1).cpu()
        return torch.multinomial(probabilities, 1, generator=generator).squeeze(1).to(logits_BV.device)

    return draw


class GoOn(TrainerCallback):
    """Begins a training with the LoRA of an earlier one. A training that goes on after a kill has it already."""

    def __init__(self, own: Path) -> None:
        self.own = own

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Put the factors in; references were computed before, with the new LoRA, which is zero."""
        if state.global_step == 0:
            put(model, self.own)


def put(model: nn.Module, folder: Path) -> None:
    """Set a model's LoRA to an adapter's."""
    tensors = {}
    for name, update in read_adapter(folder).items():
        tensors[f"base_model.model.{name}.lora_A.weight"] = update.down
        tensors[f"base_model.model.{name}.lora_B.weight"] = update.up * (update.scaling / LORA_SCALING)
    loaded = set_peft_model_state_dict(model, tensors)
    assert not loaded.unexpected_keys, f"the adapter has other weights: {loaded.unexpected_keys[:3]}"
