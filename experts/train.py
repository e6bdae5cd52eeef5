"""What all training shares, and next-token training: TRL's SFTTrainer on packed rows. See `alignment` for preferences.

Log-probabilities come from `logprobs.score`, so masks, packing and precision are the same everywhere.
"""

from __future__ import annotations

import json
import math
import shutil
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from transformers import TrainerCallback, TrainingArguments, set_seed
from transformers.trainer_callback import ProgressCallback
from transformers.trainer_utils import get_last_checkpoint
from trl import SFTConfig, SFTTrainer

from domains.errors import UserError
from experts.batch import Row, collate
from experts.checkpoint import Checkpoint, load, load_tokenizer
from experts.device import Device, probe
from experts.journal import CHECKPOINTS
from experts.logprobs import score
from experts.ranks import num_ranks
from experts.recipe import Training

LOG = "train_log.jsonl"
COMPLETE = "complete"


@dataclass(frozen=True)
class Trainable:
    """A model prepared for training, its tokenizer and its device."""

    model: Any
    tokenizer: Any
    device: Device


def prepare(start: Checkpoint, settings: Training, seed: int) -> Trainable:
    """Load a checkpoint and make it trainable: new LoRA factors (seeded), or all weights in fp32."""
    device = probe()
    set_seed(seed)
    dtype = device.dtype if settings.method == "lora" else torch.float32
    model = load(start, dtype, device.train_attention)
    if settings.method == "lora":
        config = LoraConfig(
            r=settings.rank, lora_alpha=2 * settings.rank, target_modules="all-linear", task_type="CAUSAL_LM"
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            model = get_peft_model(model, config)
    if settings.compile:
        for layer in layers(model):
            layer.compile(dynamic=True)
    model.forward = partial(score, model)  # so that a wrapper for several processes sees every forward pass
    return Trainable(model.train(), load_tokenizer(start.base), device)


def layers(model: nn.Module) -> list[nn.Module]:
    """The decoder's blocks, all of one class: compiled once for all of them."""
    names = getattr(model, "_no_split_modules", None) or ()
    return [module for module in model.modules() if type(module).__name__ in names]


def arguments(folder: Path, settings: Training, seed: int, device: Device, num_steps: int) -> dict[str, Any]:
    """The training arguments that every loop shares."""
    return {
        "output_dir": str(folder / CHECKPOINTS),
        "per_device_train_batch_size": settings.batch_rows,
        "gradient_accumulation_steps": settings.accumulation,
        "learning_rate": settings.learning_rate,
        "num_train_epochs": settings.epochs,
        "warmup_steps": math.ceil(settings.warmup * num_steps),
        "lr_scheduler_type": "cosine",
        "seed": seed,
        "bf16": device.bf16,
        "use_cpu": device.is_cpu,
        "activation_checkpointing": settings.gradient_checkpointing,
        "activation_checkpointing_kwargs": {"use_reentrant": False},
        "save_strategy": "steps",
        "save_steps": settings.checkpoint_steps,
        "save_total_limit": 2,  # the older one is complete while the newer one is being written
        "logging_steps": 1,
        "report_to": "none",
        "remove_unused_columns": False,
        "dataloader_pin_memory": False,
        "max_grad_norm": 1.0,
    }


class Log(TrainerCallback):
    """Appends every log line to a JSONL file; a resumed run drops the lines after its checkpoint first."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Keep the lines up to the step that training goes on from."""
        if self.path.exists():
            lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
            kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= state.global_step]
            self.path.write_text("".join(kept), encoding="utf-8")

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        """Write one line."""
        with self.path.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps({"step": state.global_step, **(logs or {})}) + "\n")


class MarkComplete(TrainerCallback):
    """Writes a file into each checkpoint when all its other files are there."""

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The last thing that happens to a checkpoint."""
        (Path(args.output_dir) / f"checkpoint-{state.global_step}" / COMPLETE).touch()


class Progress(ProgressCallback):
    """The bar alone: the numbers go into the log file."""

    def on_log(self, *args: Any, **options: Any) -> None:
        """Nothing to print."""


def checked(loss: Tensor, what: str) -> Tensor:
    """Stop before the optimiser step when a loss is not finite."""
    if not torch.isfinite(loss):
        raise UserError(f"The {what} loss became {loss.item()}. Lower the learning rate in the recipe and run again.")
    return loss


class PackedTrainer(SFTTrainer):  # type: ignore[misc]
    """SFTTrainer on packed rows. The mean is over the target tokens of the whole optimiser batch, or, with
    `by_example`, over examples of their token means: then a label of two tokens weighs as much as a summary."""

    by_example = False

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Tensor:
        """Mean negative log-probability of the targets (nats per token)."""
        with self.compute_loss_context_manager(), autocast(self.args):
            scored = model(inputs["batch"])
        if self.by_example:
            loss = -(scored.logprobs_S / scored.num_tokens_S).mean()
            return checked(loss / (self.args.gradient_accumulation_steps if self.model.training else 1), "training")
        count = num_items_in_batch if num_items_in_batch is not None else scored.token_logprobs_T.numel()
        return checked(-scored.token_logprobs_T.sum() / count * num_ranks(), "training")


def autocast(args: TrainingArguments) -> Any:
    """Mixed precision for code that calls the decoder directly."""
    return torch.autocast(args.device.type, torch.bfloat16, enabled=bool(args.bf16))


def last_complete(checkpoints: Path) -> str | None:
    """The newest checkpoint that was written to its end; later ones, which a kill cut short, are removed."""
    for folder in checkpoints.glob("checkpoint-*"):
        if not (folder / COMPLETE).exists():
            shutil.rmtree(folder)
    found: str | None = get_last_checkpoint(str(checkpoints)) if checkpoints.is_dir() else None
    return found


def fit(trainer: Any, folder: Path, restore: Callable[[Path], None] = lambda checkpoint: None) -> dict[str, Any]:
    """Train, going on from the last checkpoint of an interrupted run (`restore` takes up what it holds besides the
    model, the optimiser and the random numbers); returns the final numbers."""
    checkpoints = folder / CHECKPOINTS
    last = last_complete(checkpoints)
    if last:
        restore(Path(last))
    trainer.remove_callback(ProgressCallback)
    trainer.add_callback(Progress)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = trainer.train(resume_from_checkpoint=last)
    losses = [float(line["loss"]) for line in trainer.state.log_history if "loss" in line]  # all steps, resumed or not
    return {"loss": round(sum(losses) / len(losses), 4), "steps": result.global_step}


def train_rows(
    start: Checkpoint,
    rows: Sequence[Row],
    settings: Training,
    seed: int,
    folder: Path,
    callbacks: Sequence[TrainerCallback] = (),
) -> dict[str, Any]:
    """Next-token training on packed rows; the adapter (or the full model) is written to `folder`."""
    if not rows:
        raise UserError("There is nothing to train on: the training split is empty. Add rows or documents.")
    ready = prepare(start, settings, seed)
    num_steps = math.ceil(len(rows) / (settings.batch_rows * settings.accumulation)) * math.ceil(settings.epochs)
    pad_id = ready.tokenizer.pad_token_id

    def to_batch(items: list[dict[str, int]]) -> dict[str, Any]:
        batch = collate([rows[item["row"]] for item in items], pad_id)
        return {"batch": batch, "labels": batch.labels_RL}

    trainer = PackedTrainer(
        model=ready.model,
        args=SFTConfig(
            **arguments(folder, settings, seed, ready.device, num_steps),
            dataset_kwargs={"skip_prepare_dataset": True},
            max_length=None,
        ),
        train_dataset=Dataset.from_dict({"row": list(range(len(rows)))}),
        data_collator=to_batch,
        processing_class=ready.tokenizer,
        callbacks=[Log(folder / LOG), MarkComplete(), *callbacks],
    )
    trainer.by_example = settings.by_example
    metrics = fit(trainer, folder)
    if trainer.is_world_process_zero():
        ready.model.save_pretrained(folder)
    return metrics
