"""In one process: what each adapter adds to one base in memory, and three ways to run a batch of several experts."""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import torch
from peft import PeftModel

from experts.checkpoint import load_base, read_adapter
from experts.device import probe
from experts.export import base_of
from router.adapters import Choice, share
from router.engine import Engine, servable

ROWS, PAST_TOKENS, STEPS = 8, 128, 12


def megabytes() -> float:
    """Resident memory of this process."""
    return float(psutil.Process().memory_info().rss) / 2**20


def memory_rows(home: Path) -> list[dict[str, Any]]:
    """Memory after the base and after each further adapter, beside the size of its weights in the base's format."""
    experts = {name: expert for name, expert in servable(home).items() if expert.has_adapter}
    device = probe()
    before = megabytes()
    base = load_base(base_of(next(iter(experts.values()))), device.dtype, device.score_attention).eval()
    size = sum(p.numel() * p.element_size() for p in base.parameters()) / 2**20
    rows = [{"kind": "memory", "added": "base", "rss_mb": round(megabytes() - before, 1), "weights_mb": round(size, 1)}]
    choice: Choice | None = None
    for name, expert in experts.items():
        before = megabytes()
        updates = read_adapter(expert.folder)
        choice = share(base, {name: updates}, choice)
        numbers = sum(u.down.numel() + u.up.numel() for u in updates.values())
        del updates
        weights = numbers * base.dtype.itemsize / 2**20
        rows.append({"kind": "memory", "added": name, "rss_mb": round(megabytes() - before, 1),
                     "weights_mb": round(weights, 1)})  # fmt: skip
    return rows


@torch.no_grad()
def step_row(home: Path) -> dict[str, Any]:
    """Median milliseconds of one token for eight answers of all experts with 128 tokens each before it. The ways take
    turns, so that all have the same machine."""
    engine = Engine(home)
    names = [list(engine.experts)[i % len(engine.experts)] for i in range(ROWS)]
    ids = torch.randint(1000, 2000, (ROWS, PAST_TOKENS))
    wrapped = peft_model(engine)
    ways: dict[str, Callable[[], Callable[[], Any]]] = {
        "mixed": lambda: mixed(engine, names, ids),
        "per_expert": lambda: per_expert(engine, names, ids),
        "peft": lambda: by_peft(wrapped, names, ids),
    }
    steps = {name: make() for name, make in ways.items()}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(STEPS):
        for name, step in steps.items():
            started = time.perf_counter()
            step()
            times[name].append(1000 * (time.perf_counter() - started))
    found = {f"{name}_ms": round(statistics.median(values[2:]), 1) for name, values in times.items()}
    return {"kind": "step", "answers": ROWS, "experts": len(set(names)), **found}


def mixed(engine: Engine, names: list[str], ids: Any) -> Callable[[], Any]:
    """All rows in one pass, each with its expert."""
    with engine.mixing(names) as model:
        cache = model(input_ids=ids, use_cache=True, logits_to_keep=1).past_key_values

    def step() -> None:
        with engine.mixing(names) as model:
            model(input_ids=ids[:, :1], past_key_values=cache, use_cache=True)
            cache.crop(PAST_TOKENS - cache.get_seq_length())

    return step


def per_expert(engine: Engine, names: list[str], ids: Any) -> Callable[[], Any]:
    """One pass per expert over its rows."""
    parts = []
    for name in dict.fromkeys(names):
        rows = ids[[i for i, each in enumerate(names) if each == name]]
        with engine.using(name) as model:
            parts.append((name, rows, model(input_ids=rows, use_cache=True, logits_to_keep=1).past_key_values))

    def step() -> None:
        for name, rows, cache in parts:
            with engine.using(name) as model:
                model(input_ids=rows[:, :1], past_key_values=cache, use_cache=True)
                cache.crop(PAST_TOKENS - cache.get_seq_length())

    return step


def peft_model(engine: Engine) -> Any:
    """The same experts in PEFT's own wrapper."""
    experts = {name: expert for name, expert in engine.experts.items() if expert.has_adapter}
    (first, *others), device = experts, engine.device
    base = load_base(base_of(experts[first]), device.dtype, device.score_attention)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrapped = PeftModel.from_pretrained(base, experts[first].folder, first.replace("/", "__"))
        for name in others:
            wrapped.load_adapter(experts[name].folder, name.replace("/", "__"))
    return wrapped.to(device.dtype).eval()


def by_peft(wrapped: Any, names: list[str], ids: Any) -> Callable[[], Any]:
    """PEFT's mixed batch: its layers take the rows of each adapter apart and put them together again."""
    there = set(wrapped.peft_config)
    given = [name if (name := each.replace("/", "__")) in there else "__base__" for each in names]
    cache = wrapped(input_ids=ids, use_cache=True, logits_to_keep=1, adapter_names=given).past_key_values

    def step() -> None:
        wrapped(input_ids=ids[:, :1], past_key_values=cache, use_cache=True, adapter_names=given)
        cache.crop(PAST_TOKENS - cache.get_seq_length())

    return step
