"""One optimiser step of DPO: this project's scoring path against TRL's DPOTrainer and against padded rows.

Each contender is a process that trains on the same rows from the same adapter, one step whenever it is told to, so
that steps are interleaved and no contender has a quiet machine for itself. Peak memory is the process's own.
Run: `expertsmith bench preference --json`.
"""

from __future__ import annotations

import os
import resource
import statistics
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from peft import LoraConfig, set_peft_model_state_dict
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import TrainerCallback

from domains.domain import Domain
from domains.example import Message, Preference
from experts.alignment import Alignment, train_preferences
from experts.checkpoint import WEIGHTS, Checkpoint, load_base, load_tokenizer
from experts.device import probe
from experts.embedded import foundation_folder
from experts.encoding import completion_ids, prompt_ids, render_prompt
from experts.logprobs import decoder
from experts.objectives.s_dpo import Objective
from experts.preferences import PreferenceBatch
from experts.recipe import Align
from experts.train import Trainable, prepare

NUM_ROWS = {1: 4, 3: 4, 7: 2}  # prompts a step by rejected answers: (1 + 7) padded rows of four prompts are 14 GB
PROMPT_TOKENS, ANSWER_TOKENS = 160, 65
STEPS = 6  # one to warm up, then five
BETA, RANK, LEARNING_RATE = 0.1, 16, 1e-4
CONTENDERS = (
    ("ours", 1), ("trl_default", 1), ("trl_best", 1), ("ours", 3), ("padded", 3), ("ours", 7), ("padded", 7),
)  # fmt: skip


def run(quick: bool = False, home: Path = Path()) -> dict[str, Any]:
    """Interleaved steps of all contenders; the first step of each warms it up and is not timed. `quick` leaves out
    three and seven rejected answers."""
    contenders = [(name, k) for name, k in CONTENDERS if k == 1 or not quick]
    rows = []
    with TemporaryDirectory(prefix="expertsmith-bench-") as folder:
        base = foundation_folder()
        write_start(base, Path(folder))
        for num_negatives in sorted({k for _, k in contenders}):
            names = [name for name, k in contenders if k == num_negatives]
            rows += race(names, num_negatives, STEPS, base, Path(folder))
    return {"device": probe().name, "matmul_gflops": round(matmul_gflops()), "rows": rows}


def write_start(base: Path, folder: Path) -> None:
    """The adapter that every contender starts from."""
    settings = Align(rank=RANK)
    prepare(Checkpoint(base), settings, seed=0).model.save_pretrained(folder)


@dataclass
class Racer:
    """A contender's process and what it has said."""

    name: str
    process: Any
    pipe: Connection
    seconds: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    peak_mb: float = 0.0

    def step(self) -> None:
        """One step."""
        self.pipe.send("step")
        seconds, loss, self.peak_mb = self.pipe.recv()
        self.seconds.append(seconds)
        self.losses.append(loss)


def race(names: Sequence[str], num_negatives: int, steps: int, base: Path, folder: Path) -> list[dict[str, Any]]:
    """Rows of the contenders with one number of rejected answers."""
    context = get_context("spawn")
    racers = []
    for name in names:
        here, there = context.Pipe()
        process = context.Process(target=contend, args=(name, num_negatives, steps, base, folder, there), daemon=True)
        process.start()
        there.close()  # so that a process which dies is an error here, and no wait
        here.recv()  # ready: models are loaded, references computed
        racers.append(Racer(name, process, here))
    for step in range(steps):
        print(f"{num_negatives} rejected, step {step + 1} of {steps}", file=sys.stderr, flush=True)
        for racer in racers:
            racer.step()
    for racer in racers:
        racer.process.join()
    rows = [row_of(racer, num_negatives) for racer in racers]
    print(*rows, sep="\n", file=sys.stderr, flush=True)
    return rows


def row_of(racer: Racer, num_negatives: int) -> dict[str, Any]:
    """One line of the result."""
    timed = racer.seconds[1:]
    return {
        "name": racer.name,
        "negatives": num_negatives,
        "median_seconds": round(statistics.median(timed), 3),
        "low": round(min(timed), 3),
        "high": round(max(timed), 3),
        "peak_mb": round(racer.peak_mb),
        "loss_step0": racer.losses[0],
        "loss_step5": racer.losses[5],
    }


def contend(name: str, num_negatives: int, steps: int, base: Path, folder: Path, pipe: Connection) -> None:
    """What a process does: build its trainer, then one step per message."""
    warnings.simplefilter("ignore")
    os.dup2(2, 1)  # trainers print their logs; standard output is for the result
    work = folder / f"{name}-{num_negatives}"
    texts = bench_rows(base, num_negatives)
    {"ours": ours, "trl_default": trl, "trl_best": trl, "padded": padded}[name](
        Contest(name, len(texts), steps, base, folder / WEIGHTS, work, pipe), texts
    )


@dataclass(frozen=True)
class Contest:
    """What a contender needs to know."""

    name: str
    num_rows: int
    steps: int
    base: Path
    adapter: Path
    work: Path
    pipe: Connection

    def ready(self) -> Trainable:
        """The model with the common adapter."""
        ready = prepare(Checkpoint(self.base), Align(rank=RANK), seed=0)
        set_peft_model_state_dict(ready.model, load_file(self.adapter))
        return ready

    def settings(self) -> Align:
        """All rows in one step; on a CPU two at a time: the same gradient from a fraction of the memory."""
        rows, passes = (2, self.num_rows // 2) if probe().is_cpu else (self.num_rows, 1)
        return Align(
            rank=RANK, learning_rate=LEARNING_RATE, epochs=self.steps, batch_rows=rows, accumulation=passes,
            row_tokens=512, warmup=0.0, checkpoint_steps=10_000,
        )  # fmt: skip


class OnCommand(TrainerCallback):
    """Holds each step of a trainer until told, and says how long it took."""

    def __init__(self, pipe: Connection) -> None:
        self.pipe, self.start, self.seconds = pipe, 0.0, 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Loaded."""
        self.pipe.send("ready")

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Wait, then start the clock."""
        self.pipe.recv()
        self.start = clock()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Stop the clock."""
        self.seconds = clock() - self.start

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        """Answer with the step's loss."""
        if logs and "loss" in logs:
            self.pipe.send((self.seconds, float(logs["loss"]), peak_mb()))


def ours(contest: Contest, rows: Sequence[Preference]) -> None:
    """This project's trainer; S-DPO is DPO with one rejected answer."""
    train_preferences(
        Checkpoint(contest.base), rows, Alignment(Objective(BETA)), contest.settings(), 0, contest.work,
        callbacks=[OnCommand(contest.pipe)],
    )  # fmt: skip


def trl(contest: Contest, rows: Sequence[Preference]) -> None:
    """TRL's trainer: as it comes, or without recomputation and with references computed before; with the allocator as
    it comes too."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    device = probe(tune_allocator=False)
    tokenizer = load_tokenizer(contest.base)
    best = {"gradient_checkpointing": False, "precompute_ref_log_probs": True} if contest.name == "trl_best" else {}
    data = [
        {"prompt": render_prompt(tokenizer, row.prompt), "chosen": row.chosen, "rejected": row.rejected[0]}
        for row in rows
    ]
    trainer = DPOTrainer(
        model=load_base(contest.base, device.dtype, device.score_attention),
        args=DPOConfig(
            output_dir=str(contest.work), beta=BETA, per_device_train_batch_size=contest.num_rows,
            max_steps=contest.steps, learning_rate=LEARNING_RATE, lr_scheduler_type="cosine", warmup_steps=0,
            logging_steps=1, report_to="none",
            save_strategy="no", bf16=device.bf16, use_cpu=device.is_cpu, dataloader_pin_memory=False, **best,
        ),
        train_dataset=Dataset.from_list(data),
        processing_class=tokenizer,
        peft_config=LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM"),
        callbacks=[OnCommand(contest.pipe)],
    )  # fmt: skip
    set_peft_model_state_dict(trainer.model, load_file(contest.adapter))
    trainer.train()


def padded(contest: Contest, rows: Sequence[Preference]) -> None:
    """A plain loop with one padded row per answer: (1 + k) rows for each prompt."""
    ready = contest.ready()
    device = ready.device
    model = ready.model
    optimizer = torch.optim.AdamW([w for w in model.parameters() if w.requires_grad], LEARNING_RATE, weight_decay=0.0)
    steps = torch.arange(contest.steps)
    scales = 0.5 * (1 + torch.cos(torch.pi * steps / contest.steps))  # the schedule of the trainers
    with torch.no_grad(), torch.autocast(device.name, torch.bfloat16, enabled=device.bf16):
        reference_BC = padded_logprobs(model, ready.tokenizer, rows)
    contest.pipe.send("ready")
    objective = Objective(BETA)
    for scale in scales:
        contest.pipe.recv()
        start = clock()
        with torch.autocast(device.name, torch.bfloat16, enabled=device.bf16):
            policy_BC = padded_logprobs(model, ready.tokenizer, rows)
        present_BC = torch.ones_like(policy_BC, dtype=torch.bool)
        loss = objective(PreferenceBatch(policy_BC, reference_BC, torch.ones_like(policy_BC), present_BC)).mean()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * float(scale)
        optimizer.step()
        optimizer.zero_grad()
        contest.pipe.send((clock() - start, float(loss.detach()), peak_mb()))


def padded_logprobs(model: Any, tokenizer: Any, rows: Sequence[Preference]) -> Tensor:
    """Sums of log-probabilities (B, C) by padded rows; the projection only where there is a target."""
    texts = [(prompt_ids(tokenizer, r.prompt), completion_ids(tokenizer, t)) for r in rows for t in r.candidates]
    ids = [torch.tensor([*prompt, *answer]) for prompt, answer in texts]
    labels = [torch.tensor([-100] * len(prompt) + answer) for prompt, answer in texts]
    input_ids = pad_sequence(ids, batch_first=True, padding_value=tokenizer.pad_token_id).to(model.device)
    targets = pad_sequence(labels, batch_first=True, padding_value=-100).to(model.device)[:, 1:]
    mask = pad_sequence([torch.ones_like(i) for i in ids], batch_first=True).to(model.device)
    hidden = decoder(model)(input_ids=input_ids, attention_mask=mask, use_cache=False).last_hidden_state[:, :-1]
    chosen = targets >= 0
    logits = model.get_output_embeddings()(hidden[chosen]).float()
    values = logits.log_softmax(-1).gather(1, targets[chosen].unsqueeze(1)).squeeze(1)
    sums = values.new_zeros(len(texts)).index_add(0, chosen.nonzero()[:, 0], values)
    table: Tensor = sums.view(len(rows), -1)
    return table


def bench_rows(base: Path, num_negatives: int) -> list[Preference]:
    """Rows of the mortgage domain's text: prompts of about 160 tokens, answers of about 65."""
    tokenizer = load_tokenizer(base)
    preferences = Domain.load("mortgage").preferences("train")
    pool = [text for row in preferences for text in row.candidates]
    per_row = 1 + num_negatives
    found = []
    for index in range(NUM_ROWS[num_negatives]):
        question = " ".join(row.prompt[-1].content for row in preferences[5 * index : 5 * index + 5])
        start = index * per_row
        answers = [cut(tokenizer, text, ANSWER_TOKENS) for text in pool[start : start + per_row]]
        prompt = (Message("user", cut(tokenizer, question, PROMPT_TOKENS - 35)),)
        found.append(Preference(f"bench-{index}", prompt, answers[0], tuple(answers[1:])))
    return found


def cut(tokenizer: Any, text: str, size: int) -> str:
    """A text of at most so many tokens."""
    return str(tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)[:size])).strip()


def clock() -> float:
    """Seconds, when all work on the device is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def peak_mb() -> float:
    """Peak memory of this process: on an accelerator the device's, else the resident set (MB)."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def matmul_gflops(size: int = 2048) -> float:
    """The machine's rate for large matrices in the device's number format."""
    device = probe()
    matrix = torch.randn(size, size, device=device.name, dtype=device.dtype)
    times = []
    for _ in range(8):
        start = clock()
        matrix @ matrix
        times.append(clock() - start)
    return 2 * size**3 / statistics.median(times) / 1e9
