"""Preference training: one subclass of transformers.Trainer, any objective, any number of answers and references."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import torch
from datasets import Dataset
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback, TrainingArguments

from domains.errors import UserError
from domains.example import Preference
from experts.checkpoint import Checkpoint
from experts.head import PreferenceHead, load_head
from experts.logprobs import HEAD
from experts.mixing import Mixing
from experts.preferences import (
    Batchwise,
    Collator,
    EncodedPreference,
    Measured,
    Objective,
    PreferenceBatch,
    Running,
    collate_alone,
    collate_preferences,
    collator_for,
    encode_preference,
    longest,
    preference_batch,
    references_of,
)
from experts.ranks import first_alone, means, num_ranks, num_started, rank
from experts.recipe import Training
from experts.references import ReferenceCache
from experts.saving import head_state, save_trained
from experts.train import (
    LOG,
    Log,
    MarkComplete,
    Trainable,
    arguments,
    asked_first,
    autocast,
    checked,
    fit,
    for_scoring,
    note_tokens,
    num_steps,
    prepare,
)

STATE = "alignment.json"
REFERENCES = "references.json"


@runtime_checkable
class WithHead(Protocol):
    """An objective that trains a preference head."""

    pooler: str
    head_learning_rate: float
    head_decay: float
    prior_decay: float


def head_groups(model: Any, settings: WithHead) -> list[dict[str, Any]]:
    """Parameter groups: the head, the second factors of the adapter, the rest."""
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    head = [weight for name, weight in trained.items() if HEAD in name]
    second = [weight for name, weight in trained.items() if "lora_B" in name]
    rest = [weight for name, weight in trained.items() if HEAD not in name and "lora_B" not in name]
    return [
        {"params": head, "lr": settings.head_learning_rate, "weight_decay": settings.head_decay},
        {"params": second, "weight_decay": settings.prior_decay},
        {"params": rest, "weight_decay": 0.0},
    ]


def check_method(objective: Objective, method: str) -> None:
    """Refuse a decay toward the start where the start is not 0."""
    if method == "full" and isinstance(objective, WithHead) and objective.prior_decay > 0:
        raise UserError(
            f"align.settings.prior_decay is {objective.prior_decay:g}, but with align.method = full no copy of the "
            "initial weights is kept to decay to. Set it to 0, or align.method to lora."
        )


@dataclass(frozen=True)
class Evaluated:
    """The loss of each row of a batch, the batch with the reference that it was evaluated under, and what each of
    several references weighed in it on average."""

    loss_B: Tensor
    batch: PreferenceBatch
    weights: tuple[float, ...] = ()


@dataclass(frozen=True)
class Alignment:
    """What preference training is about: the objective, the references and how they mix, and the rewards (by row id)
    that an objective needs. No references means the starting model. `held_out` rows set a mixture's weights."""

    objective: Objective
    mixing: Mixing = field(default_factory=Mixing)
    references: tuple[Checkpoint, ...] = ()
    held_out: tuple[Preference, ...] = ()
    scores: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def state(self) -> dict[str, Any]:
        """Running statistics, as JSON."""
        objective = self.objective.state() if isinstance(self.objective, Running) else {}
        return {"objective": objective, "mixing": self.mixing.state()}

    def evaluated(self, batch: PreferenceBatch, rows: Sequence[EncodedPreference]) -> Evaluated:
        """The loss of a batch. In training its statistics are noted by the objective before its loss, under the mixture
        that the loss has; by the mixture after it: a batch never sets its own weights."""
        objective, mixing = self.objective, self.mixing
        if "reference" not in objective.needs or len(rows[0].references) < 2:
            self.observe(batch)
            return Evaluated(objective(batch), batch)
        references_RBC = references_of(rows, batch.policy_BC)
        mixed = mixing.mixed(batch, references_RBC)
        self.observe(mixed)
        loss_B = mixing.loss(objective, batch, references_RBC)
        weights_RB = mixing.weights(references_RBC, batch.present_BC)
        if batch.training:
            mixing.observe(references_RBC, batch.present_BC)
        return Evaluated(loss_B, mixed, tuple(weights_RB.mean(1).tolist()))

    def observe(self, batch: PreferenceBatch) -> None:
        """Let the objective note a training batch."""
        if batch.training and isinstance(self.objective, Running):
            self.objective.observe(batch)

    def check(self, settings: Training, num_rows: int) -> None:
        """Refuse a training in which the objective could not do what its settings say."""
        if isinstance(self.objective, Batchwise):
            self.objective.check_batch(num_started() * min(settings.batch_rows, num_rows))
        check_method(self.objective, str(settings.method))

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from saved statistics."""
        if isinstance(self.objective, Running):
            self.objective.restore(state["objective"])
        self.mixing.restore(state["mixing"])


class PreferenceTrainer(Trainer):
    """Any objective on rows of one chosen and k >= 1 rejected answers, the prompt computed once per row, under any
    mixture of references."""

    def __init__(self, *args: Any, alignment: Alignment, **options: Any) -> None:
        self.alignment = alignment
        self.sums: dict[str, float] = {}
        self.num_summed = 0
        super().__init__(*args, **options)
        self.model_accepts_loss_kwargs = True  # so that the rows of the whole optimiser batch are counted

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Tensor:
        """Mean of the objective over the rows of the optimiser batch, this batch's part."""
        with autocast(self.args):
            scored = model(inputs["batch"])
        note_tokens(self, model, inputs["batch"])
        found = self.alignment.evaluated(preference_batch(scored, inputs["rows"], model.training), inputs["rows"])
        self.note(found)
        if num_items_in_batch is None:
            return checked(found.loss_B.mean(), "preference")
        return checked(found.loss_B.sum() / num_items_in_batch * num_ranks(), "preference")

    @torch.no_grad()
    def note(self, evaluated: Evaluated) -> None:
        """Add a batch's numbers, each row with the same weight, to those of the next log line."""
        objective, batch = self.alignment.objective, evaluated.batch
        found = {"reward_margin": float(batch.mean_over_rejected(batch.margins_BK).mean())}
        found["reward_accuracy"] = float(batch.mean_over_rejected((batch.margins_BK > 0).float()).mean())
        found |= objective.metrics(batch) if isinstance(objective, Measured) else {}
        found |= {f"reference_weight_{number}": weight for number, weight in enumerate(evaluated.weights, 1)}
        num_rows = len(batch.policy_BC)
        self.sums = {name: self.sums.get(name, 0.0) + num_rows * value for name, value in found.items()}
        self.num_summed += num_rows

    def log(self, logs: dict[str, float], *args: Any, **options: Any) -> None:
        """One log line, with the means since the last one."""
        if self.num_summed:
            found = means({name: value / self.num_summed for name, value in self.sums.items()})
            logs = logs | {name: round(value, 4) for name, value in found.items()}
            self.sums, self.num_summed = {}, 0
        super().log(logs, *args, **options)

    def create_optimizer(self, *args: Any, **options: Any) -> Any:
        """AdamW; an adapter's second factor decays to 0, which is where it started, and a head has its own rates."""
        if self.optimizer is None and isinstance(self.alignment.objective, WithHead):
            kind, settings = self.get_optimizer_cls_and_kwargs(self.args, cast(Any, self.model))
            self.optimizer = kind(head_groups(self.model, self.alignment.objective), **settings)
        return super().create_optimizer(*args, **options)

    def _save_checkpoint(self, *args: Any, **options: Any) -> None:
        super()._save_checkpoint(*args, **options)
        folder = Path(cast(str, self.args.output_dir)) / f"checkpoint-{self.state.global_step}"
        head = head_state(cast(nn.Module, self.model)) if hasattr(self.model, HEAD) else {}
        if rank() == 0:
            (folder / STATE).write_text(json.dumps(self.alignment.state()))
        if rank() == 0 and head:
            cast(PreferenceHead, getattr(self.model, HEAD)).save(folder, head)


def train_preferences(  # noqa: PLR0913, PLR0917 - callbacks are for benches alone
    start: Checkpoint,
    rows: Sequence[Preference],
    alignment: Alignment,
    settings: Training,
    seed: int,
    folder: Path,
    callbacks: Sequence[TrainerCallback] = (),
) -> dict[str, Any]:
    """Preference training; the adapter, and the head of an objective that has one, are written to `folder`."""
    if not rows:
        raise UserError("There is nothing to align on: the preference training split is empty. Add preference rows.")
    alignment.check(settings, len(rows))
    ready = prepare(start, settings, seed, folder)
    add_head(ready, alignment.objective, seed)
    cache = ReferenceCache(folder / REFERENCES, settings.row_tokens)
    encoded = encoded_rows(ready, start, rows, alignment, cache)
    pad_id = ready.tokenizer.pad_token_id
    collator = shared_collator(ready, longest(encoded), settings.row_tokens)

    def to_batch(items: list[dict[str, int]]) -> dict[str, Any]:
        chosen = [encoded[item["row"]] for item in items]
        counted = torch.zeros(len(chosen), dtype=torch.long)  # one a row; the trainer only counts them
        batch = collator(chosen, settings.row_tokens, pad_id)
        return {"batch": batch, "rows": chosen, "labels": counted, "shift_labels": counted}

    trainer = PreferenceTrainer(
        model=ready.model,
        alignment=alignment,
        args=TrainingArguments(**arguments(folder, settings, seed, ready.device, num_steps(len(rows), settings))),
        train_dataset=Dataset.from_dict({"row": list(range(len(rows)))}),
        data_collator=to_batch,
        processing_class=ready.tokenizer,
        callbacks=[Log(folder / LOG), MarkComplete(), *callbacks],
    )

    def restore(checkpoint: Path) -> None:
        alignment.restore(json.loads((checkpoint / STATE).read_text()))
        if hasattr(ready.model, HEAD):
            getattr(ready.model, HEAD).load_state_dict(load_head(checkpoint).state_dict())

    metrics = fit(trainer, folder, restore)
    save_trained(trainer.model, ready.shapes, folder)
    return metrics


def shared_collator(ready: Trainable, row: EncodedPreference, row_tokens: int) -> Collator:
    """The collator that fits the model, found by rank 0."""
    pad_id = ready.tokenizer.pad_token_id
    packs = asked_first(ready, lambda: collator_for(ready.model, row, row_tokens, pad_id) is collate_preferences)
    return collate_preferences if packs else collate_alone


def add_head(ready: Trainable, objective: Objective, seed: int) -> None:
    """Give the model a preference head when the objective trains one."""
    if isinstance(objective, WithHead):
        head = PreferenceHead(ready.model.get_output_embeddings().weight.shape[1], objective.pooler, seed)
        ready.model.add_module(HEAD, head.to(ready.model.device))


def encoded_rows(
    ready: Trainable, start: Checkpoint, rows: Sequence[Preference], alignment: Alignment, cache: ReferenceCache
) -> list[EncodedPreference]:
    """Rows as tokens, with the log-probabilities of the references and the rewards that the objective needs."""
    needs = alignment.objective.needs
    encoded = [encode_preference(ready.tokenizer, row, "head" in needs) for row in rows]
    if "reference" in needs:
        columns = reference_columns(ready, start, rows, alignment, cache)
        encoded = [replace(row, references=values) for row, values in zip(encoded, columns, strict=True)]
    if "scores" in needs:
        encoded = [replace(e, scores=rewards_of(row, alignment.scores)) for e, row in zip(encoded, rows, strict=True)]
    return encoded


def rewards_of(row: Preference, scores: Mapping[str, tuple[float, ...]]) -> tuple[float, ...]:
    """The rewards of a row's candidates."""
    found = scores.get(row.id) or row.scores
    if found is None or len(found) != len(row.candidates):
        raise UserError(
            f"Preference row '{row.id}' has no reward for each of its {len(row.candidates)} answers. "
            "Add 'scores' to it (chosen first), or set align.rewards to reward_model, judges or an expert with a head."
        )
    return tuple(map(float, found))


def reference_columns(
    ready: Trainable, start: Checkpoint, rows: Sequence[Preference], alignment: Alignment, cache: ReferenceCache
) -> list[tuple[tuple[float, ...], ...]]:
    """Every reference's log-probabilities for each row. The starting model is scored as it is in memory; any other
    reads the same text with its own tokenizer and template."""
    wanted = [*rows, *alignment.held_out] if alignment.mixing.needs_held_out else list(rows)
    with first_alone(), for_scoring(ready):
        columns = [
            cache.column(reference, wanted, ready if reference == start else None)
            for reference in alignment.references or (start,)
        ]
    table = list(zip(*columns, strict=True))
    if alignment.mixing.needs_held_out:
        alignment.mixing.fit_rows(table[len(rows) :])
    return table[: len(rows)]
