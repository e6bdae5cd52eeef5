"""Win rates from verdicts on pairs of answers (`judges/pairwise.py`): raw, at equal length; how often order decided.

A row belongs to the arm that is claimed to be better and has the metric `llm_judge_pairwise.OTHER_ARM`: 1 where it
wins, 0 where it loses, 1/2 for a tie.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from judges.comparisons import judge_of
from judges.length_control import WinRate, win_rate
from judges.metrics import PAIRWISE, Row
from judges.stats import Interval, wilson_interval


@dataclass(frozen=True)
class PairRecord:
    """arm_a over arm_b on the n scored pairs; a tie is half a win.

    `flip_rate`: the share on which the order of the answers changed the verdict, which made it a tie. `controlled`: the
    win rate at equal length (None below five pairs). The other intervals are Wilson's, with as many trials as there
    are conversations. `trusted`: False when the judge failed its calibration, so that this decides nothing.
    """

    arm_a: str
    arm_b: str
    n: int
    unscored: int
    wins: int
    ties: int
    losses: int
    win_rate: float | None
    low: float | None
    high: float | None
    flip_rate: float | None
    flip_low: float | None
    flip_high: float | None
    controlled: float | None
    controlled_low: float | None
    controlled_high: float | None
    length_effect: float | None
    trusted: bool

    def as_dict(self) -> dict[str, Any]:
        """The form in report.json."""
        return asdict(self)


@dataclass(frozen=True)
class Share:
    """A share of items with its interval; None without items."""

    value: float | None
    interval: Interval


def pair_records(
    rows: Iterable[Row],
    lengths: Mapping[str, Mapping[str, int]],
    clusters: Mapping[str, str],
    untrusted: Collection[str] = (),
) -> list[PairRecord]:
    """One record a pair of arms, in the order of the rows. `lengths`: arm -> item -> words of the answer; `clusters`:
    item -> its conversation, where it belongs to one."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.metric.startswith(f"{PAIRWISE}."):
            groups.setdefault((row.arm, row.metric), []).append(row)
    return [
        record(found, lengths, clusters, judge_of(metric, untrusted) is None) for (_, metric), found in groups.items()
    ]


def record(
    rows: Sequence[Row], lengths: Mapping[str, Mapping[str, int]], clusters: Mapping[str, str], trusted: bool
) -> PairRecord:
    """The record of the rows of one pair of arms."""
    arm_a, arm_b = rows[0].arm, rows[0].metric.removeprefix(f"{PAIRWISE}.")
    scored = [row for row in rows if row.value is not None]
    wins = {row.item: float(row.value) for row in scored if row.value is not None}
    units = {item: clusters.get(item, item) for item in wins}
    won = share(sum(wins.values()), units)
    flipped = share(sum(bool(row.parts.get("flipped")) for row in scored), units)
    equal = at_equal_length(wins, lengths.get(arm_a, {}), lengths.get(arm_b, {}), units)
    wins_ties_losses = [sum(value == each for value in wins.values()) for each in (1.0, 0.5, 0.0)]
    return PairRecord(
        arm_a=arm_a,
        arm_b=arm_b,
        n=len(scored),
        unscored=len(rows) - len(scored),
        wins=wins_ties_losses[0],
        ties=wins_ties_losses[1],
        losses=wins_ties_losses[2],
        win_rate=won.value,
        low=won.interval.low,
        high=won.interval.high,
        flip_rate=flipped.value,
        flip_low=flipped.interval.low,
        flip_high=flipped.interval.high,
        controlled=equal.controlled,
        controlled_low=equal.low,
        controlled_high=equal.high,
        length_effect=equal.length_effect,
        trusted=trusted,
    )


def share(total: float, units: Mapping[str, str]) -> Share:
    """A total over items as a share of them; items of one conversation count as one trial in the interval."""
    if not units:
        return Share(None, Interval())
    value, trials = total / len(units), len(set(units.values()))
    return Share(value, wilson_interval(value * trials, trials))


def at_equal_length(
    wins: Mapping[str, float], words_a: Mapping[str, int], words_b: Mapping[str, int], units: Mapping[str, str]
) -> WinRate:
    """The win rate on the items whose answers have a known length in both arms."""
    items = [item for item in wins if item in words_a and item in words_b]
    difference = np.array([words_a[item] - words_b[item] for item in items], dtype=np.float64)
    values = np.array([wins[item] for item in items], dtype=np.float64)
    return win_rate(values, difference, [units[item] for item in items])
