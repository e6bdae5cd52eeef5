"""Cohen's kappa (1960) between two raters who chose 'a', 'b' or 'tie' for the same pairs, with a bootstrap interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from judges.stats import FloatArray, bootstrap_interval

CHOICES = ("a", "b", "tie")


@dataclass(frozen=True)
class Kappa:
    """Agreement beyond chance over n pairs with a 95% interval over pairs; None without pairs."""

    value: float | None
    low: float | None
    high: float | None
    n: int

    def as_dict(self) -> dict[str, Any]:
        """The form in JSON."""
        return asdict(self)


def cohen_kappa(first: Sequence[str], second: Sequence[str]) -> Kappa:
    """Kappa of two raters' choices on the same pairs, in order."""
    cells = np.array([one_hot(a, b) for a, b in zip(first, second, strict=True)], dtype=np.float64)
    if not len(cells):
        return Kappa(None, None, None, 0)
    interval = bootstrap_interval(cells, kappa)
    return Kappa(float(kappa(cells.sum(0))), interval.low, interval.high, len(cells))


def one_hot(first: str, second: str) -> list[float]:
    """The cell of the 3 by 3 table that a pair of choices falls into, as 9 counts."""
    place = CHOICES.index(first) * len(CHOICES) + CHOICES.index(second)
    return [float(cell == place) for cell in range(len(CHOICES) ** 2)]


def kappa(sums: FloatArray) -> FloatArray:
    """(observed - expected) / (1 - expected) from counts [..., 9] -> [...].

    Where chance alone agrees always (one choice for everything), it is undefined and taken as 0: no evidence.
    """
    table = sums.reshape(*sums.shape[:-1], len(CHOICES), len(CHOICES))
    total = table.sum((-2, -1))
    observed = np.trace(table, axis1=-2, axis2=-1) / total
    expected = (table.sum(-1) * table.sum(-2)).sum(-1) / total**2
    room = 1 - expected
    return np.asarray(np.where(room > 1e-12, (observed - expected) / np.where(room > 1e-12, room, 1.0), 0.0))
