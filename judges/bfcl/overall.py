"""Overall scores as the leaderboard computes them, by version, and never mixed: v3 (until July 2025) is the mean of
live, non-live and multi-turn, with (ir)relevance inside; v4 weighs non-live 10, live 10, irrelevance 10, multi-turn 30
and agentic 40 percent. Source: `eval_runner_helper.py` of bfcl-eval for v4; the changelog of the repository for v3.

A category that was not run counts as 0, as in the package; the agentic ones are not run here, so v4 ends at 60.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import hypot

from judges.bfcl.rows import AST, IRRELEVANCE, LIVE, MULTI_TURN, RELEVANCE
from judges.stats import Interval, wilson_interval

Shares = Mapping[str, float]
Formula = Callable[[Shares, Mapping[str, int]], float]


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


def mean(shares: Shares, names: Sequence[str]) -> float:
    """The unweighted mean of categories; one that was not run counts as 0."""
    return sum(shares.get(name, 0.0) for name in names) / len(names)


def weighted(shares: Shares, sizes: Mapping[str, int], names: Sequence[str]) -> float:
    """The mean of categories weighted by their sizes."""
    total = sum(sizes.get(name, 0) for name in names)
    return sum(shares.get(name, 0.0) * sizes.get(name, 0) for name in names) / total if total else 0.0


def simple(shares: Shares) -> float:
    """The mean of the three languages."""
    return mean(shares, ("simple_python", "simple_java", "simple_javascript"))


def non_live(shares: Shares, with_irrelevance: bool) -> float:
    """The mean of the kinds of the non-live rows."""
    kinds = ["multiple", "parallel", "parallel_multiple", *(["irrelevance"] if with_irrelevance else [])]
    return (simple(shares) + mean(shares, kinds) * len(kinds)) / (1 + len(kinds))


def multi_turn(shares: Shares) -> float:
    """The mean of the multi-turn categories."""
    return mean(shares, MULTI_TURN)


def overall_v3(shares: Shares, sizes: Mapping[str, int]) -> float:
    """(live + non-live + multi-turn) / 3; (ir)relevance is part of the first two."""
    live = weighted(shares, sizes, [*LIVE, IRRELEVANCE[1], *RELEVANCE])
    return (live + non_live(shares, True) + multi_turn(shares)) / 3


def overall_v4(shares: Shares, sizes: Mapping[str, int]) -> float:
    """0.1 non-live + 0.1 live + 0.1 irrelevance + 0.3 multi-turn + 0.4 agentic, the last of which is 0 here."""
    live = weighted(shares, sizes, LIVE)
    return 0.1 * non_live(shares, False) + 0.1 * live + 0.1 * mean(shares, IRRELEVANCE) + 0.3 * multi_turn(shares)


def calling(shares: Shares, sizes: Mapping[str, int]) -> float:
    """Accuracy of the rows that need a call: the mean of the single-turn categories."""
    return mean(shares, [name for name in AST if name in shares]) if any(name in shares for name in AST) else 0.0


def not_calling(shares: Shares, sizes: Mapping[str, int]) -> float:
    """Share of the irrelevant requests that are left alone."""
    return mean(shares, IRRELEVANCE)


FORMULAS: dict[str, Formula] = {
    "overall_v3": overall_v3,
    "overall_v4_without_agentic": overall_v4,
    "call_accuracy": calling,
    "irrelevance_accuracy": not_calling,
}


def summary(counts: Mapping[str, Count]) -> dict[str, dict[str, float]]:
    """Each formula with its interval and its null floor: what a model gets that never calls anything."""
    sizes = {name: count.size for name, count in counts.items()}
    shares = {name: count.share for name, count in counts.items()}
    never = floor(counts)
    found = {}
    for name, formula in FORMULAS.items():
        found[name] = {
            "value": round(formula(shares, sizes), 4),
            **ends(formula, counts),
            "never_calling": round(formula(never, sizes), 4),
        }
    return found


def ends(formula: Formula, counts: Mapping[str, Count]) -> dict[str, float]:
    """The 95% interval of a formula, which is linear: the distances from the accuracies to the ends of their Wilson
    intervals, weighted, are added as squares, so the interval always holds the value. Method:
    https://doi.org/10.1002/sim.3095 (Zou and Donner 2008)"""
    sizes = {name: count.size for name, count in counts.items()}
    value = formula({name: count.share for name, count in counts.items()}, sizes)
    below, above = [], []
    for name, count in counts.items():
        weight, wilson = formula(dict.fromkeys(counts, 0.0) | {name: 1.0}, sizes), interval(count)
        below.append(weight * (count.share - (wilson.low or 0.0)))
        above.append(weight * ((1.0 if wilson.high is None else wilson.high) - count.share))
    low, high = max(0.0, value - hypot(*below)), min(1.0, value + hypot(*above))
    return {"low": round(low, 4), "high": round(high, 4)}


def floor(counts: Mapping[str, Count]) -> dict[str, float]:
    """The accuracies of a model that never calls: all of the irrelevant rows, none of the others."""
    return {name: 1.0 if name in IRRELEVANCE else 0.0 for name in counts}


def interval(count: Count) -> Interval:
    """The interval of one category."""
    return wilson_interval(count.right, count.asked)
