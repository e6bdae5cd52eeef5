"""Fits the tone head of the politeness judge on `politeness.jsonl`: python -m judges.heads.fit_politeness [--write].

Logistic regression on the text's vector; a neutral text counts half as polite and half as not. The penalty is chosen
by cross-validation on train and dev (by a hash of the id); the test rows are only measured. No randomness.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import KFold

from domains.readers import rows
from domains.splits import split_of
from judges.heads.fit import Floats
from judges.heads.head import FOLDER, Head, facts, save_heads
from judges.heads.vectors import text_vectors

DATA = FOLDER / "politeness.jsonl"
WEIGHTS = FOLDER / "politeness.safetensors"
HEAD = "tone"
TARGETS = {"polite": 1.0, "neutral": 0.5, "impolite": 0.0}
FOLDS = 8
STRENGTHS = (0.3, 1.0, 3.0)  # beyond 3 the vector would outweigh the strategies


@dataclass(frozen=True)
class Requests:
    """Labelled texts: unit vectors [B, D], targets in [0, 1], styles, and which of them are test rows."""

    vectors: Floats
    targets: Floats
    styles: tuple[str, ...]
    held_out: Floats

    def where(self, kept: Floats) -> Requests:
        """Some of the rows."""
        mask = kept.astype(bool)
        styles = tuple(style for style, keep in zip(self.styles, mask, strict=True) if keep)
        return Requests(self.vectors[mask], self.targets[mask], styles, self.held_out[mask])


def load_requests() -> Requests:
    """The rows of the data file with their vectors."""
    given = [json.loads(line) for _, line in rows(DATA)]
    return Requests(
        vectors=text_vectors([row["text"] for row in given]).numpy().astype(np.float64),
        targets=np.array([TARGETS[row["label"]] for row in given]),
        styles=tuple(row["style"] for row in given),
        held_out=np.array([float(split_of(row["id"]) == "test") for row in given]),
    )


def fit_tone(requests: Requests, strength: float) -> Head:
    """The head: class 1 is polite."""
    twice = np.vstack([requests.vectors, requests.vectors])
    labels = np.repeat([1, 0], len(requests.targets))
    weights = np.concatenate([requests.targets, 1 - requests.targets])
    model = LogisticRegression(C=strength, max_iter=10_000, tol=1e-8).fit(twice, labels, sample_weight=weights)
    vector = np.vstack([np.zeros_like(model.coef_), model.coef_])
    bias = np.array([0.0, model.intercept_[0]])
    bias_C, vector_CD = (torch.tensor(part, dtype=torch.float32) for part in (bias, vector))
    return Head((), bias_C, torch.zeros(2, 0), vector_CD, torch.zeros(2))


def polite(head: Head, requests: Requests) -> Floats:
    """The probability of polite for each row."""
    vectors = torch.tensor(requests.vectors, dtype=torch.float32)
    return head.probabilities(torch.zeros(len(vectors), 0), vectors)[:, 1].numpy().astype(np.float64)


def choose(requests: Requests) -> float:
    """The penalty with the least cross-validated log loss."""
    return min(STRENGTHS, key=lambda strength: cross_validated_loss(requests, strength))


def cross_validated_loss(requests: Requests, strength: float) -> float:
    """Mean log loss of heads on rows that they have not seen."""
    found = np.zeros(len(requests.targets))
    for _, left in KFold(FOLDS, shuffle=True, random_state=0).split(requests.vectors):
        kept = np.ones(len(found))
        kept[left] = 0
        found[left] = polite(fit_tone(requests.where(kept), strength), requests.where(1 - kept))
    return float(-(requests.targets * np.log(found) + (1 - requests.targets) * np.log(1 - found)).mean())


def measured(head: Head, requests: Requests) -> dict[str, float]:
    """Area under the curve and accuracy at 0.5 between polite and impolite rows."""
    sides = requests.where(requests.targets != 0.5)
    found = polite(head, sides)
    right = (found > 0.5) == (sides.targets > 0.5)
    return {
        "n": len(found),
        "auc": round(float(roc_auc_score(sides.targets, found)), 3),
        "accuracy": round(float(right.mean()), 3),
    }


def report(requests: Requests, head: Head, strength: float) -> dict[str, Any]:
    """What the head reaches on the test rows, and heads without a style on that style (train and dev rows)."""
    seen = requests.where(1 - requests.held_out)
    result: dict[str, Any] = {"strength": strength, "test": measured(head, requests.where(requests.held_out))}
    for style in sorted(set(seen.styles)):
        inside = np.array([float(s == style) for s in seen.styles])
        result[f"unseen {style}"] = measured(fit_tone(seen.where(1 - inside), strength), seen.where(inside))
    return result


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit, measure, and with --write replace the shipped weights."""
    parser = argparse.ArgumentParser(prog="python -m judges.heads.fit_politeness", description=__doc__)
    parser.add_argument("--write", action="store_true", help="replace the shipped weights")
    options = parser.parse_args(arguments)
    requests = load_requests()
    seen = requests.where(1 - requests.held_out)
    strength = choose(seen)
    head = fit_tone(seen, strength)
    if options.write:
        about = {"strength": str(strength), "data": sha256(DATA.read_bytes()).hexdigest()}
        save_heads(WEIGHTS, {HEAD: head}, about)
    sys.stdout.write(json.dumps(report(requests, head, strength), indent=1) + "\n")


def refitted() -> Head:
    """The shipped head, fitted again with the strength it was fitted with."""
    requests = load_requests()
    return fit_tone(requests.where(1 - requests.held_out), float(facts(WEIGHTS)["strength"]))


if __name__ == "__main__":
    main()
