"""Whether a judge can be believed: its agreement with known better and worse answers, before it judges anything else.

Trusted is a judge that is better than chance (Wilson interval above 0.5) and than the rule 'the longer answer wins'
(exact one-sided sign test on the probes where the two differ: McNemar 1947, Dixon and Mood 1946). A tie is no
agreement. Interval of the length bias: Newcombe 1998, method 10.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from math import comb, sqrt
from typing import Any, Literal

from judges.metrics import metric_info
from judges.pairwise import Pair, PairVerdict, PairwiseJudge
from judges.probes import Probe
from judges.stats import Interval, wilson_interval
from judges.verdict import Answered, Judge

Choice = Literal["better", "worse", "tie"]

CHANCE = 0.5
SIGNIFICANCE = 0.05
MIN_SCORED_SHARE = 0.5


@dataclass(frozen=True)
class Calibration:
    """What the probes say of a judge, in the shape of report.json's `judges`.

    `agreement` over the `n` scored probes with its interval; `position_flip_rate` (None: not measured) is the share of
    pairs on which the order of the answers changed the verdict; `length_bias` is the agreement where the longer answer
    is better minus that where it is worse; `longer_wins` is what that rule alone would reach. Both come with their 95%
    intervals (`..._low`, `..._high`).
    """

    judge: str
    agreement: float | None
    low: float | None
    high: float | None
    n: int
    position_flip_rate: float | None
    length_bias: float | None
    longer_wins: float | None
    trusted: bool
    reason: str
    position_flip_low: float | None = None
    position_flip_high: float | None = None
    length_bias_low: float | None = None
    length_bias_high: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """The form in report.json."""
        return asdict(self)


@dataclass(frozen=True)
class Outcome:
    """One probe and what the judge chose; None = unscored."""

    longer_is_better: bool
    choice: Choice | None

    @property
    def right(self) -> bool:
        """The judge chose the better answer."""
        return self.choice == "better"


@dataclass(frozen=True)
class Flips:
    """How many of the pairs asked in both orders changed their verdict with the order."""

    flipped: int = 0
    n: int = 0

    @property
    def rate(self) -> float | None:
        """The share; None without pairs."""
        return self.flipped / self.n if self.n else None


@dataclass(frozen=True)
class LengthBias:
    """Agreement where the longer answer is better, minus that where it is worse, with a 95% interval."""

    value: float | None = None
    interval: Interval = field(default_factory=Interval)


def calibrate(
    name: str, judge: Judge, probes: Sequence[Probe], pairwise: PairwiseJudge | None = None, num_pairs: int = 0
) -> Calibration:
    """Run a judge on probes; where a pairwise form is given, also on the first `num_pairs` (0 = all) in both orders."""
    flips = flips_of(pairwise, probes[: num_pairs or len(probes)]) if pairwise else Flips()
    return summary(name, pointwise_outcomes(name, judge, probes), flips)


def calibrate_pairwise(name: str, judge: PairwiseJudge, probes: Sequence[Probe]) -> Calibration:
    """Run a pairwise judge on probes."""
    verdicts = compared(judge, probes)
    return summary(name, pair_outcomes(probes, verdicts), count_flips(verdicts))


def pair_outcomes(probes: Sequence[Probe], verdicts: Sequence[PairVerdict]) -> list[Outcome]:
    """What a pairwise judge prefers."""
    return [
        Outcome(p.longer_is_better, pair_choice(v, better="a" if better_first(p) else "b"))
        for p, v in zip(probes, verdicts, strict=True)
    ]


def pointwise_outcomes(name: str, judge: Judge, probes: Sequence[Probe]) -> list[Outcome]:
    """What a judge of single answers prefers, by its values and its metric's direction."""
    rows = [Answered(p.question, text, p.reference, finished=True) for p in probes for text in (p.better, p.worse)]
    values = [verdict.value for verdict in judge(rows)]
    sign = 1 if metric_info(name).higher_is_better else -1
    pairs = zip(probes, values[::2], values[1::2], strict=True)
    return [Outcome(p.longer_is_better, preferred(better, worse, sign)) for p, better, worse in pairs]


def preferred(better: float | None, worse: float | None, sign: int) -> Choice | None:
    """Which of two values wins."""
    if better is None or worse is None:
        return None
    if better == worse:
        return "tie"
    return "better" if (better - worse) * sign > 0 else "worse"


def better_first(probe: Probe) -> bool:
    """Whether the better answer stands first in the pair: in about half of the probes."""
    return sum(probe.id.encode()) % 2 == 0


def compared(judge: PairwiseJudge, probes: Sequence[Probe]) -> list[PairVerdict]:
    """The verdicts on pairs."""
    answers = [(p.better, p.worse) if better_first(p) else (p.worse, p.better) for p in probes]
    return judge([Pair(p.question, a, b, p.reference) for p, (a, b) in zip(probes, answers, strict=True)])


def pair_choice(verdict: PairVerdict, better: str) -> Choice | None:
    """The choice of a pairwise verdict."""
    if verdict.winner is None or verdict.winner == "tie":
        return verdict.winner
    return "better" if verdict.winner == better else "worse"


def flips_of(judge: PairwiseJudge, probes: Sequence[Probe]) -> Flips:
    """Position flips on probes."""
    return count_flips(compared(judge, probes))


def count_flips(verdicts: Sequence[PairVerdict]) -> Flips:
    """Position flips among the scored pairs."""
    scored = [verdict for verdict in verdicts if verdict.winner is not None]
    return Flips(sum(verdict.flipped for verdict in scored), len(scored))


def summary(name: str, outcomes: Sequence[Outcome], flips: Flips) -> Calibration:
    """The numbers and the decision."""
    scored = [outcome for outcome in outcomes if outcome.choice is not None]
    n, right = len(scored), sum(outcome.right for outcome in scored)
    interval = wilson_interval(right, n)
    rule = sum(outcome.longer_is_better for outcome in scored)
    problem = distrust(outcomes, scored)
    bias, flipped = length_bias(scored), wilson_interval(flips.flipped, flips.n)
    return Calibration(
        judge=name,
        agreement=right / n if n else None,
        low=interval.low,
        high=interval.high,
        n=n,
        position_flip_rate=flips.rate,
        length_bias=bias.value,
        longer_wins=rule / n if n else None,
        trusted=not problem,
        reason=" ".join([problem or "Better than chance and than 'the longer answer wins'.", *facts(scored, flips)]),
        position_flip_low=flipped.low,
        position_flip_high=flipped.high,
        length_bias_low=bias.interval.low,
        length_bias_high=bias.interval.high,
    )


def distrust(outcomes: Sequence[Outcome], scored: Sequence[Outcome]) -> str:
    """Why a judge is not trusted; empty when it is."""
    if not outcomes:
        return "Not calibrated: no probe applies to this judge."
    if len(scored) < MIN_SCORED_SHARE * len(outcomes):
        return f"Only {len(scored)} of {len(outcomes)} probes could be scored."
    low = wilson_interval(sum(outcome.right for outcome in scored), len(scored)).low
    if low is None or low <= CHANCE:
        return "Not better than chance: the interval of its agreement reaches 50%."
    if better_than_longer_wins(scored) >= SIGNIFICANCE:
        return "Not better than the rule 'the longer answer wins'."
    return ""


def better_than_longer_wins(scored: Sequence[Outcome]) -> float:
    """One-sided exact p of 'the rule is as good', from the probes on which only one of the two is right."""
    judge_only = sum(outcome.right and not outcome.longer_is_better for outcome in scored)
    rule_only = sum(outcome.longer_is_better and not outcome.right for outcome in scored)
    return sign_test(judge_only, rule_only)


def sign_test(wins: int, losses: int) -> float:
    """P(at least `wins` of wins + losses fair coins); 1 without any."""
    n = wins + losses
    return float(sum(comb(n, k) for k in range(wins, n + 1)) / 2**n)


def length_bias(scored: Sequence[Outcome]) -> LengthBias:
    """How much better a judge is where the longer answer is the better one; none when one kind is missing."""
    longer = [outcome.right for outcome in scored if outcome.longer_is_better]
    shorter = [outcome.right for outcome in scored if not outcome.longer_is_better]
    if not longer or not shorter:
        return LengthBias()
    first, second = sum(longer) / len(longer), sum(shorter) / len(shorter)
    a, b = wilson_interval(sum(longer), len(longer)), wilson_interval(sum(shorter), len(shorter))
    if a.low is None or a.high is None or b.low is None or b.high is None:
        return LengthBias(first - second)
    down = sqrt((first - a.low) ** 2 + (b.high - second) ** 2)
    up = sqrt((a.high - first) ** 2 + (second - b.low) ** 2)
    return LengthBias(first - second, Interval(first - second - down, first - second + up))


def facts(scored: Sequence[Outcome], flips: Flips) -> list[str]:
    """The counts and intervals behind the decision, in sentences."""
    n, right = len(scored), sum(outcome.right for outcome in scored)
    if not n:
        return []
    ties, rule = sum(outcome.choice == "tie" for outcome in scored), sum(o.longer_is_better for o in scored)
    found = [f"Right on {right} of {n} probes{f' ({ties} ties)' if ties else ''}, the rule on {rule}."]
    bias = length_bias(scored)
    if bias.value is not None:
        found.append(f"Length bias {points(bias.value)}{between(bias.interval)}.")
    if flips.n:
        interval = wilson_interval(flips.flipped, flips.n)
        found.append(f"The order changed {flips.flipped} of {flips.n} comparisons{between(interval)}.")
    return found


def points(value: float) -> str:
    """A signed difference of shares in percentage points."""
    return f"{100 * value:+.0f} points".replace("-", "\u2212")


def between(interval: Interval) -> str:
    """An interval of shares in brackets; empty when there is none."""
    if interval.low is None or interval.high is None:
        return ""
    return f" (95% CI {100 * interval.low:.0f} to {100 * interval.high:.0f})".replace("-", "\u2212")
