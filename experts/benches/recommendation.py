"""Recommending a mortgage product: SFT alone, then DPO on one negative and S-DPO on all of them, from the same SFT.
What is done is kept in `HOME/bench`, so that a stopped run goes on.

Run: `expertsmith bench recommendation --json`.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from domains.domain import Domain
from domains.example import Preference
from experts import house
from experts.alignment import Alignment, train_preferences
from experts.benches._kept import Kept
from experts.checkpoint import CONFIG, Checkpoint, joined, load, load_tokenizer
from experts.device import probe
from experts.digests import digest_of
from experts.embedded import foundation_folder
from experts.objectives.s_dpo import Objective
from experts.recipe import Align, Sft
from experts.recommend import as_examples, hit_ratio, recommend, valid_ratio
from experts.stages import sft

SEEDS, BETA = (42, 13, 3407), 1.0
METHODS = ("instruct", "sft", "dpo_1_negative", "s_dpo")
SFT = Sft(epochs=3.0, learning_rate=5e-4, row_tokens=512, accumulation=1)
ALIGN = Align(epochs=2.0, learning_rate=1e-4, row_tokens=512, accumulation=4)


def run(quick: bool = False, home: Path = Path(".expertsmith")) -> dict[str, Any]:
    """Hit ratio and valid ratio on the test split, per seed and method."""
    domain = Domain.load("mortgage")
    train, test = domain.recommendations("train"), domain.recommendations("test")
    bench = Bench(home / "bench", train[:4] if quick else train, test[:4] if quick else test)
    rows = [bench.measured(name, seed) for seed in (SEEDS[:1] if quick else SEEDS) for name in METHODS]
    return {"rows": rows, "mean_hit_ratio": means(rows)}


def means(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The constrained hit ratio of each method over seeds."""
    names = sorted({row["method"] for row in rows})
    return {n: round(statistics.mean(r["hit_ratio"] for r in rows if r["method"] == n), 4) for n in names}


@dataclass(frozen=True)
class Bench:
    """The models of each seed, kept in a folder with what was measured, so that a stopped run goes on."""

    home: Path
    train: Sequence[Preference]
    test: Sequence[Preference]

    @cached_property
    def digest(self) -> str:
        """What all models depend on."""
        parts = [SFT.model_dump_json(), ALIGN.model_dump_json(), str(BETA), Checkpoint(foundation_folder()).digest()]
        return digest_of([*parts, *map(repr, (*self.train, *self.test))])

    @property
    def folder(self) -> Path:
        """The models, by what they depend on."""
        return self.home / f"recommendation-{self.digest[:12]}"

    def measured(self, name: str, seed: int) -> dict[str, Any]:
        """One line of the result."""
        kept = Kept(self.home / "recommendation.jsonl")
        return kept.result(
            f"{self.digest}/{seed}/{name}", lambda: measured(name, self.model(name, seed), self.test, seed)
        )

    def model(self, name: str, seed: int) -> Checkpoint:
        """A method's model; trained when it is not there, on from where a stopped training was."""
        folder, base = self.folder / str(seed), foundation_folder()
        if name == "instruct":
            self.folder.mkdir(parents=True, exist_ok=True)
            house.use_shipped(self.folder / "house")
            return Checkpoint(base, self.folder / "house")
        if not (folder / name / CONFIG).exists():
            start = self.model("instruct" if name == "sft" else "sft", seed)
            self.trained(name, start, seed, folder / f"{name}-own")
            joined(start, folder / f"{name}-own", folder / name)
        return Checkpoint(base, folder / name)

    def trained(self, name: str, start: Checkpoint, seed: int, own: Path) -> None:
        """The training of a method from where it starts."""
        own.mkdir(parents=True, exist_ok=True)
        if (own / CONFIG).exists():
            return
        if name == "sft":
            sft.run(start, as_examples(self.train), SFT, seed, own)
            return
        rows = (
            [replace(row, rejected=row.rejected[:1]) for row in self.train] if name == "dpo_1_negative" else self.train
        )
        train_preferences(start, rows, Alignment(Objective(beta=BETA)), ALIGN, seed, own)


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
