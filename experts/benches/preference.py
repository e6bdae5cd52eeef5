"""One optimiser step of DPO: this project's scoring path against TRL's DPOTrainer and against padded rows.

Each contender is a process that trains on the same rows from the same adapter, one step whenever it is told to, so
that steps are interleaved and no contender has a quiet machine for itself. Peak memory is the process's own. TRL runs
as it comes (`trl_default`), and in the fastest of some configurations (`trl_best`): references computed before, no
recomputation, this project's allocator setting, and whichever attention and division of the batch a timed step favours.
Run: `expertsmith bench preference --json`.
"""

from __future__ import annotations

import math
import os
import statistics
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
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
from experts.batch import Segment
from experts.benches._flops import Sizes, clock, matmul_gflops
from experts.benches._process import own_high_water
from experts.checkpoint import WEIGHTS, Checkpoint, load_base, load_tokenizer
from experts.device import probe
from experts.embedded import foundation_folder
from experts.encoding import completion_ids, prompt_ids, render_prompt
from experts.logprobs import decoder
from experts.objectives.s_dpo import Objective
from experts.preferences import PreferenceBatch, encode_preference
from experts.recipe import Align
from experts.train import Trainable, prepare

NUM_ROWS = 4  # prompts a step
PROMPT_TOKENS, ANSWER_TOKENS = 160, 65
STEPS = 6  # one to warm up, then five
BETA, RANK, LEARNING_RATE = 0.1, 16, 1e-4
ATTENTION = ("eager", "sdpa")
CONTENDERS = (
    ("ours", 1), ("trl_default", 1), ("trl_best", 1), ("ours", 3), ("padded", 3), ("ours", 7), ("padded", 7),
)  # fmt: skip
TOLERANCE = {torch.bfloat16: 1e-2, torch.float32: 1e-4}  # of losses, in nats
Row = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """How a contender runs: a step is `passes` parts of the batch; `attention` is for TRL alone."""

    name: str
    negatives: int
    passes: int = 1
    attention: str = "sdpa"
    steps: int = STEPS


def run(quick: bool = False, home: Path = Path()) -> dict[str, Any]:
    """Interleaved steps of all contenders; the first step of each warms it up and is not timed. `quick` leaves out
    three and seven rejected answers."""
    contenders = [(name, k) for name, k in CONTENDERS if k == 1 or not quick]
    rows = []
    with TemporaryDirectory(prefix="expertsmith-bench-") as folder:
        base = foundation_folder()
        sizes = write_start(base, Path(folder))
        best = best_of_trl(base, Path(folder))
        for num_negatives in sorted({k for _, k in contenders}):
            names = [name for name, k in contenders if k == num_negatives]
            plans = [best if name == "trl_best" else plan_of(name, num_negatives) for name in names]
            rows += race(plans, base, Path(folder))
    work = {k: sizes.step(segments_of(base, k)) for k in {k for _, k in contenders}}
    return result(rows, work, matmul_gflops()) | {"trl_best": {"passes": best.passes, "attention": best.attention}}


def result(rows: Sequence[Row], operations: dict[int, int], gflops: float) -> dict[str, Any]:
    """The rows, whether the losses of those that ran on the same data agree, and the share of the machine's rate for
    matrix products that our steps reach (counted in `_flops`), all numbers of rejected answers together."""
    mine = [row for row in rows if row["name"] == "ours"]
    done = sum(operations[row["negatives"]] for row in mine) / sum(row["median_seconds"] for row in mine)
    gap, tolerance = largest_gap(rows), TOLERANCE[probe().dtype]
    return {
        "device": probe().name,
        "matmul_gflops": round(gflops),
        "share_of_matmul_rate": round(done / (gflops * 1e9), 3),
        "losses_agree": gap <= tolerance,
        "loss_gap": gap,
        "loss_tolerance": tolerance,
        "rows": list(rows),
    }


def largest_gap(rows: Sequence[Row]) -> float:
    """The largest difference of losses at step 0 or 5 from ours, between contenders on the same data."""
    ours_of = {row["negatives"]: row for row in rows if row["name"] == "ours"}
    gaps = [abs(row[key] - ours_of[row["negatives"]][key]) for row in rows for key in ("loss_step0", "loss_step5")]
    return max(gaps) if all(map(math.isfinite, gaps)) else math.inf


def plan_of(name: str, num_negatives: int) -> Plan:
    """All rows in one pass; ours and padded rows, on a CPU, two at a time: the same gradient from less memory."""
    return Plan(name, num_negatives, NUM_ROWS // 2 if probe().is_cpu and name in ("ours", "padded") else 1)


def best_of_trl(base: Path, folder: Path) -> Plan:
    """TRL's fastest configuration by one timed step of each, after one to warm up."""
    plans = [Plan("trl_best", 1, passes, attention, 2) for passes in (1, NUM_ROWS // 2) for attention in ATTENTION]
    seconds = {}
    for plan in plans:
        racer = started(plan, base, folder)
        racer.step()
        racer.step()
        racer.process.join()
        seconds[plan] = racer.seconds[1]
        print(f"TRL, {plan.passes} passes, {plan.attention}: {racer.seconds[1]:.2f} s", file=sys.stderr, flush=True)
    return replace(min(plans, key=lambda plan: seconds[plan]), steps=STEPS)


def segments_of(base: Path, num_negatives: int) -> list[Segment]:
    """The packed rows of a step."""
    tokenizer = load_tokenizer(base)
    return [encode_preference(tokenizer, row).segment for row in bench_rows(base, num_negatives)]


def write_start(base: Path, folder: Path) -> Sizes:
    """The adapter that every contender starts from; the sizes of the model with it."""
    model = prepare(Checkpoint(base), Align(rank=RANK), seed=0).model
    model.save_pretrained(folder)
    return Sizes.of(model)


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


def started(plan: Plan, base: Path, folder: Path) -> Racer:
    """A contender's process, when models are loaded and references computed."""
    context = get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=contend, args=(plan, base, folder, there), daemon=True)
    process.start()
    there.close()  # so that a process which dies is an error here, and no wait
    here.recv()
    return Racer(plan.name, process, here)


def race(plans: Sequence[Plan], base: Path, folder: Path) -> list[Row]:
    """Rows of the contenders with one number of rejected answers."""
    racers = [started(plan, base, folder) for plan in plans]
    num_negatives = plans[0].negatives
    for step in range(STEPS):
        print(f"{num_negatives} rejected, step {step + 1} of {STEPS}", file=sys.stderr, flush=True)
        for racer in racers:
            racer.step()
    for racer in racers:
        racer.process.join()
    rows = [row_of(racer, num_negatives) for racer in racers]
    print(*rows, sep="\n", file=sys.stderr, flush=True)
    return rows


def row_of(racer: Racer, num_negatives: int) -> Row:
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


def contend(plan: Plan, base: Path, folder: Path, pipe: Connection) -> None:
    """What a process does: build its trainer, then one step per message."""
    warnings.simplefilter("ignore")
    os.dup2(2, 1)  # trainers print their logs; standard output is for the result
    work = folder / f"{plan.name}-{plan.negatives}-{plan.passes}-{plan.attention}-{plan.steps}"
    texts = bench_rows(base, plan.negatives)
    {"ours": ours, "trl_default": trl, "trl_best": trl, "padded": padded}[plan.name](
        Contest(plan, base, folder / WEIGHTS, work, pipe), texts
    )


@dataclass(frozen=True)
class Contest:
    """What a contender needs to know."""

    plan: Plan
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
        """All rows in one step."""
        return Align(
            rank=RANK, learning_rate=LEARNING_RATE, epochs=self.plan.steps, batch_rows=NUM_ROWS // self.plan.passes,
            accumulation=self.plan.passes, row_tokens=512, warmup=0.0, checkpoint_steps=10_000,
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
    """TRL's trainer: as it comes, its allocator too; or without recomputation, with references computed before, the
    allocator tuned, and the plan's attention and passes."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    plan, is_best = contest.plan, contest.plan.name == "trl_best"
    device = probe(tune_allocator=is_best)
    tokenizer = load_tokenizer(contest.base)
    best = {"gradient_checkpointing": False, "precompute_ref_log_probs": True} if is_best else {}
    data = [
        {"prompt": render_prompt(tokenizer, row.prompt), "chosen": row.chosen, "rejected": row.rejected[0]}
        for row in rows
    ]
    trainer = DPOTrainer(
        model=load_base(contest.base, device.dtype, plan.attention),
        args=DPOConfig(
            output_dir=str(contest.work), beta=BETA, per_device_train_batch_size=NUM_ROWS // plan.passes,
            gradient_accumulation_steps=plan.passes, max_steps=plan.steps,
            learning_rate=LEARNING_RATE, lr_scheduler_type="cosine", warmup_steps=0,
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
    """A plain loop with one padded row per answer: (1 + k) rows for each prompt, in as many passes as ours."""
    ready = contest.ready()
    device = ready.device
    model = ready.model
    optimizer = torch.optim.AdamW([w for w in model.parameters() if w.requires_grad], LEARNING_RATE, weight_decay=0.0)
    steps = torch.arange(contest.plan.steps)
    scales = 0.5 * (1 + torch.cos(torch.pi * steps / contest.plan.steps))  # the schedule of the trainers
    size = NUM_ROWS // contest.plan.passes
    parts = [rows[i : i + size] for i in range(0, len(rows), size)]
    with torch.no_grad(), torch.autocast(device.name, torch.bfloat16, enabled=device.bf16):
        references = [padded_logprobs(model, ready.tokenizer, part) for part in parts]
    contest.pipe.send("ready")
    objective = Objective(BETA)
    for scale in scales:
        contest.pipe.recv()
        start = clock()
        loss = 0.0
        for part, reference_BC in zip(parts, references, strict=True):
            with torch.autocast(device.name, torch.bfloat16, enabled=device.bf16):
                policy_BC = padded_logprobs(model, ready.tokenizer, part)
            present_BC = torch.ones_like(policy_BC, dtype=torch.bool)
            batch = PreferenceBatch(policy_BC, reference_BC, torch.ones_like(policy_BC), present_BC)
            share = objective(batch).mean() / len(parts)
            share.backward()
            loss += float(share.detach())
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * float(scale)
        optimizer.step()
        optimizer.zero_grad()
        contest.pipe.send((clock() - start, loss, peak_mb()))


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
    for index in range(NUM_ROWS):
        question = " ".join(row.prompt[-1].content for row in preferences[5 * index : 5 * index + 5])
        start = index * per_row
        answers = [cut(tokenizer, text, ANSWER_TOKENS) for text in pool[start : start + per_row]]
        prompt = (Message("user", cut(tokenizer, question, PROMPT_TOKENS - 35)),)
        found.append(Preference(f"bench-{index}", prompt, answers[0], tuple(answers[1:])))
    return found


def cut(tokenizer: Any, text: str, size: int) -> str:
    """A text of at most so many tokens."""
    return str(tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)[:size])).strip()


def peak_mb() -> float:
    """Peak memory of this process: on an accelerator the device's, else the resident set (MB)."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    return own_high_water() / 1e6
