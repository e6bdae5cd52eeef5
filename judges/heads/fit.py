"""Fits the empathy heads on `empathy.jsonl` and measures them: python -m judges.heads.fit [--write].

Train, dev and test are by a hash of the post, so replies to one post stay together. Settings are chosen by grouped
cross-validation on train and dev; the test rows are only measured. The fit has no randomness.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, log_loss
from sklearn.model_selection import GroupKFold

from domains.readers import rows
from domains.splits import split_of
from judges.heads.cues import NAMES, read
from judges.heads.head import FOLDER, Head, facts, matrix, save_heads
from judges.heads.vectors import mean_vectors

AXES = ("emotional_reaction", "interpretation", "exploration")
DATA = FOLDER / "empathy.jsonl"
WEIGHTS = FOLDER / "empathy.safetensors"
NUM_LEVELS = 3
FOLDS = 6
STRENGTHS = (0.01, 0.03, 0.1, 0.3)
VECTOR_SCALES = (0.0, 2.0, 4.0, 8.0)
TEMPERATURES = tuple(float(t) for t in np.linspace(0.6, 1.6, 21))
TILTS = (0.0, 0.25, 0.5)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Table:
    """Labelled rows as the head takes them: measures [B, F], vectors [B, D], labels [B, 3], and each row's post."""

    measures: Floats
    vectors: Floats
    labels: Ints
    posts: tuple[str, ...]
    styles: tuple[str, ...]

    def where(self, kept: Sequence[bool] | NDArray[np.bool_]) -> Table:
        """Some of the rows."""
        mask = np.asarray(kept, dtype=bool)
        names = [np.array(column)[mask].tolist() for column in (self.posts, self.styles)]
        return Table(self.measures[mask], self.vectors[mask], self.labels[mask], tuple(names[0]), tuple(names[1]))

    @property
    def held_out(self) -> NDArray[np.bool_]:
        """Which rows are test rows."""
        return np.array([split_of(post) == "test" for post in self.posts])


@dataclass(frozen=True)
class Settings:
    """Of one axis: inverse penalty, weight of the vector against the measures, temperature, tilt of the levels."""

    strength: float
    vector_scale: float
    temperature: float = 1.0
    tilt: float = 0.0


def load_table(path: Path) -> Table:
    """The rows of the data file with their measures and vectors."""
    given = [json.loads(line) for _, line in rows(path)]
    readings = [read(row["post"], row["reply"]) for row in given]
    return Table(
        measures=matrix([reading.measures for reading in readings], NAMES).numpy().astype(np.float64),
        vectors=mean_vectors([reading.said for reading in readings]).numpy().astype(np.float64),
        labels=np.array([[row[axis] for axis in AXES] for row in given]),
        posts=tuple(row["id"].partition("-")[0] for row in given),
        styles=tuple(row["style"] for row in given),
    )


def fit_head(table: Table, axis: int, settings: Settings) -> Head:
    """One axis: multinomial logistic regression on standardised measures and the scaled vector, back in raw units."""
    labels = table.labels[:, axis]
    center, spread = table.measures.mean(0), table.measures.std(0)
    spread[spread == 0] = 1.0
    inputs = np.hstack([(table.measures - center) / spread, table.vectors * settings.vector_scale])
    model = LogisticRegression(C=settings.strength, max_iter=10_000, tol=1e-8).fit(inputs, labels)
    if list(model.classes_) != list(range(NUM_LEVELS)):
        raise ValueError(f"the rows of {AXES[axis]} have only the levels {list(model.classes_)}")
    num = len(center)
    measures = model.coef_[:, :num] / spread / settings.temperature
    bias = model.intercept_ / settings.temperature - measures @ center
    vector = model.coef_[:, num:] * settings.vector_scale / settings.temperature
    prior = np.bincount(labels, minlength=NUM_LEVELS) / len(labels)
    tilt = -settings.tilt * np.log(prior)
    return Head(NAMES, *(torch.tensor(part, dtype=torch.float32) for part in (bias, measures, vector, tilt)))


def probabilities(head: Head, table: Table) -> Floats:
    """The head's probabilities for the rows, [B, 3]."""
    measured, vectors = (torch.tensor(part, dtype=torch.float32) for part in (table.measures, table.vectors))
    return head.probabilities(measured, vectors).numpy().astype(np.float64)


def out_of_fold(table: Table, axis: int, settings: Settings) -> Floats:
    """Probabilities for each row from heads that saw neither it nor its post."""
    result = np.zeros((len(table.posts), NUM_LEVELS))
    for fitted, left in GroupKFold(FOLDS).split(table.measures, groups=table.posts):
        kept = np.isin(np.arange(len(table.posts)), fitted)
        result[left] = probabilities(fit_head(table.where(kept), axis, settings), table.where(~kept))
    return result


def choose(table: Table, axis: int) -> Settings:
    """By cross-validation: the simplest settings within one standard error of the least log loss (Hastie et al. 2009,
    section 7.10; it carries over better to texts of others), then the best temperature, then the tilt with the best
    macro-F1."""
    labels = table.labels[:, axis]
    grid = [Settings(strength, scale) for strength, scale in product(STRENGTHS, VECTOR_SCALES)]
    found = {settings: out_of_fold(table, axis, settings) for settings in grid}
    losses = {settings: -np.log(found[settings][np.arange(len(labels)), labels]) for settings in grid}
    best = min(grid, key=lambda settings: float(losses[settings].mean()))
    limit = losses[best].mean() + losses[best].std() / np.sqrt(len(labels))
    simple = next(settings for settings in grid if losses[settings].mean() <= limit)
    logits = np.log(found[simple])
    temperature = min(TEMPERATURES, key=lambda t: log_loss(labels, softmax(logits / t), labels=range(NUM_LEVELS)))
    scores = np.log(softmax(logits / temperature))
    prior = np.log(np.bincount(labels, minlength=NUM_LEVELS) / len(labels))
    tilt = max(TILTS, key=lambda tilt: macro_f1(labels, (scores - tilt * prior).argmax(-1)))
    return replace(simple, temperature=temperature, tilt=tilt)


def softmax(logits: Floats) -> Floats:
    """Rows of logits to probabilities."""
    return torch.softmax(torch.tensor(logits), dim=-1).numpy()


def macro_f1(labels: Ints, levels: Ints) -> float:
    """The mean F1 of the three levels."""
    return float(f1_score(labels, levels, average="macro", labels=range(NUM_LEVELS), zero_division=0))


def fit_heads(table: Table, settings: Mapping[str, Settings]) -> dict[str, Head]:
    """The heads of the three axes, fitted on train and dev."""
    seen = table.where(~table.held_out)
    return {name: fit_head(seen, axis, settings[name]) for axis, name in enumerate(AXES)}


def shipped_settings() -> dict[str, Settings]:
    """The settings that the shipped heads were fitted with, so that they can be fitted again without a search."""
    found = json.loads(facts(WEIGHTS)["settings"])
    return {name: Settings(**values) for name, values in found.items()}


def measured(heads: dict[str, Head], table: Table) -> dict[str, float]:
    """Macro-F1 and calibration error of each axis, macro-F1 of always saying its most frequent level, and the rank
    correlation of the expected with the true sum."""
    result: dict[str, float] = {"n": len(table.posts)}
    expected = np.zeros(len(table.posts))
    for axis, (name, head) in enumerate(heads.items()):
        found = probabilities(head, table)
        labels = table.labels[:, axis]
        levels = np.array(head.levels(torch.tensor(found)))
        expected += found @ np.arange(NUM_LEVELS)
        result[f"{name}_macro_f1"] = macro_f1(labels, levels)
        result[f"{name}_majority"] = macro_f1(labels, np.full_like(labels, np.bincount(labels).argmax()))
        result[f"{name}_calibration_error"] = calibration_error(found, labels)
    result["spearman_sum"] = spearman(expected, table.labels.sum(1).astype(np.float64))
    return {key: round(value, 3) for key, value in result.items()}


def spearman(first: Floats, second: Floats) -> float:
    """Spearman's rank correlation, ties at their mean rank."""
    return float(np.corrcoef(mean_ranks(first), mean_ranks(second))[0, 1])


def mean_ranks(values: Floats) -> Floats:
    """The rank of each value; equal values share the mean of their ranks."""
    ordered = np.sort(values)
    return (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")) / 2.0


def calibration_error(found: Floats, labels: Ints, num_bins: int = 10) -> float:
    """Expected calibration error of the most probable class (Guo et al. 2017, arXiv 1706.04599)."""
    confidence, right = found.max(-1), found.argmax(-1) == labels
    bins = np.minimum((confidence * num_bins).astype(int), num_bins - 1)
    gaps = [abs(confidence[bins == b].sum() - right[bins == b].sum()) for b in range(num_bins)]
    return float(sum(gaps) / len(labels))


def transfer(table: Table, settings: dict[str, Settings]) -> dict[str, dict[str, float]]:
    """Each style measured by heads that saw none of it (train and dev rows only): how far the heads carry."""
    seen = table.where(~table.held_out)
    result = {}
    for style in sorted(set(seen.styles)):
        inside = np.array([s == style for s in seen.styles])
        heads = {name: fit_head(seen.where(~inside), axis, settings[name]) for axis, name in enumerate(AXES)}
        result[style] = measured(heads, seen.where(inside))
    return result


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit, measure, and with --write replace the shipped weights."""
    parser = argparse.ArgumentParser(prog="python -m judges.heads.fit", description=__doc__)
    parser.add_argument("--write", action="store_true", help="replace the shipped weights")
    options = parser.parse_args(arguments)
    table = load_table(DATA)
    seen = table.where(~table.held_out)
    settings = {name: choose(seen, axis) for axis, name in enumerate(AXES)}
    heads = fit_heads(table, settings)
    chosen = {name: asdict(found) for name, found in settings.items()}
    if options.write:
        save_heads(WEIGHTS, heads, {"settings": json.dumps(chosen), "data": sha256(DATA.read_bytes()).hexdigest()})
    sys.stdout.write(json.dumps({"settings": chosen} | report(table, heads, settings), indent=1) + "\n")


def report(table: Table, heads: dict[str, Head], settings: dict[str, Settings]) -> dict[str, Any]:
    """What the heads reach on the test rows, by style, and on styles that they have not seen."""
    test = table.where(table.held_out)
    styles = {style: test.where([s == style for s in test.styles]) for style in sorted(set(test.styles))}
    return {
        "test": measured(heads, test),
        "test_by_style": {style: measured(heads, part) for style, part in styles.items()},
        "unseen_style": transfer(table, settings),
    }


if __name__ == "__main__":
    main()
