"""Baselines for rescaling BERTScore: what pairs of unrelated texts score with a model, per layer.

A file has the columns LAYER, P, R, F; row n is layer n. The bert-score package carries files for public models; the one
of the embedded MiniLM is beside this module (means over 5,000 random pairs of sentences of the shipped documents).
"""

from __future__ import annotations

import csv
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from domains.errors import UserError
from judges.encoder import NAME

OWN = Path(__file__).parent / "baselines"


@dataclass(frozen=True)
class Baseline:
    """The scores of unrelated texts."""

    precision: float = 0.0
    recall: float = 0.0
    f1: float = 0.0


def read_baseline(name: str, model: str, layer: int) -> Baseline:
    """The baseline of a model's layer: `name` is the path of a file, or a language for which one is known ("en");
    "" = none, which changes nothing."""
    if not name:
        return Baseline()
    path = baseline_file(name, model)
    with path.open(encoding="utf-8", newline="") as handle:
        try:
            rows = {int(row["LAYER"]): [float(row[column]) for column in "PRF"] for row in csv.DictReader(handle)}
        except (KeyError, TypeError, ValueError):
            raise UserError(f"{path} is no baseline. Write lines LAYER,P,R,F with a number in each column.") from None
    if layer not in rows or not all(value < 1 for value in rows[layer]):
        raise UserError(f"{path} has no usable baseline for layer {layer}. Add a line with values below 1.")
    return Baseline(*rows[layer])


def baseline_file(name: str, model: str) -> Path:
    """The file itself, ours, or the package's."""
    spec = importlib.util.find_spec("bert_score")
    package = Path(spec.origin).parent if spec and spec.origin else OWN
    candidates = [Path(name)]
    if name.replace("-", "").isalpha():
        candidates += [OWN / name / f"{model or NAME}.tsv", package / "rescale_baseline" / name / f"{model}.tsv"]
    for path in candidates:
        if path.is_file():
            return path
    raise UserError(
        f"There is no baseline '{name}' for the encoder '{model or NAME}'. Give the path of a file with lines "
        "LAYER,P,R,F, or a language that the bert-score package has for this model."
    )
