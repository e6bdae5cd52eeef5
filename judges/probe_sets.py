"""The calibration of a judge on its probes: the shipped ones, those of the domain, and those that its head has seen.

What a head was trained on is measured and proves nothing: trust rests on the unseen probes alone. A judge that gets the
domain's own probes wrong more often than not is not trusted there, however well it does on the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from judges.calibration import (
    CHANCE,
    Calibration,
    Flips,
    Outcome,
    compared,
    count_flips,
    flips_of,
    pair_outcomes,
    pointwise_outcomes,
    summary,
)
from judges.heads.trained_on import seen
from judges.pairwise import PairwiseJudge
from judges.probes import Probe
from judges.scorers.llm_judge import Judge as LlmJudge
from judges.stats import wilson_interval
from judges.verdict import Judge


@dataclass(frozen=True)
class ProbeSet:
    """`shipped` and `own` (the domain's) are evidence; `seen` were part of the training data of the judge's head."""

    shipped: tuple[Probe, ...] = ()
    own: tuple[Probe, ...] = ()
    seen: tuple[Probe, ...] = ()

    @classmethod
    def of(cls, judge: str, shipped: Sequence[Probe], own: Sequence[Probe] = ()) -> ProbeSet:
        """Tell the probes apart that the judge's head was trained on."""
        new, old = parted(judge, shipped)
        new_own, old_own = parted(judge, own)
        return cls(new, new_own, (*old, *old_own))

    @property
    def unseen(self) -> tuple[Probe, ...]:
        """What trust rests on."""
        return (*self.shipped, *self.own)

    @property
    def all(self) -> tuple[Probe, ...]:
        """The unseen ones, then the seen ones."""
        return (*self.unseen, *self.seen)

    def first(self, count: int) -> ProbeSet:
        """So many of each."""
        return ProbeSet(self.shipped[:count], self.own[:count], self.seen[:count])


def parted(judge: str, probes: Sequence[Probe]) -> tuple[tuple[Probe, ...], tuple[Probe, ...]]:
    """The probes that are new to the judge's head, and those that it was trained on."""
    known = seen(judge, probes)
    new, old = (tuple(p for p, k in zip(probes, known, strict=True) if k == was_seen) for was_seen in (False, True))
    return new, old


@dataclass(frozen=True)
class Agreement:
    """The share of n scored probes on which a judge prefers the better answer, with its Wilson interval."""

    agreement: float | None
    low: float | None
    high: float | None
    n: int

    @classmethod
    def of(cls, outcomes: Sequence[Outcome]) -> Agreement:
        """Unscored probes are left out."""
        scored = [outcome.right for outcome in outcomes if outcome.choice is not None]
        interval = wilson_interval(sum(scored), len(scored))
        return cls(sum(scored) / len(scored) if scored else None, interval.low, interval.high, len(scored))

    def said(self) -> str:
        """In words."""
        return f"right on {round((self.agreement or 0) * self.n)} of {self.n}"


def calibrate_set(
    name: str,
    judge: Judge | PairwiseJudge,
    probes: ProbeSet,
    num_pairs: int = 0,
    watched: Callable[[Any], Any] = lambda judge: judge,
) -> dict[str, Any]:
    """Run a judge on its probes; a language model also on the first `num_pairs` (0: none) as pairs in both orders.
    `watched` is put around what is asked. Returns the calibration's fields, and `own` and `seen` where there are such
    probes."""
    if isinstance(judge, PairwiseJudge):
        verdicts = compared(watched(judge), probes.all)
        outcomes, flips = pair_outcomes(probes.all, verdicts), count_flips(verdicts[: len(probes.unseen)])
    else:
        outcomes, flips = pointwise_outcomes(name, watched(judge), probes.all), Flips()
        if num_pairs and isinstance(judge, LlmJudge):
            flips = flips_of(watched(PairwiseJudge(judge)), probes.unseen[:num_pairs])
    return record(name, probes, outcomes, flips)


def record(name: str, probes: ProbeSet, outcomes: Sequence[Outcome], flips: Flips) -> dict[str, Any]:
    """The calibration by the unseen probes, with what the others say beside it."""
    num_shipped, num_unseen = len(probes.shipped), len(probes.unseen)
    found = summary(name, outcomes[:num_unseen], flips)
    parts: dict[str, Any] = {}
    if probes.own:
        own = Agreement.of(outcomes[num_shipped:num_unseen])
        found, parts["own"] = with_own(found, own), asdict(own)
    if probes.seen:
        known = Agreement.of(outcomes[num_unseen:])
        said = f"No evidence, because its head was trained on them: {len(probes.seen)} probes, {known.said()}."
        found, parts["seen"] = replace(found, reason=f"{found.reason} {said}"), asdict(known)
    return found.as_dict() | parts


def with_own(found: Calibration, own: Agreement) -> Calibration:
    """The calibration, with the domain's own probes told apart."""
    said = f"On the domain's own probes {own.said()}."
    if found.trusted and own.high is not None and own.high < CHANCE:
        return replace(
            found, trusted=False, reason=f"Worse than chance on the domain's own probes. {found.reason} {said}"
        )
    return replace(found, reason=f"{found.reason} {said}")
