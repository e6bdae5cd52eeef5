"""The numbers of a routing strategy and their intervals: each statistic of summed features is the plain one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from judges.reliability import reliability
from router.metrics import auroc, calibration_error, gap_features, intervals, measured, rank_features, top

NAMES = ("toy/a", "toy/b", "general")


def requests(num: int, seed: int = 0) -> tuple[list[Mapping[str, float]], list[str]]:
    """Scores that are right more often than not, in steps that make ties."""
    random = np.random.default_rng(seed)
    labels = [NAMES[i % 3] for i in range(num)]
    rows = random.dirichlet([1, 1, 1], num).round(1) + 0.01
    for row, label in zip(rows, labels, strict=True):
        row[NAMES.index(label)] += 0.3
    return [dict(zip(NAMES, (row / row.sum()).tolist(), strict=True)) for row in rows], labels


def test_auroc_of_summed_features_is_the_usual_one_with_ties():
    scored, labels = requests(90)
    outside = [label == "general" for label in labels]
    expected = roc_auc_score(outside, [scores["general"] for scores in scored])
    assert auroc(rank_features(scored, outside).sum(0)) == pytest.approx(expected)
    assert auroc(rank_features(scored, [False] * 90).sum(0)) == 0.5


def test_the_calibration_error_of_summed_features_is_that_of_the_bins():
    scored, labels = requests(90)
    right = [top(scores) == label for scores, label in zip(scored, labels, strict=True)]
    expected = reliability([max(scores.values()) for scores in scored], right)["error"]
    assert calibration_error(gap_features(scored, labels).sum(0)) == pytest.approx(expected)


def test_intervals_hold_the_numbers_and_shrink_with_n():
    """The error of calibration is a sum of absolute values: resamples only add to it, so only its low end is near."""
    widths = []
    for num in (60, 600):
        scored, labels = requests(num)
        numbers, found = measured(scored, labels, 0.4), intervals(scored, labels, 0.4)
        assert found.keys() == {"accuracy", "macro_f1", "auroc_out_of_scope", "ece"}
        for metric in ("accuracy", "macro_f1", "auroc_out_of_scope"):
            assert found[metric]["low"] < numbers[metric] < found[metric]["high"]
        assert found["ece"]["low"] < found["ece"]["high"]
        assert {each["n"] for each in found.values()} == {num}
        widths.append({metric: each["high"] - each["low"] for metric, each in found.items()})
    assert all(widths[1][metric] < widths[0][metric] / 2 for metric in widths[0])


def test_wilson_by_hand():
    """8 of 10: (0.8 + 1.92 / 10 -+ 1.96 sqrt(0.016 + 0.0096)) / 1.384 = 0.490 and 0.943."""
    scored = [{"toy/a": 0.9, "general": 0.1}] * 10
    found = intervals(scored, ["toy/a"] * 8 + ["general"] * 2, 0.0)["accuracy"]
    assert (found["low"], found["high"]) == (pytest.approx(0.490, abs=1e-3), pytest.approx(0.943, abs=1e-3))


def test_too_little_for_an_interval():
    assert intervals([], [], 0.0)["macro_f1"] == {"low": None, "high": None, "n": 0}
    scored, _ = requests(3)
    assert intervals(scored, ["toy/a"] * 3, 0.0)["auroc_out_of_scope"]["low"] is None
