"""Win rates from verdicts on pairs: counted by hand, intervals as in statsmodels, planted preferences for length."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from judges.failures import failures
from judges.length_control import sigmoid
from judges.metrics import Row, metric_info, metrics
from judges.report import Report
from judges.win_rates import pair_records

METRIC = "llm_judge_pairwise.instruct"


def rows(values: list[float | None], flipped: tuple[int, ...] = ()) -> list[Row]:
    """Verdicts on the answers to q0, q1, ...; the order changed those on `flipped`."""
    return [
        Row("conversation", METRIC, f"q{i}", value, {"flipped": i in flipped, "why": "w"})
        for i, value in enumerate(values)
    ]


def test_shares_are_counted_and_their_intervals_wilson_s():
    """4 wins, 2 ties (one by a flip), 1 loss, 1 unscored: 5 of 7 won, 1 of 7 flipped."""
    [found] = pair_records(rows([1, 1, 0.5, 1, 0, 1, 0.5, None], flipped=(2,)), {}, {})
    assert (found.arm_a, found.arm_b, found.n, found.unscored) == ("conversation", "instruct", 7, 1)
    assert (found.wins, found.ties, found.losses) == (4, 2, 1)
    assert (found.win_rate, found.flip_rate) == (pytest.approx(5 / 7), pytest.approx(1 / 7))
    assert (found.low, found.high) == pytest.approx(proportion_confint(5, 7, method="wilson"))
    assert (found.flip_low, found.flip_high) == pytest.approx(proportion_confint(1, 7, method="wilson"))
    assert (found.controlled, found.trusted) == (None, True)


def test_a_conversation_is_one_trial():
    """8 items of 4 conversations: 6 of 8 won is 3 of 4 for the interval."""
    clusters = {f"q{i}": f"c{i // 2}" for i in range(8)}
    [found] = pair_records(rows([1, 1, 1, 1, 1, 1, 0, 0]), {}, clusters)
    assert (found.low, found.high) == pytest.approx(proportion_confint(3, 4, method="wilson"))


def test_a_judge_that_follows_the_order_finds_nothing():
    """Every verdict flips, so that every pair is a tie: half won, and no certainty that it is a half."""
    [found] = pair_records(rows([0.5] * 20, tuple(range(20))), {}, {})
    assert (found.win_rate, found.flip_rate, found.ties) == (0.5, 1.0, 20)
    assert found.low < 0.5 < found.high


@pytest.mark.parametrize(("quality", "is_better"), [(0.0, False), (2.0, True)])
def test_length_is_taken_away(quality: float, is_better: bool):
    """A judge that likes 40 words more; only an arm that is better wins at equal length too."""
    random = np.random.default_rng(5)
    more = random.normal(40, 30, 600).astype(int)
    won = random.random(600) < sigmoid(quality + 1.5 * np.tanh(more / more.std()))
    lengths = {
        "conversation": {f"q{i}": 100 + int(words) for i, words in enumerate(more)},
        "instruct": {f"q{i}": 100 for i in range(600)},
    }
    [found] = pair_records(rows(won.astype(float).tolist()), lengths, {})
    assert found.win_rate > 0.7
    assert (found.controlled_low > 0.5) == is_better
    assert found.controlled_high > 0.5
    assert found.length_effect > 0.8


@pytest.mark.parametrize(("untrusted", "trusted"), [("llm_judge", False), ("llm_judge_pairwise", False), ("x", True)])
def test_a_judge_that_is_not_trusted_decides_nothing(untrusted: str, trusted: bool):
    [found] = pair_records(rows([1, 0]), {}, {}, (untrusted,))
    assert found.trusted is trusted


def test_the_report_has_them_beside_its_other_rows(tmp_path):
    report = Report("d", "D", {"conversation": "c", "instruct": "i"}, rows([1, 0.5, 0]))
    assert report.comparisons == []
    assert report.as_dict()["pairs"] == [found.as_dict() for found in report.pairs]
    assert report.pairs[0].win_rate == 0.5


def test_an_unscored_pair_is_a_failed_row():
    found = failures(rows([1, None]))
    assert (found.num_failed, found.worst_metric, found.reasons) == (1, METRIC, {"w": 1})


def test_the_metric_is_a_share_that_says_over_whom():
    assert "over instruct" in metric_info(METRIC).title
    [found] = metrics(rows([1, 1, 0.5, 0]))
    assert found.value == 0.625
