"""Every objective on the same data, three seeds, an equal tuning budget: the held-out benchmark of the DDO-RM paper
(arXiv 2604.11119) in this project's setting.

Start: the house instruct model over the embedded foundation. Data: preference rows of both shipped domains. Each
objective tries the same learning rates with the first seed, and keeps the one with the highest pair accuracy on dev (by
implicit reward); then it trains once per seed and is measured on test. What is done is kept in `HOME/bench`, so that a
stopped run goes on. Run: `expertsmith bench objectives --json`; the paper's own model and data: recipe `ddo-rm-paper`.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from domains.errors import UserError
from domains.example import Preference, Split
from experts.alignment import REFERENCES, Alignment, train_preferences
from experts.benches._kept import Kept
from experts.benches._setting import Setting, of_recipe, shipped
from experts.checkpoint import Checkpoint, joined, load, load_tokenizer
from experts.device import probe
from experts.digests import digest_of
from experts.preferences import PreferenceBatch, candidate_logprobs, encode_preference, load_objective
from experts.recipe import load_recipe
from judges.stats import paired_test

SEEDS = (42, 13, 3407)
ROW_TOKENS = 1024
MEASURES = {"pair_accuracy_reward": "rewards", "pair_accuracy_logp": "means"}
OBJECTIVES: dict[str, tuple[str, dict[str, Any]]] = {
    "dpo": ("dpo", {}),
    "ipo": ("dpo", {"loss": "ipo"}),
    "beta_dpo": ("beta_dpo", {}),
    "s_dpo": ("s_dpo", {}),
    "ddo_rm": ("ddo_rm", {}),
    "dph": ("dph", {}),
    "ddo_rm_published": ("ddo_rm", {"detach_target": False}),
}


@dataclass(frozen=True)
class Scores:
    """Of one row: implicit rewards and mean log-probabilities of its candidates, chosen first."""

    id: str
    rewards: tuple[float, ...]
    means: tuple[float, ...]


def run(
    quick: bool = False, home: Path = Path(".expertsmith"), data: Path | None = None, recipe: str | None = None
) -> dict[str, Any]:
    """Rows per objective and seed, and every objective against DPO, paired by preference row. `data` are preference
    rows for a recipe's model; without them, the shipped domains over the embedded model."""
    folder = home / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    if (data is None) != (recipe is None):
        raise UserError("bench objectives takes --recipe and --data together, or neither. See the recipe ddo-rm-paper.")
    setting = shipped(folder) if data is None else of_recipe(load_recipe(recipe), data, folder)
    bench = Bench(setting.smaller() if quick else setting, folder, SEEDS[:1] if quick else SEEDS)
    rows, found = [], {}
    for name in OBJECTIVES:
        rate = bench.best_rate(name)
        for seed in bench.seeds:
            found[name, seed] = bench.trained(name, rate, seed, "test")
            rows.append({"objective": name, "seed": seed, **summary(found[name, seed]), "learning_rate": rate})
            print(rows[-1], file=sys.stderr, flush=True)
    others = [name for name in OBJECTIVES if name != "dpo"]
    tests = [against(name, measure, found, bench.seeds) for name in others for measure in MEASURES]
    return {"rows": rows, "against_dpo": tests}


@dataclass(frozen=True)
class Bench:
    """Training runs whose results are kept in a file."""

    setting: Setting
    folder: Path
    seeds: tuple[int, ...]

    @property
    def kept(self) -> Kept:
        """One line per run."""
        return Kept(self.folder / f"{self.setting.name}.jsonl")

    def best_rate(self, name: str) -> float:
        """The learning rate with the highest dev accuracy."""
        rates, seed = self.setting.rates, self.seeds[0]
        return max(rates, key=lambda rate: summary(self.trained(name, rate, seed, "dev"))["pair_accuracy_reward"])

    def trained(self, name: str, rate: float, seed: int, split: Split) -> list[Scores]:
        """Scores on a split after training; the first seed, which the rate is chosen with, is scored on both."""
        key = digest_of([name, OBJECTIVES[name], rate, seed, self.setting.digest])
        run = self.kept.result(key, lambda: self.train(name, rate, seed))
        return [Scores(r["id"], tuple(r["rewards"]), tuple(r["means"])) for r in run[split]]

    def train(self, name: str, rate: float, seed: int) -> dict[str, list[dict[str, Any]]]:
        """One training run, scored on test, and on dev where the rate is chosen. All start from one model: its
        log-probabilities are computed once."""
        print(f"{name}, learning rate {rate}, seed {seed}", file=sys.stderr, flush=True)
        setting, kept = self.setting, self.folder / f"{self.setting.name}.{REFERENCES}"
        with TemporaryDirectory(prefix="expertsmith-bench-") as temporary:
            own = Path(temporary) / "own"
            own.mkdir()
            if kept.exists():
                shutil.copy(kept, own / REFERENCES)
            settings = setting.align.model_copy(update={"learning_rate": rate})
            alignment = Alignment(load_objective(*OBJECTIVES[name]))
            train_preferences(setting.start, setting.rows["train"], alignment, settings, seed, own)
            if (own / REFERENCES).exists():
                shutil.copy(own / REFERENCES, kept)
            tuned = joined(setting.start, own, Path(temporary) / "joined")
            splits: tuple[Split, ...] = ("dev", "test") if seed == self.seeds[0] else ("test",)
            return {split: scored(tuned, setting.rows[split], self.before[split]) for split in splits}

    @cached_property
    def before(self) -> dict[Split, list[PreferenceBatch]]:
        """Log-probabilities of the held-out answers under the model that every objective starts from."""
        return {split: logprobs(self.setting.start, self.setting.rows[split]) for split in ("dev", "test")}


def scored(tuned: Checkpoint, rows: Sequence[Preference], before: Sequence[PreferenceBatch]) -> list[dict[str, Any]]:
    """Implicit rewards against the start, and mean log-probabilities."""
    return [
        {
            "id": row.id,
            "rewards": (a.policy_BC - b.policy_BC)[0].tolist(),
            "means": a.mean_logprobs_BC[0].tolist(),
        }
        for row, a, b in zip(rows, logprobs(tuned, rows), before, strict=True)
    ]


def logprobs(model: Checkpoint, rows: Sequence[Preference]) -> list[PreferenceBatch]:
    """Log-probabilities of all answers under a model."""
    device = probe()
    tokenizer = load_tokenizer(model.base)
    encoded = [encode_preference(tokenizer, row) for row in rows]
    loaded = load(model, device.dtype, device.score_attention).to(device.name)
    return candidate_logprobs(loaded, encoded, ROW_TOKENS, tokenizer.pad_token_id)


def accuracy(values: Sequence[float]) -> float:
    """The share of rejected answers below the chosen one."""
    return float(np.mean([values[0] > other for other in values[1:]]))


def summary(found: Sequence[Scores]) -> dict[str, Any]:
    """The paper's numbers, and the same by implicit reward; margins in nats per token. AUC within a prompt is what pair
    accuracy is, with ties as halves; the pooled one mixes prompts."""
    margins = [row.means[0] - other for row in found for other in row.means[1:]]
    truth = [int(i == 0) for row in found for i in range(len(row.means))]
    pooled = [value for row in found for value in row.means]
    within = [np.mean([np.sign(row.means[0] - other) / 2 + 0.5 for other in row.means[1:]]) for row in found]
    return {
        "pair_accuracy_reward": round(float(np.mean([accuracy(row.rewards) for row in found])), 4),
        "pair_accuracy_logp": round(float(np.mean([accuracy(row.means) for row in found])), 4),
        "auc_pooled": round(float(roc_auc_score(truth, pooled)), 4),
        "auc_within": round(float(np.mean(within)), 4),
        "margin": round(float(np.mean(margins)), 4),
        "margin_std": round(float(np.std(margins)), 4),
        "n": len(found),
    }


def against(
    name: str, measure: str, found: dict[tuple[str, int], list[Scores]], seeds: Sequence[int]
) -> dict[str, Any]:
    """An objective minus DPO in pair accuracy by a measure, paired by row, seeds averaged first."""
    means = {
        which: np.mean(
            [[accuracy(getattr(row, MEASURES[measure])) for row in found[which, seed]] for seed in seeds], axis=0
        ).tolist()
        for which in (name, "dpo")
    }
    test = paired_test(means[name], means["dpo"])
    numbers = {"difference": test.difference, "low": test.low, "high": test.high, "p": test.p}
    return {"objective": name, "measure": measure, **numbers}
