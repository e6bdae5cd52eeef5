"""Single references against their mixtures: DPO on the mortgage preferences, one run each, because the paper on
weightings (arXiv 2512.10040) found most single references ahead of every mixture.

Three references: the foundation, the house instruct model that training starts from, and the foundation with 1.5 times
the house residual. Pair accuracy on the test split by mean log-probability, which no reference enters.
Run: `expertsmith bench references --json`.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from domains.domain import Domain
from domains.example import Preference, Split
from experts import house
from experts.alignment import REFERENCES, Alignment, train_preferences
from experts.benches._kept import Kept
from experts.benches.objectives import Scores, logprobs, scored, summary
from experts.checkpoint import Checkpoint, compose, joined, read_adapter, write_adapter
from experts.digests import digest_of
from experts.embedded import foundation_folder
from experts.mixing import METHODS, WEIGHTINGS, Mixing
from experts.objectives.dpo import Objective
from experts.preferences import PreferenceBatch
from experts.recipe import Align

SEED, STRONGER = 42, 1.5
NAMES = ("instruct", "foundation", "instruct_1.5")
HARMONIC_WEIGHTINGS = ("discrimination", "sliding_window", "adaptive")
SPLITS: tuple[Split, ...] = ("train", "dev", "test")
LIMIT = {"train": 32, "dev": 12, "test": None}
SETTINGS = Align(learning_rate=2e-4, epochs=1, accumulation=1, batch_rows=4, row_tokens=512)


class Plan(NamedTuple):
    """A row of the result: its name, the names of its references, and their mixture."""

    name: str
    references: tuple[str, ...]
    mixing: Mixing


def run(quick: bool = False, home: Path = Path(".expertsmith")) -> dict[str, Any]:
    """One row per single reference and per mixture; what is done is kept in `HOME/bench`, so that a stopped run goes
    on."""
    folder = home / "bench" / "references"
    models = make_references(folder)
    kept, rows = Kept(home / "bench" / "references.jsonl"), []
    for name, names, mixing in plans()[: 4 if quick else None]:
        references = tuple(models[each] for each in names)
        parts = [name, SETTINGS.model_dump_json(), *(model.digest() for model in (models["instruct"], *references))]
        key = digest_of([*parts, repr(mixing), str(quick), *map(repr, all_rows())])
        work = partial(trained, folder, models["instruct"], references, mixing, quick)
        rows.append({"references": name, **kept.result(key, work)})
    return {"rows": rows, "mixtures_minus_singles": against_singles(rows)}


def against_singles(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Every mixture minus every single reference, in pair accuracy by mean log-probability."""
    found = {row["references"]: row["pair_accuracy_logp"] for row in rows}
    return [
        {"references": name, **{single: round(value - found[single], 4) for single in NAMES}}
        for name, value in found.items()
        if name not in NAMES
    ]


def all_rows() -> list[Preference]:
    """The rows of all splits."""
    domain = Domain.load("mortgage")
    return [row for split in SPLITS for row in domain.preferences(split)[: LIMIT[split]]]


def plans() -> list[Plan]:
    """Each reference alone; then all three, mixed by every method with every weighting. Under DPO all weight on one
    reference is that one in a sum of losses as in the geometric mean: losses/thompson is geometric/thompson."""
    singles = [Plan(name, (name,), Mixing()) for name in NAMES]
    mixtures = [Mixing(method) for method in METHODS]
    mixtures += [Mixing("geometric", weighting, window=4) for weighting in WEIGHTINGS[1:]]
    mixtures += [Mixing("harmonic", weighting, window=4) for weighting in HARMONIC_WEIGHTINGS]
    every = [Mixing(method, weighting, window=4) for method in METHODS for weighting in WEIGHTINGS[1:]]
    mixtures += [each for each in every if each not in (*mixtures, Mixing("losses", "thompson", window=4))]
    return singles + [Plan(f"{mixing.method}/{mixing.weighting}", NAMES, mixing) for mixing in mixtures]


def make_references(folder: Path) -> dict[str, Checkpoint]:
    """The three models."""
    base = foundation_folder()
    folder.mkdir(parents=True, exist_ok=True)
    house.use_shipped(folder / "house")
    write_adapter(compose([(read_adapter(folder / "house"), STRONGER)]), base, folder / "stronger")
    return {
        "instruct": Checkpoint(base, folder / "house"),
        "foundation": Checkpoint(base),
        "instruct_1.5": Checkpoint(base, folder / "stronger"),
    }


def trained(
    folder: Path, start: Checkpoint, references: tuple[Checkpoint, ...], mixing: Mixing, quick: bool
) -> dict[str, Any]:
    """Train from the instruct model under the references; the numbers on test. The references' log-probabilities are
    computed in the first run that needs them."""
    domain = Domain.load("mortgage")
    train, dev, test = (domain.preferences(split)[: LIMIT[split]] for split in SPLITS)
    with TemporaryDirectory(dir=folder) as work:
        own, kept = Path(work) / "own", folder / REFERENCES
        own.mkdir()
        if kept.exists():
            shutil.copy(kept, own / REFERENCES)
        train_preferences(
            start, train[:3] if quick else train, Alignment(Objective(), mixing, references, dev), SETTINGS, SEED, own
        )
        shutil.copy(own / REFERENCES, kept)
        tuned = joined(start, own, Path(work) / "joined")
        rows = test[:3] if quick else test
        found = scored(tuned, rows, start_of(start, rows))
    result = summary([Scores(r["id"], tuple(r["rewards"]), tuple(r["means"])) for r in found])
    print(result, file=sys.stderr, flush=True)
    return result


@cache
def start_of(start: Checkpoint, rows: tuple[Preference, ...]) -> list[PreferenceBatch]:
    """Log-probabilities of the test answers before any training."""
    return logprobs(start, rows)
