"""A judge against people's blind choices: the same calibration as on the probes, and kappa with its interval."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from judges.agreement import Kappa, cohen_kappa
from judges.calibration import Calibration, Choice, Flips, Outcome, count_flips, pointwise_outcomes, summary
from judges.labels import Between, Label, LabelPair, between_people
from judges.pairwise import Pair, PairwiseJudge
from judges.probes import Probe
from judges.verdict import Judge

SIDES = {"better": "a", "worse": "b", "tie": "tie"}


@dataclass(frozen=True)
class AgainstPeople:
    """`calibration` on the pairs with a preferred answer; `kappa` on all pairs; kappa of every two people."""

    calibration: Calibration
    kappa: Kappa
    people: tuple[Between, ...]
    num_labels: int

    def as_dict(self) -> dict[str, Any]:
        """The calibration's fields with `kappa`, `people` and `num_labels`."""
        people = [{"first": b.first, "second": b.second, **b.kappa.as_dict()} for b in self.people]
        more = {"kappa": self.kappa.as_dict(), "people": people, "num_labels": self.num_labels}
        return self.calibration.as_dict() | more


def against_people(
    name: str, judge: Judge, labels: Sequence[Label], pairwise: PairwiseJudge | None = None
) -> AgainstPeople:
    """Compare a judge, by its values or (with `pairwise`) by its comparisons, with the majority of the labellers."""
    chosen = consensus(labels)
    pairs = list({label.id: label.pair for label in labels}.values())
    if pairwise:
        verdicts = pairwise([Pair(p.question, p.a, p.b, p.reference) for p in pairs])
        sides: list[str | None] = [verdict.winner for verdict in verdicts]
        flips = count_flips(verdicts)
    else:
        found = pointwise_outcomes(name, judge, [as_probe(pair) for pair in pairs])
        sides, flips = [SIDES[o.choice] if o.choice else None for o in found], Flips()
    outcomes = [
        outcome(pair, side, chosen[pair.id])
        for pair, side in zip(pairs, sides, strict=True)
        if chosen[pair.id] != "tie"
    ]
    scored = [(side, chosen[pair.id]) for pair, side in zip(pairs, sides, strict=True) if side is not None]
    kappa = cohen_kappa([side for side, _ in scored], [choice for _, choice in scored])
    return AgainstPeople(summary(name, outcomes, flips), kappa, tuple(between_people(labels)), len(labels))


def consensus(labels: Sequence[Label]) -> dict[str, str]:
    """What most labellers chose for each pair; 'tie' where no choice has more than half."""
    found = {}
    for item in dict.fromkeys(label.id for label in labels):
        counts = Counter(label.choice for label in labels if label.id == item)
        choice, count = counts.most_common(1)[0]
        found[item] = choice if 2 * count > counts.total() else "tie"
    return found


def as_probe(pair: LabelPair) -> Probe:
    """The pair with a in the place of the better answer, whichever it is."""
    return Probe(pair.id, "", "labelled", (), pair.question, pair.a, pair.b, pair.reference)


def outcome(pair: LabelPair, side: str | None, preferred: str) -> Outcome:
    """What the judge chose, in terms of what people prefer."""
    better, worse = (pair.a, pair.b) if preferred == "a" else (pair.b, pair.a)
    choice: Choice | None = None
    if side is not None:
        choice = "tie" if side == "tie" else "better" if side == preferred else "worse"
    return Outcome(len(better) > len(worse), choice)
