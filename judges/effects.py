"""How large a difference is, apart from whether it is real: effect sizes of paired items.

Standardised paired difference (Cohen 1988, d_z), odds ratio of the discordant pairs (McNemar 1947, with the +1/2 of
Haldane 1956 and Anscombe 1956), Cliff's delta (1993, doi 10.1037/0033-2909.114.3.494), ratio.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from judges.stats import FloatArray

ORDINAL_LEVELS = 7


@dataclass(frozen=True)
class Effect:
    """The size of a difference and the name of its scale; None where it is not defined."""

    kind: str
    value: float | None


@dataclass(frozen=True)
class Duel:
    """On how many items each arm did better."""

    wins: int
    losses: int
    ties: int


def duel(a: FloatArray, b: FloatArray, higher_is_better: bool = True) -> Duel:
    """Items on which a is better, worse, equal; values [N] each."""
    signs = np.sign(a - b) if higher_is_better else np.sign(b - a)
    return Duel(int((signs > 0).sum()), int((signs < 0).sum()), int((signs == 0).sum()))


def standardised_difference(a: FloatArray, b: FloatArray) -> float | None:
    """Mean of the differences over their standard deviation; None without two items or without spread."""
    differences = a - b
    spread = float(differences.std(ddof=1)) if len(differences) > 1 else 0.0
    return float(differences.mean()) / spread if spread > 0 else None


def discordant_odds(a: FloatArray, b: FloatArray) -> float | None:
    """Odds that a rather than b is the one that is right, where exactly one is; None where they never differ."""
    found = duel(a, b)
    return (found.wins + 0.5) / (found.losses + 0.5) if found.wins + found.losses else None


def cliffs_delta(a: FloatArray, b: FloatArray) -> float | None:
    """P(a > b) - P(a < b) for values drawn from each arm, -1..1; for scores that are only ordered."""
    return float(np.sign(a[:, None] - b[None, :]).mean()) if len(a) and len(b) else None


def score_effect(a: FloatArray, b: FloatArray) -> Effect:
    """Odds for yes/no values, Cliff's delta for a few levels, else the standardised difference."""
    levels = set(np.concatenate([a, b]).tolist())
    if levels <= {0.0, 1.0}:
        return Effect("odds ratio", discordant_odds(a, b))
    if len(levels) <= ORDINAL_LEVELS:
        return Effect("Cliff's delta", cliffs_delta(a, b))
    return Effect("standardised difference", standardised_difference(a, b))


def ratio(a: float | None, b: float | None) -> Effect:
    """a over b, for measures such as perplexity whose differences mean little without their level."""
    return Effect("ratio", a / b if a is not None and b else None)


def terciles(values: Sequence[float]) -> tuple[float, float]:
    """The two cuts that split values in three parts of about equal size."""
    low, high = np.quantile(np.asarray(values, dtype=np.float64), [1 / 3, 2 / 3])
    return float(low), float(high)
