"""What all training shares, and next-token training: TRL's SFTTrainer on packed rows. See `alignment` for preferences.

Log-probabilities come from `logprobs.score`, so masks, packing and precision are the same everywhere.
"""

from __future__ import annotations

import json
import math
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from transformers import TrainerCallback, TrainingArguments, set_seed
from transformers.integrations.deepspeed import unset_hf_deepspeed_config
from transformers.trainer_callback import ProgressCallback
from transformers.trainer_utils import get_last_checkpoint
from trl import SFTConfig, SFTTrainer

from domains.errors import UserError
from experts.batch import Batch, Row, Segment, collate, collate_plain
from experts.checkpoint import Checkpoint, load, load_tokenizer
from experts.device import Device, probe
from experts.journal import CHECKPOINTS
from experts.logprobs import score
from experts.preferences import check_logits, packs
from experts.quantized import load_quantized
from experts.ranks import agreed, first_alone, is_sharded, num_ranks, rank, wait
from experts.recipe import Training
from experts.saving import Shapes, save_trained, trained_shapes
from judges.loading import LOADING

LOG = "train_log.jsonl"
COMPLETE = "complete"


@dataclass(frozen=True)
class Trainable:
    """A model prepared for training, its tokenizer and its device; `shapes`: what of it is trained."""

    model: Any
    tokenizer: Any
    device: Device
    shapes: Shapes = field(default_factory=dict)


def prepare(start: Checkpoint, settings: Training, seed: int, folder: Path = Path()) -> Trainable:
    """Load a checkpoint and make it trainable: new LoRA factors (seeded), or all weights in fp32. A quantised one may
    need a place in `folder` for a while."""
    device, method = probe(), str(settings.method)
    set_seed(seed)
    if method == "qlora":
        model = load_quantized(start, device, folder)
    else:
        model = load(start, torch.float32 if method == "full" else device.dtype, device.train_attention)
    if method != "full":
        config = LoraConfig(
            r=settings.rank, lora_alpha=2 * settings.rank, target_modules="all-linear", task_type="CAUSAL_LM"
        )
        with LOADING, warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            model = get_peft_model(model, config)
        for module in model.modules():
            if device.bf16 and hasattr(module, "cast_input_dtype_enabled"):
                module.cast_input_dtype_enabled = False  # autocast decides; a detour by fp32 costs time and memory
    if settings.compile and compiler_works(device.name):
        for layer in layers(model):
            layer.compile(dynamic=True)
    model.forward = partial(score, model)  # so that a wrapper for several processes sees every forward pass
    if not device.is_cpu and not is_sharded() and method != "qlora":
        model.to(device.name)
    return Trainable(model.train(), load_tokenizer(start.tokenizer_folder), device, trained_shapes(model))


@contextmanager
def for_scoring(ready: Trainable) -> Iterator[None]:
    """A model that will be sharded, whole on the first device for a while; any other is there already."""
    moves = rank() == 0 and is_sharded() and not ready.device.is_cpu
    if moves:
        ready.model.to(ready.device.name)
    yield
    if moves:
        ready.model.to("cpu")


def layers(model: nn.Module) -> list[nn.Module]:
    """The decoder's blocks, all of one class: compiled once for all of them."""
    names = getattr(model, "_no_split_modules", None) or ()
    return [module for module in model.modules() if type(module).__name__ in names]


def compiler_works(device: str) -> bool:
    """Whether torch.compile makes a function and its gradient here; a message when it does not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = torch.compile(lambda x: x.sin() + 1)(torch.ones(2, device=device, requires_grad=True))
            found.sum().backward()
            return True
        except Exception as error:  # noqa: BLE001 - a compiler can fail in any way; then training goes on without it
            reason = type(error).__name__
    warnings.warn(
        f"torch.compile does not work here ({reason}; a CPU needs a C++ compiler such as g++): training goes on "
        "without it, which is slower.",
        stacklevel=2,
    )
    return False


def num_steps(num_rows: int, settings: Training) -> int:
    """How many optimiser steps a training has, on all ranks together."""
    return math.ceil(num_rows / (settings.batch_rows * settings.accumulation * num_ranks())) * math.ceil(
        settings.epochs
    )


def arguments(folder: Path, settings: Training, seed: int, device: Device, steps: int) -> dict[str, Any]:
    """The training arguments that every loop shares."""
    return {
        "output_dir": str(folder / CHECKPOINTS),
        "per_device_train_batch_size": settings.batch_rows,
        "gradient_accumulation_steps": settings.accumulation,
        "learning_rate": settings.learning_rate,
        "num_train_epochs": settings.epochs,
        "warmup_steps": math.ceil(settings.warmup * steps),
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
        "ddp_find_unused_parameters": False,  # every factor has a gradient in every step
    }


class Log(TrainerCallback):
    """Appends every log line to a JSONL file; a resumed run drops the lines after its checkpoint first."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Keep the lines up to the step that training goes on from."""
        if rank() == 0 and self.path.exists():
            lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
            kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= state.global_step]
            self.path.write_text("".join(kept), encoding="utf-8")

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        """Write one line."""
        if rank() > 0:
            return
        with self.path.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps({"step": state.global_step, **(logs or {})}) + "\n")


class MarkComplete(TrainerCallback):
    """Writes a file into each checkpoint when all its other files are there."""

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The last thing that happens to a checkpoint, when every rank has written its part."""
        wait()
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
        note_tokens(self, model, inputs["batch"])
        values = scored.logprobs_S / scored.num_tokens_S if self.by_example else scored.token_logprobs_T
        if num_items_in_batch is None:
            return checked(-values.mean(), "training")
        return checked(-values.sum() / num_items_in_batch * num_ranks(), "training")


def note_tokens(trainer: Any, model: nn.Module, batch: Batch) -> None:
    """Count a training batch without its padding; the count is part of a checkpoint."""
    if model.training:
        trainer.state.num_input_tokens_seen += int(batch.lengths_R.sum())


def autocast(args: TrainingArguments) -> Any:
    """Mixed precision for code that calls the decoder directly."""
    return torch.autocast(args.device.type, torch.bfloat16, enabled=bool(args.bf16))


def last_complete(checkpoints: Path) -> str | None:
    """The newest checkpoint that was written to its end; later ones, which a kill cut short, are removed."""
    with first_alone():
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
    unset_hf_deepspeed_config()  # or the next stage would load its model in parts, before any rank could score with it
    losses = [float(line["loss"]) for line in trainer.state.log_history if "loss" in line]  # all steps, resumed or not
    tokens = int(trainer.state.num_input_tokens_seen)  # of this rank, resumed or not
    found = {"loss": round(sum(losses) / len(losses), 4), "steps": result.global_step, "tokens": tokens}
    return found | ({"ranks": num_ranks()} if num_ranks() > 1 else {})


def segments_of(rows: Sequence[Row]) -> list[Segment]:
    """All segments in order."""
    return [segment for row in rows for segment in row.segments]


def asked_first(ready: Trainable, question: Callable[[], bool]) -> bool:
    """The answer for all ranks to a question about how a model scores; rank 0 asks it, in the format of training."""
    found = True
    if rank() == 0:
        with for_scoring(ready), torch.autocast(ready.device.name, torch.bfloat16, enabled=ready.device.bf16):
            found = question()
    return agreed(found)


def takes_packed(ready: Trainable, rows: Sequence[Row]) -> bool:
    """Whether the model takes packed rows, asked with the two longest segments in one row."""
    longest, pad_id = sorted(segments_of(rows), key=len)[-2:][::-1], ready.tokenizer.pad_token_id

    def asked() -> bool:
        check_logits(ready.model, longest[0], pad_id)
        return packs(ready.model, longest, pad_id)

    return asked_first(ready, asked)


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
    ready = prepare(start, settings, seed, folder)
    pad_id, packed = ready.tokenizer.pad_token_id, takes_packed(ready, rows)

    def to_batch(items: list[dict[str, int]]) -> dict[str, Any]:
        chosen = [rows[item["row"]] for item in items]
        batch = collate(chosen, pad_id) if packed else collate_plain(segments_of(chosen), pad_id)
        counted = torch.zeros(batch.num_sequences, dtype=torch.long) if settings.by_example else batch.labels_RL
        return {"batch": batch, "labels": counted, "shift_labels": counted}  # the trainer only counts them

    trainer = PackedTrainer(
        model=ready.model,
        args=SFTConfig(
            **arguments(folder, settings, seed, ready.device, num_steps(len(rows), settings)),
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
    save_trained(trainer.model, ready.shapes, folder)
    return metrics
