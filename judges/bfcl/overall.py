"""Overall scores as the leaderboard computes them, by version, and never mixed: v3 (until July 2025) is the mean of
live, non-live and multi-turn, with (ir)relevance inside; v4 weighs non-live 10, live 10, irrelevance 10, multi-turn 30
and agentic 40 percent. Source: `eval_runner_helper.py` of bfcl-eval for v4; the changelog of the repository for v3.

A category that was not run counts as 0, as in the package; the agentic ones are not run here, so v4 ends at 60.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from judges.bfcl.rows import AST, IRRELEVANCE, LIVE, MULTI_TURN, RELEVANCE
from judges.stats import SEED, Interval, wilson_interval

NUM_RESAMPLES = 4_000
Shares = Mapping[str, NDArray[np.float64] | float]
Formula = Callable[[Shares, Mapping[str, int]], Any]


@dataclass(frozen=True)
class Count:
    """How many rows of a category were right, of how many asked and of how many that the category has."""

    right: int
    asked: int
    size: int

    @property
    def share(self) -> float:
        """The accuracy."""
        return self.right / self.asked


def mean(shares: Shares, names: Sequence[str]) -> Any:
    """The unweighted mean of categories; one that was not run counts as 0."""
    return sum(shares.get(name, 0.0) for name in names) / len(names)


def weighted(shares: Shares, sizes: Mapping[str, int], names: Sequence[str]) -> Any:
    """The mean of categories weighted by their sizes."""
    total = sum(sizes.get(name, 0) for name in names)
    return sum(shares.get(name, 0.0) * sizes.get(name, 0) for name in names) / total if total else 0.0


def simple(shares: Shares) -> Any:
    """The mean of the three languages."""
    return mean(shares, ("simple_python", "simple_java", "simple_javascript"))


def non_live(shares: Shares, with_irrelevance: bool) -> Any:
    """The mean of the kinds of the non-live rows."""
    kinds = ["multiple", "parallel", "parallel_multiple", *(["irrelevance"] if with_irrelevance else [])]
    return (simple(shares) + mean(shares, kinds) * len(kinds)) / (1 + len(kinds))


def multi_turn(shares: Shares) -> Any:
    """The mean of the multi-turn categories."""
    return mean(shares, MULTI_TURN)


def overall_v3(shares: Shares, sizes: Mapping[str, int]) -> Any:
    """(live + non-live + multi-turn) / 3; (ir)relevance is part of the first two."""
    live = weighted(shares, sizes, [*LIVE, IRRELEVANCE[1], *RELEVANCE])
    return (live + non_live(shares, True) + multi_turn(shares)) / 3


def overall_v4(shares: Shares, sizes: Mapping[str, int]) -> Any:
    """0.1 non-live + 0.1 live + 0.1 irrelevance + 0.3 multi-turn + 0.4 agentic, the last of which is 0 here."""
    live = weighted(shares, sizes, LIVE)
    return 0.1 * non_live(shares, False) + 0.1 * live + 0.1 * mean(shares, IRRELEVANCE) + 0.3 * multi_turn(shares)


def calling(shares: Shares, sizes: Mapping[str, int]) -> Any:
    """Accuracy of the rows that need a call: the mean of the single-turn categories."""
    return mean(shares, [name for name in AST if name in shares]) if any(name in shares for name in AST) else 0.0


def not_calling(shares: Shares, sizes: Mapping[str, int]) -> Any:
    """Share of the irrelevant requests that are left alone."""
    return mean(shares, IRRELEVANCE)


FORMULAS: dict[str, Formula] = {
    "overall_v3": overall_v3,
    "overall_v4_without_agentic": overall_v4,
    "call_accuracy": calling,
    "irrelevance_accuracy": not_calling,
}


def summary(counts: Mapping[str, Count]) -> dict[str, dict[str, float]]:
    """Each formula with its interval (stratified parametric bootstrap: in each category the number of right rows is
    drawn again) and its null floor: what a model gets that never calls anything."""
    sizes = {name: count.size for name, count in counts.items()}
    shares = {name: count.share for name, count in counts.items()}
    drawn = resampled(counts)
    never = floor(counts)
    found = {}
    for name, formula in FORMULAS.items():
        low, high = np.percentile(np.atleast_1d(formula(drawn, sizes)), [2.5, 97.5])
        found[name] = {
            "value": round(float(formula(shares, sizes)), 4),
            "low": round(float(low), 4),
            "high": round(float(high), 4),
            "never_calling": round(float(formula(never, sizes)), 4),
        }
    return found


def resampled(counts: Mapping[str, Count]) -> dict[str, NDArray[np.float64]]:
    """Accuracies by category, (R,) each; the chance of a right row is (right + 1/2) / (asked + 1), so that no category
    looks certain because it is small (Jeffreys)."""
    generator = np.random.default_rng(SEED)
    chance = {name: (count.right + 0.5) / (count.asked + 1) for name, count in counts.items()}
    return {
        name: generator.binomial(count.asked, chance[name], NUM_RESAMPLES) / count.asked
        for name, count in counts.items()
    }


def floor(counts: Mapping[str, Count]) -> dict[str, float]:
    """The accuracies of a model that never calls: all of the irrelevant rows, none of the others."""
    return {name: 1.0 if name in IRRELEVANCE else 0.0 for name in counts}


def interval(count: Count) -> Interval:
    """The interval of one category."""
    return wilson_interval(count.right, count.asked)
