"""Recommending a mortgage product: SFT alone, then DPO on one negative and S-DPO on all of them, from the same SFT.

Run: `expertsmith bench recommendation --json`.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from domains.domain import Domain
from domains.example import Preference
from experts import house
from experts.alignment import Alignment, train_preferences
from experts.checkpoint import Checkpoint, joined, load, load_tokenizer
from experts.device import probe
from experts.embedded import foundation_folder
from experts.objectives.s_dpo import Objective
from experts.recipe import Align, Sft
from experts.recommend import as_examples, hit_ratio, recommend, valid_ratio
from experts.stages import sft

SEEDS = (42, 13, 3407)
SFT = Sft(epochs=3.0, learning_rate=5e-4, row_tokens=512, accumulation=1)
ALIGN = Align(epochs=2.0, learning_rate=1e-4, row_tokens=512, accumulation=4)


def run(quick: bool = False, home: Path = Path()) -> dict[str, Any]:
    """Hit ratio and valid ratio on the test split, per seed and method."""
    domain = Domain.load("mortgage")
    train, test = domain.recommendations("train"), domain.recommendations("test")
    rows = []
    for seed in SEEDS[:1] if quick else SEEDS:
        with TemporaryDirectory(prefix="expertsmith-bench-") as folder:
            rows += one_seed(train[:4] if quick else train, test[:4] if quick else test, seed, Path(folder))
    return {"rows": rows, "mean_hit_ratio": means(rows)}


def means(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The constrained hit ratio of each method over seeds."""
    names = sorted({row["method"] for row in rows})
    return {n: round(statistics.mean(r["hit_ratio"] for r in rows if r["method"] == n), 4) for n in names}


def one_seed(train: Sequence[Preference], test: Sequence[Preference], seed: int, folder: Path) -> list[dict[str, Any]]:
    """The four models of a seed."""
    house.use_shipped(folder / "house")
    start = Checkpoint(foundation_folder(), folder / "house")
    sft.run(start, as_examples(train), SFT, seed, folder / "sft-own")
    tuned = joined(start, folder / "sft-own", folder / "sft")
    found = {"instruct": start, "sft": tuned}
    first = [replace(row, rejected=row.rejected[:1]) for row in train]
    for name, data in (("dpo_1_negative", first), ("s_dpo", list(train))):
        train_preferences(tuned, data, Alignment(Objective(beta=1.0)), ALIGN, seed, folder / f"{name}-own")
        found[name] = joined(tuned, folder / f"{name}-own", folder / name)
    return [measured(name, model, test, seed) for name, model in found.items()]


def measured(name: str, checkpoint: Checkpoint, test: Sequence[Preference], seed: int) -> dict[str, Any]:
    """One line of the result."""
    device = probe()
    model = load(checkpoint, device.dtype, device.score_attention).to(device.name)
    found = recommend(model, load_tokenizer(checkpoint.base), test)
    row = {
        "method": name,
        "seed": seed,
        "hit_ratio": round(hit_ratio(found), 4),
        "hit_ratio_free": round(hit_ratio(found, constrained=False), 4),
        "valid_ratio": round(valid_ratio(found), 4),
        "n": len(found),
    }
    print(row, file=sys.stderr, flush=True)
    return row
