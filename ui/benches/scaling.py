"""What costs how much: curves over tokens, candidates, experts, domains, users, documents and merged megabytes on the
embedded model, each with a line fitted by least squares, `seconds = fixed + per_unit * amount`. On a CPU, seconds are
those of one core (processor time of one thread), so that they say the same whatever else the machine does.

Run: `expertsmith bench scaling --json > docs/scaling.json`, then `python -m ui.benches._scaling_page` for the page.
"""

from __future__ import annotations

import os
import random
import re
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from domains.domain import Domain
from domains.example import Message, Preference
from experts.batch import Batch, collate
from experts.benches.preference import peak_mb
from experts.checkpoint import Checkpoint, LowRank, load_base
from experts.device import probe
from experts.embedded import foundation_folder
from experts.expert import versions
from experts.logprobs import score
from experts.preferences import encode_preference
from experts.recipe import Pretrain
from experts.train import Trainable, prepare
from router.adapters import share

RANK = 16
PAST_TOKENS, PROMPT_WORDS, ANSWER_WORDS = 128, 120, 48
REPEATS = 3


@dataclass(frozen=True)
class Curve:
    """What is varied, over which amounts, and what one point measures."""

    name: str
    unit: str
    amounts: Sequence[int]
    measure: Callable[[int], Mapping[str, float]]


def run(quick: bool = False, home: Path = Path()) -> dict[str, Any]:
    """The points of every curve, and the line through each; `quick` takes its first three amounts."""
    if probe().is_cpu:
        torch.set_num_threads(1)
    with TemporaryDirectory(prefix="expertsmith-bench-") as folder:
        rows = [row for curve in curves(Path(folder)) for row in points(curve, quick)]
    names = list(dict.fromkeys(row["curve"] for row in rows))
    fits = [{"curve": name, **fitted([row for row in rows if row["curve"] == name])} for name in names]
    return {"rows": rows, "fits": fits, "machine": machine(), "repeats": repeats(quick), "quick": quick}


def repeats(quick: bool) -> int:
    """Timed runs of a point."""
    return 1 if quick else REPEATS


def machine() -> dict[str, Any]:
    """Where this was measured."""
    device = probe()
    return {
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": device.name,
        "dtype": str(device.dtype).removeprefix("torch."),
        "weights": num_weights(),
        "versions": versions(),
    }


def curves(folder: Path) -> list[Curve]:
    """All curves."""
    return [
        Curve("training tokens", "tokens in a step", (128, 256, 512, 1024), train_step),
        Curve("candidates", "answers of a prompt", (2, 3, 5, 9), preference_step),
        Curve("experts", "experts in a batch of 8", (1, 2, 4, 8), expert_step),
        Curve("domains", "domains of a router", (2, 16, 64, 256), route_one),
        Curve("users", "answers at once", (1, 4, 8, 16, 32), user_step),
        Curve("documents", "files of 12 kB", (20, 40, 80, 160), lambda amount: clean(amount, folder)),
        Curve("residual", "megabytes of a model", (50, 100, 200, 400), lambda amount: merge(amount, folder)),
    ]


def points(curve: Curve, quick: bool) -> list[dict[str, Any]]:
    """The points of a curve, each the median of some repeats after one that warms up."""
    rows = []
    for amount in curve.amounts[: 3 if quick else None]:
        curve.measure(amount)
        found = [curve.measure(amount) for _ in range(repeats(quick))]
        medians = {key: round(statistics.median(each[key] for each in found), 5) for key in found[0]}
        rows.append({"curve": curve.name, "unit": curve.unit, "amount": amount, **medians})
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


def fitted(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Least squares through (amount, seconds): the fixed part, the part per unit, and the share of the variance that
    the line explains."""
    amounts, seconds = (np.array([float(row[key]) for row in rows]) for key in ("amount", "seconds"))
    per_unit, fixed = np.polyfit(amounts, seconds, 1)
    rest = seconds - (fixed + per_unit * amounts)
    explained = 1 - float(rest @ rest) / float(((seconds - seconds.mean()) ** 2).sum())
    return {"fixed": round(float(fixed), 5), "per_unit": round(float(per_unit), 7), "r2": round(explained, 4)}


def clock() -> float:
    """Seconds of this process on a CPU, else of the wall when all work is done."""
    if probe().is_cpu:
        return time.process_time()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


@cache
def trainable() -> Trainable:
    """The foundation with new LoRA factors."""
    return prepare(Checkpoint(foundation_folder()), Pretrain(rank=RANK), seed=0)


def num_weights() -> int:
    """Weights of the foundation."""
    return sum(w.numel() for name, w in trainable().model.named_parameters() if "lora" not in name)


def step(batch: Batch) -> float:
    """Seconds of a forward and a backward pass."""
    ready = trainable()
    started = clock()
    with torch.autocast(ready.device.name, torch.bfloat16, enabled=ready.device.bf16):
        scored = score(ready.model, batch)
    (-scored.token_logprobs_T.mean()).backward()
    seconds = clock() - started
    ready.model.zero_grad()
    return seconds


def train_step(amount: int) -> Mapping[str, float]:
    """Next-token training of one row."""
    from experts.batch import Row, document_segments

    ids = torch.randint(1000, 2000, (amount + 1,), generator=torch.Generator().manual_seed(amount)).tolist()
    row = Row(document_segments(ids, amount + 1))
    return {"seconds": step(collate([row], trainable().tokenizer.pad_token_id)), "peak_mb": peak_mb()}


def preference_step(amount: int) -> Mapping[str, float]:
    """One prompt with all its answers in a row."""
    from experts.batch import Row

    chooser = random.Random(amount)
    answers = [made_text(chooser, ANSWER_WORDS) for _ in range(amount)]
    row = Preference("row", (Message("user", made_text(chooser, PROMPT_WORDS)),), answers[0], tuple(answers[1:]))
    segment = encode_preference(trainable().tokenizer, row).segment
    batch = collate([Row([segment])], trainable().tokenizer.pad_token_id)
    return {"seconds": step(batch), "tokens": float(len(segment))}


def made_text(chooser: random.Random, size: int) -> str:
    """Some words of the mortgage documents, in any order."""
    return " ".join(chooser.choices(words(), k=size)) + "."


@cache
def words() -> list[str]:
    """The words of the mortgage documents."""
    text = " ".join(document.text for document in Domain.load("mortgage").documents)
    return sorted(set(re.findall(r"[a-z]{2,}", text)))


@cache
def served() -> tuple[Any, list[str], Any]:
    """The foundation with adapters of random values, their names, and the switch between them."""
    device = probe()
    model = load_base(foundation_folder(), device.dtype, device.score_attention).to(device.name)
    model.eval().requires_grad_(False)
    layers = [name for name, each in model.named_modules() if isinstance(each, torch.nn.Linear) and "layers" in name]
    names = [f"expert{number}" for number in range(8)]
    choice = share(model, {name: random_adapter(model, layers) for name in names})
    return model, names, choice


def random_adapter(model: Any, layers: Sequence[str]) -> dict[str, LowRank]:
    """Small factors for every layer."""
    shapes = {name: model.get_submodule(name).weight.shape for name in layers}
    return {
        name: LowRank(torch.randn(RANK, columns) * 1e-3, torch.randn(rows, RANK) * 1e-3, 2.0)
        for name, (rows, columns) in shapes.items()
    }


@torch.no_grad()
def decode(num_rows: int, num_experts: int) -> float:
    """Seconds of one token for so many answers, of so many experts, with 128 tokens each before it."""
    model, names, choice = served()
    choice.mix([names[row % num_experts] for row in range(num_rows)], model.device, model.dtype)
    ids = torch.randint(1000, 2000, (num_rows, PAST_TOKENS), generator=torch.Generator().manual_seed(0))
    cache = model(input_ids=ids.to(model.device), use_cache=True, logits_to_keep=1).past_key_values
    times = []
    for _ in range(4):
        started = clock()
        model(input_ids=ids[:, :1].to(model.device), past_key_values=cache, use_cache=True)
        times.append(clock() - started)
    return statistics.median(times[1:])


def expert_step(amount: int) -> Mapping[str, float]:
    """A token for eight answers of so many experts."""
    model, _, _ = served()
    layers = [name for name, each in model.named_modules() if hasattr(each, "updates")]
    numbers = sum(RANK * sum(model.get_submodule(name).weight.shape) for name in layers)
    return {"seconds": decode(8, amount), "adapter_mb": amount * numbers * model.dtype.itemsize / 1e6}


def user_step(amount: int) -> Mapping[str, float]:
    """A token for each of so many answers of four experts."""
    seconds = decode(amount, min(4, amount))
    return {"seconds": seconds, "tokens_per_second": amount / seconds}


@cache
def encoder() -> Any:
    """The encoder of requests."""
    from router.encoder import load_sentence_encoder

    return load_sentence_encoder()


def route_one(amount: int) -> Mapping[str, float]:
    """A request among so many domains of 30 example requests each, by the nearest ones."""
    from router.strategies.nearest import Strategy

    random_numbers = np.random.default_rng(amount)
    size = 384
    strategy = Strategy(
        encoder(),
        tuple(f"domain{number}" for number in range(amount)),
        random_numbers.normal(size=(amount, 2 * size)),
        np.zeros(amount),
        random_numbers.normal(size=(30 * amount, size)),
        tuple(number for number in range(amount) for _ in range(30)),
    )
    started = clock()
    for number in range(10):
        strategy([f"My payment number {number} went up and I do not know why."])
    return {"seconds": (clock() - started) / 10}


def clean(amount: int, folder: Path) -> Mapping[str, float]:
    """A domain of so many files of about 12 kB each."""
    from domains.new_domain import Request, new_domain

    with TemporaryDirectory(dir=folder) as work, Path(os.devnull).open("w", encoding="utf-8") as silent:
        source = Path(work) / "source"
        source.mkdir()
        chooser = random.Random(amount)
        for number in range(amount):
            parts = [f"## Part {part}\n\n{made_text(chooser, 160)}\n" for part in range(12)]
            (source / f"file{number}.md").write_text(f"# File {number}\n\n" + "\n".join(parts), encoding="utf-8")
        size = sum(path.stat().st_size for path in source.iterdir())
        started = clock()
        with redirect_stderr(silent):
            new_domain(Request("scaling", source, Path(work) / "made"))
        return {"seconds": clock() - started, "megabytes": size / 1e6}


def merge(amount: int, folder: Path) -> Mapping[str, float]:
    """The residual of three models of so many megabytes each."""
    from experts.benches._trio import write_trio
    from experts.residual import apply

    with TemporaryDirectory(dir=folder) as work:
        parents, _ = write_trio(Path(work), amount * 10**6)
        started = clock()
        apply(parents, 1.0, Path(work) / "out", torch.bfloat16)
        return {"seconds": clock() - started}
