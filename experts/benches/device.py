"""Training on a CUDA device: tokens a second, peak memory and share of the device's peak arithmetic for DAPT, SFT, DPO
and S-DPO at 135M, our scoring path against TRL's trainers on the same rows, each a process of its own in turns.

Run: `expertsmith bench device --json` on a machine with an NVIDIA accelerator.
"""

from __future__ import annotations

import os
import statistics
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from peft import LoraConfig

from domains.domain import Domain
from domains.errors import UserError
from domains.example import Document, Example, Message, Preference
from experts.alignment import Alignment, train_preferences
from experts.benches._flops import matmul_gflops
from experts.benches.preference import BETA, LEARNING_RATE, RANK, OnCommand, Racer, cut
from experts.checkpoint import Checkpoint, load_base, load_tokenizer
from experts.device import probe
from experts.embedded import foundation_folder
from experts.encoding import completion_ids, prompt_ids, render_prompt
from experts.objectives.s_dpo import Objective
from experts.recipe import Align, Pretrain, Sft, Training
from experts.stages.pretrain import document_rows
from experts.stages.sft import example_rows
from experts.train import train_rows

STEPS = 8  # two to warm up, then six
WARM = 2
ROW_TOKENS = 2048
PROMPT_TOKENS, ANSWER_TOKENS = 160, 65
WEIGHTS = 134.5e6
OPERATIONS = 4  # times the weights, a token: LoRA with a frozen base, forward 2 and the gradient of activations 2
PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12, "4090": 165e12}  # bf16, dense
NEGATIVES = {"dpo": 1, "s_dpo": 3}


@dataclass(frozen=True)
class Task:
    """What a contender does: `kind`, by whom, with so many rows a step."""

    kind: str
    name: str
    rows: int
    steps: int = STEPS


TASKS = (
    Task("dapt", "ours", 8), Task("dapt", "trl", 8),
    Task("sft", "ours", 64), Task("sft", "trl", 64),
    Task("dpo", "ours", 32), Task("dpo", "trl", 32),
    Task("s_dpo", "ours", 32),
)  # fmt: skip


def run(quick: bool = False, home: Path = Path()) -> dict[str, Any]:
    """A row per task and contender; TRL has no loss for several rejected answers."""
    if not torch.cuda.is_available():
        raise UserError("bench device needs a CUDA device and this machine has none; the others run on a CPU.")
    rows = []
    with TemporaryDirectory(prefix="expertsmith-bench-") as folder:
        for kind in dict.fromkeys(task.kind for task in TASKS):
            rows += race([task for task in TASKS if task.kind == kind], Path(folder))
    name = torch.cuda.get_device_name()
    return {"device": name, "peak_tflops": peak(name) / 1e12, "matmul_gflops": round(matmul_gflops(8192)), "rows": rows}


def peak(name: str) -> float:
    """Bf16 operations a second that the maker states, or what a large matrix product reaches."""
    stated = [value for key, value in PEAKS.items() if key in name]
    return stated[0] if stated else matmul_gflops(8192) * 1e9


def race(tasks: Sequence[Task], folder: Path) -> list[dict[str, Any]]:
    """Interleaved steps of the contenders of one kind of training."""
    context = get_context("spawn")
    racers: list[tuple[Task, Racer]] = []
    for task in tasks:
        here, there = context.Pipe()
        process = context.Process(target=contend, args=(task, folder, there), daemon=True)
        process.start()
        there.close()
        here.recv()
        racers.append((task, Racer(task.name, process, here)))
    for number in range(STEPS):
        print(f"{tasks[0].kind}, step {number + 1} of {STEPS}", file=sys.stderr, flush=True)
        for _, racer in racers:
            racer.step()
    for _, racer in racers:
        racer.process.join()
    found = peak(torch.cuda.get_device_name())
    return [row_of(task, racer, tokens_of(task), found) for task, racer in racers]


def row_of(task: Task, racer: Racer, num_tokens: int, peak_operations: float) -> dict[str, Any]:
    """One line of the result. `num_tokens` counts each text once with its prompt, whoever computes it: so a prompt that
    is shared raises the rate and may raise the share above what the arithmetic units did."""
    seconds = statistics.median(racer.seconds[WARM:])
    rate = num_tokens / seconds
    return {
        "task": task.kind,
        "name": task.name,
        "rows": task.rows,
        "tokens": num_tokens,
        "median_seconds": round(seconds, 4),
        "tokens_per_second": round(rate),
        "peak_mb": round(racer.peak_mb),
        "share_of_peak": round(rate * OPERATIONS * WEIGHTS / peak_operations, 4),
        "loss_first": racer.losses[0],
        "loss_last": racer.losses[-1],
    }


def contend(task: Task, folder: Path, pipe: Connection) -> None:
    """What a process does: build its trainer, then one step per message."""
    warnings.simplefilter("ignore")
    os.dup2(2, 1)
    work = folder / f"{task.kind}-{task.name}"
    WORK[task.kind, task.name](task, work, pipe)


def settings(kind: type[Training], task: Task, **more: Any) -> Any:
    """One optimiser step for all rows of a task."""
    return kind(
        rank=RANK, learning_rate=LEARNING_RATE, warmup=0.0, checkpoint_steps=10_000, row_tokens=ROW_TOKENS,
        epochs=task.steps, accumulation=1, **more,
    )  # fmt: skip


def texts(task: Task) -> list[str]:
    """Texts of exactly so many tokens as a row has."""
    tokenizer = load_tokenizer(foundation_folder())
    ids = tokenizer.encode(" ".join(d.text for d in Domain.load("mortgage").documents), add_special_tokens=False)
    long = ids * (1 + task.rows * ROW_TOKENS // len(ids))
    return [str(tokenizer.decode(long[n * ROW_TOKENS : (n + 1) * ROW_TOKENS - 8])) for n in range(task.rows)]


def preferences(task: Task) -> list[Preference]:
    """Rows of the mortgage domain's text: prompts of about 160 tokens, answers of about 65."""
    tokenizer = load_tokenizer(foundation_folder())
    found = Domain.load("mortgage").preferences("train")
    pool = [text for row in found for text in row.candidates]
    size = 1 + NEGATIVES.get(task.kind, 1)
    made = []
    for number in range(task.rows):
        asked = " ".join(found[(5 * number + k) % len(found)].prompt[-1].content for k in range(5))
        answers = [cut(tokenizer, pool[(size * number + k) % len(pool)], ANSWER_TOKENS) for k in range(size)]
        prompt = (Message("user", cut(tokenizer, asked, PROMPT_TOKENS - 35)),)
        made.append(Preference(f"bench-{number}", prompt, answers[0], tuple(answers[1:])))
    return made


def examples(task: Task) -> list[Example]:
    """The chosen answers."""
    return [Example(row.id, "questions", row.prompt, row.chosen) for row in preferences(task)]


def tokens_of(task: Task) -> int:
    """Tokens of a step, every answer with its prompt."""
    if task.kind == "dapt":
        return task.rows * ROW_TOKENS
    tokenizer = load_tokenizer(foundation_folder())
    rows = preferences(task)
    kept = rows if task.kind != "sft" else [Preference(r.id, r.prompt, r.chosen, (r.chosen,)) for r in rows]
    texts_of = [(row.prompt, text) for row in kept for text in (row.candidates if task.kind != "sft" else [row.chosen])]
    return sum(len(prompt_ids(tokenizer, prompt)) + len(completion_ids(tokenizer, text)) for prompt, text in texts_of)


def our_dapt(task: Task, work: Path, pipe: Connection) -> None:
    """Packed documents."""
    base = foundation_folder()
    documents = [Document(f"d{number}", text) for number, text in enumerate(texts(task))]
    rows = document_rows(load_tokenizer(base), documents, ROW_TOKENS, 0)
    train_rows(Checkpoint(base), rows, settings(Pretrain, task, batch_rows=len(rows)), 0, work, [OnCommand(pipe)])


def our_sft(task: Task, work: Path, pipe: Connection) -> None:
    """Packed conversations: a step is all rows."""
    base = foundation_folder()
    rows = example_rows(load_tokenizer(base), examples(task), ROW_TOKENS, 0)
    train_rows(Checkpoint(base), rows, settings(Sft, task, batch_rows=len(rows)), 0, work, [OnCommand(pipe)])


def our_preferences(task: Task, work: Path, pipe: Connection) -> None:
    """DPO, or S-DPO with several rejected answers; the prompt is computed once."""
    plan = settings(Align, task, batch_rows=task.rows)
    start = Checkpoint(foundation_folder())
    train_preferences(start, preferences(task), Alignment(Objective(BETA)), plan, 0, work, callbacks=[OnCommand(pipe)])


def trl_arguments(task: Task, work: Path) -> dict[str, Any]:
    """What its trainers share."""
    device = probe(tune_allocator=False)
    return {
        "output_dir": str(work), "per_device_train_batch_size": task.rows, "max_steps": task.steps,
        "learning_rate": LEARNING_RATE, "lr_scheduler_type": "cosine", "warmup_steps": 0, "logging_steps": 1,
        "report_to": "none", "save_strategy": "no", "bf16": device.bf16, "use_cpu": device.is_cpu,
        "gradient_checkpointing": False, "max_length": ROW_TOKENS,
    }  # fmt: skip


def trl_model() -> tuple[Any, Any, LoraConfig]:
    """The foundation, its tokenizer and the same adapters."""
    device, base = probe(tune_allocator=False), foundation_folder()
    model = load_base(base, device.dtype, device.score_attention)
    lora = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM")
    return model, load_tokenizer(base), lora


def trl_sft(task: Task, work: Path, pipe: Connection) -> None:
    """SFTTrainer: documents as they are, or conversations with the loss on the answer."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    model, tokenizer, lora = trl_model()
    if task.kind == "dapt":
        rows: list[dict[str, Any]] = [{"text": text} for text in texts(task)]
    else:
        rows = [{"prompt": render_prompt(tokenizer, e.prompt), "completion": e.completion} for e in examples(task)]
    trainer = SFTTrainer(
        model=model, args=SFTConfig(**trl_arguments(task, work)), train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer, peft_config=lora, callbacks=[OnCommand(pipe)],
    )  # fmt: skip
    trainer.train()


def trl_dpo(task: Task, work: Path, pipe: Connection) -> None:
    """DPOTrainer, references computed before."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    model, tokenizer, lora = trl_model()
    rows = [
        {"prompt": render_prompt(tokenizer, r.prompt), "chosen": r.chosen, "rejected": r.rejected[0]}
        for r in preferences(task)
    ]
    trainer = DPOTrainer(
        model=model, args=DPOConfig(**trl_arguments(task, work), beta=BETA, precompute_ref_log_probs=True),
        train_dataset=Dataset.from_list(rows), processing_class=tokenizer, peft_config=lora,
        callbacks=[OnCommand(pipe)],
    )  # fmt: skip
    trainer.train()


WORK: dict[tuple[str, str], Callable[[Task, Path, Connection], None]] = {
    ("dapt", "ours"): our_dapt, ("dapt", "trl"): trl_sft, ("sft", "ours"): our_sft, ("sft", "trl"): trl_sft,
    ("dpo", "ours"): our_preferences, ("dpo", "trl"): trl_dpo, ("s_dpo", "ours"): our_preferences,
}  # fmt: skip
