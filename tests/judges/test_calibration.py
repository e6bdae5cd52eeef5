"""Calibration: planted good and bad judges, and numbers derived by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from scipy.stats import binomtest

from judges.calibration import (
    Calibration,
    Flips,
    Outcome,
    better_than_longer_wins,
    calibrate,
    calibrate_pairwise,
    length_bias,
    pointwise_outcomes,
    sign_test,
    summary,
)
from judges.pairwise import Pair, PairVerdict
from judges.probes import load_probes, probes_for, subset
from judges.verdict import Answered, Verdict

PROBES = load_probes()
BETTER = {probe.better for probe in PROBES}
KEYS = {
    "judge",
    "agreement",
    "low",
    "high",
    "n",
    "position_flip_rate",
    "length_bias",
    "longer_wins",
    "trusted",
    "reason",
    *("position_flip_low", "position_flip_high", "length_bias_low", "length_bias_high"),
}


@dataclass(frozen=True)
class Planted:
    """A judge of one formula."""

    value: Callable[[Answered], float | None]

    @classmethod
    def for_domain(cls, domain: Any) -> Planted:
        raise NotImplementedError

    def __call__(self, rows: Sequence[Answered]) -> list[Verdict]:
        return [Verdict(self.value(row), "planted") for row in rows]


def knows(row: Answered) -> float:
    return float(row.answer in BETTER)


def test_the_shape_is_that_of_the_report():
    found = calibrate("x", Planted(knows), PROBES).as_dict()
    assert found.keys() == KEYS


def test_a_judge_that_knows_is_trusted():
    """All of 101 right; Wilson: 1 / (1 + 1.96^2 / 101) = 0.9634."""
    found = calibrate("x", Planted(knows), PROBES)
    assert (found.agreement, found.n, found.trusted) == (1.0, len(PROBES), True)
    assert found.low == pytest.approx(1 / (1 + 1.959964**2 / len(PROBES)))
    assert found.length_bias == 0.0
    assert found.position_flip_rate is None


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (lambda row: float(len(row.answer)), "chance"),
        (lambda row: -float(len(row.answer)), "chance"),
        (lambda row: 3.0, "chance"),
        (lambda row: float(sum(row.answer.encode()) % 97), "chance"),
        (lambda row: float(row.answer.count("*")), "chance"),
        (lambda row: -knows(row), "chance"),
        (lambda row: None, "could be scored"),
    ],
    ids=["longer", "shorter", "constant", "random", "markdown", "contrary", "unscored"],
)
@pytest.mark.parametrize("limit", [12, 40, 0])
def test_judges_that_do_not_read_are_not_trusted(rule: Any, words: str, limit: int):
    found = calibrate("x", Planted(rule), subset(PROBES, limit))
    assert not found.trusted
    assert words in found.reason


def test_swapped_arguments_lose_trust():
    """A judge that is given the question as the answer sees nothing of the answers: all ties."""
    swapped = Planted(lambda row: knows(Answered(row.answer, row.question)))
    found = calibrate("x", swapped, PROBES)
    assert (found.agreement, found.trusted) == (0.0, False)
    assert f"({len(PROBES)} ties)" in found.reason


def test_direction_is_that_of_the_metric():
    """Readability is a grade: lower is better."""
    probes = probes_for(["readability"])
    low_grade_is_better = Planted(lambda row: 5.0 if row.answer in BETTER else 12.0)
    assert calibrate("readability", low_grade_is_better, probes).agreement == 1.0
    assert calibrate("empathy", low_grade_is_better, probes).agreement == 0.0


def outcomes(longer_right: int, longer_wrong: int, shorter_right: int, shorter_wrong: int) -> list[Outcome]:
    """Probes on which the longer answer is better (judged right, wrong), then those on which it is worse."""
    longer = [Outcome(True, "better")] * longer_right + [Outcome(True, "worse")] * longer_wrong
    return longer + [Outcome(False, "better")] * shorter_right + [Outcome(False, "worse")] * shorter_wrong


def test_better_than_chance_but_not_than_the_longer_answer():
    """30 of 40 with the rule right on 26: alone right are 6 for the judge and 2 for the rule; P(X >= 6 of 8) =
    (28 + 8 + 1) / 256 = 0.145."""
    planted = outcomes(24, 2, 6, 8)
    assert better_than_longer_wins(planted) == pytest.approx(37 / 256)
    found = summary("x", planted, Flips())
    assert found.low is not None
    assert found.low > 0.5
    assert not found.trusted
    assert "longer answer wins" in found.reason
    assert found.longer_wins == pytest.approx(26 / 40)


def test_length_bias_and_its_interval():
    """Newcombe 1998, table II, contrast 56/70 - 48/80: 0.2, interval 0.0524 to 0.3339 by method 10."""
    found = length_bias(outcomes(56, 14, 48, 32))
    assert found.value == pytest.approx(0.2)
    assert found.interval.low == pytest.approx(0.0524, abs=1e-4)
    assert found.interval.high == pytest.approx(0.3339, abs=1e-4)
    assert length_bias(outcomes(3, 1, 0, 0)).value is None


@pytest.mark.parametrize(("wins", "losses"), [(0, 0), (5, 0), (0, 5), (7, 3), (12, 11), (40, 20)])
def test_the_sign_test_is_the_exact_binomial(wins: int, losses: int):
    n = wins + losses
    expected = binomtest(wins, n, alternative="greater").pvalue if n else 1.0
    assert sign_test(wins, losses) == pytest.approx(expected)


def test_unscored_probes_are_left_out_and_too_many_end_trust():
    good = [Outcome(False, "better")] * 10
    assert summary("x", [*good, *[Outcome(True, None)] * 10], Flips()).trusted
    few = summary("x", [*good, *[Outcome(True, None)] * 11], Flips())
    assert (few.trusted, few.n) == (False, 10)
    assert "10 of 21" in few.reason


def test_no_probe_is_no_trust():
    found = summary("exact", [], Flips())
    assert found == Calibration(
        "exact", None, None, None, 0, None, None, None, False, "Not calibrated: no probe applies to this judge."
    )


def test_ties_are_no_agreement():
    assert pointwise_outcomes("x", Planted(lambda row: 1.0), PROBES[:1])[0].choice == "tie"


def pairwise(choose: Callable[[Pair], str]) -> Any:
    """A pairwise judge of one rule, whose verdicts flip when the rule says so."""
    return lambda pairs: [
        PairVerdict("tie", True, "") if choose(pair) == "flip" else PairVerdict(choose(pair), False, "")  # type: ignore
        for pair in pairs
    ]


def test_pairs_stand_in_both_orders():
    """A judge that always says 'a' is right on the probes whose better answer stands first: about half."""
    found = calibrate_pairwise("x", pairwise(lambda pair: "a"), PROBES)
    assert found.agreement is not None
    assert 0.35 < found.agreement < 0.65
    knowing = calibrate_pairwise("x", pairwise(lambda pair: "a" if pair.a in BETTER else "b"), PROBES)
    assert (knowing.agreement, knowing.position_flip_rate, knowing.trusted) == (1.0, 0.0, True)


def test_flips_are_counted_and_are_ties():
    found = calibrate_pairwise("x", pairwise(lambda pair: "flip"), PROBES)
    assert (found.agreement, found.position_flip_rate, found.trusted) == (0.0, 1.0, False)


def test_a_pointwise_judge_with_some_pairs():
    """4 pairs, the order decides each: the flip rate is 1, its interval 51 to 100 percent."""
    found = calibrate("x", Planted(knows), PROBES, pairwise(lambda pair: "flip"), 4)
    assert (found.position_flip_rate, found.agreement) == (1.0, 1.0)
    assert "changed 4 of 4 comparisons (95% CI 51 to 100)" in found.reason
