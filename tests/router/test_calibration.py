"""Temperature, threshold and the numbers of the routing table, against derived values and scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from domains.errors import UserError
from router.calibration import (
    TEMPERATURES,
    Abstention,
    Calibrated,
    coverage,
    fit_temperature,
    fit_threshold,
    rows_of,
    softmax,
    table,
    tempered,
)
from router.metrics import measured, median_ms, out_of_scope_auroc
from router.route import decide
from tests.fakes_router import Keywords


def test_a_temperature_by_hand():
    """Odds of 9:1 that are wrong 1 time in 4: the right odds are 3:1, and 9 to the power of 1/2 is 3."""
    rows = np.array([[0.9, 0.1]] * 400)
    found = fit_temperature(rows, [0] * 300 + [1] * 100)
    assert found == pytest.approx(2.0, rel=0.03)


def test_right_probabilities_keep_their_temperature():
    rows = np.array([[0.9, 0.1]] * 1000)
    assert fit_temperature(rows, [0] * 900 + [1] * 100) == pytest.approx(1.0, rel=0.03)


def test_a_few_rows_without_an_error_do_not_claim_certainty():
    """Three right rows: the targets are 1 - 1/5 = 0.8, which is the probability that they get."""
    rows = np.array([[0.6, 0.4]] * 3)
    assert tempered(rows, fit_temperature(rows, [0, 0, 0]))[0, 0] == pytest.approx(0.8, abs=0.02)


def test_no_rows_or_one_label_leave_the_temperature_alone():
    assert fit_temperature(np.zeros((0, 3)), []) == 1.0
    assert fit_temperature(np.ones((4, 1)), [0] * 4) == 1.0


@given(st.lists(st.floats(0.001, 1), min_size=2, max_size=6), st.sampled_from(TEMPERATURES))
def test_tempering_keeps_the_order(values, temperature):
    row = np.array([values]) / sum(values)
    found = tempered(row, temperature)
    assert found.sum() == pytest.approx(1.0)
    larger = row[0][:, None] >= row[0][None, :]
    assert (found[0][:, None] >= found[0][None, :] - 1e-12)[larger].all()


def test_softmax_of_large_numbers():
    assert softmax(np.array([[1000.0, 1000.0, -1000.0]]))[0] == pytest.approx([0.5, 0.5, 0.0])


def scored(*confidences):
    return [{"a": c, "general": 1 - c} for c in confidences]


CONFIDENCES = scored(0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55)


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        ("coverage", 0.9, 0.55),  # floor(9 x 0.1) = 0 may stay under it
        ("coverage", 0.7, 0.65),  # floor(9 x 0.3) = 2
        ("conformal", 0.9, 0.55),  # rank floor(10 x 0.1) = 1
        ("conformal", 0.7, 0.65),  # rank 3
        ("conformal", 0.95, 0.0),  # rank floor(10 x 0.05) = 0: nine rows cannot promise that
    ],
)
def test_thresholds_by_hand(method, target, expected):
    """Nine confidences from 0.55 to 0.95 in steps of 0.05; rows that no expert should get do not count."""
    outside = scored(0.51, 0.99)
    found = fit_threshold([*CONFIDENCES, *outside], ["a"] * 9 + ["general"] * 2, Abstention(method, target))
    assert found == pytest.approx(expected)


def test_the_conformal_bound_holds_over_draws():
    """Of new requests at most 1 - target are under the threshold, on average over dev splits of 30."""
    generator = np.random.default_rng(0)
    under = []
    for _ in range(600):
        drawn = generator.beta(5, 2, size=31)
        threshold = fit_threshold(scored(*drawn[:30]), ["a"] * 30, Abstention("conformal", 0.9))
        under.append(decide(scored(drawn[30])[0], threshold, "").abstained)
    assert 0.05 < np.mean(under) <= 0.1 + 0.025


@pytest.mark.parametrize(("method", "bound"), [("conformal", 0.1), ("coverage", 5 / 41)])
def test_the_bound_holds_for_decisions(method, bound):
    """One request in 20 that an expert should get looks like one for `general`, and is left to it whatever the
    threshold; decisions abstain on at most 1 - target of them all the same, on average over dev splits of 40. With
    coverage 4 of 40 dev rows may stay under, and a new row has one of 41 ranks: 5 / 41."""
    generator = np.random.default_rng(1)

    def drawn(size):
        lost = generator.random(size) < 0.05
        return [
            {"a": 0.02, "general": 0.98} if out else {"a": c, "b": 1 - c, "general": 0.0}
            for out, c in zip(lost, 0.5 + generator.random(size) / 2, strict=True)
        ]

    abstained = []
    for _ in range(1500):
        *dev, new = drawn(41)
        threshold = fit_threshold(dev, ["a"] * 40, Abstention(method, 0.9))
        abstained.append(decide(new, threshold, "").abstained)
    assert 0.04 < np.mean(abstained) <= bound + 0.02


def test_where_general_wins_too_often_no_threshold_helps():
    """Two of four are for `general` already: no threshold, and the share that is covered says so."""
    rows = [{"a": 0.1, "general": 0.9}] * 2 + scored(0.9, 0.8)
    found = fit_threshold(rows, ["a"] * 4, Abstention("coverage", 0.6))
    assert (found, coverage(rows, ["a"] * 4, found)) == (0.0, 0.5)
    assert coverage(rows, ["general"] * 4, found) is None


def test_no_rows_no_threshold():
    assert fit_threshold([], [], Abstention()) == 0.0
    assert fit_threshold([], [], Abstention("coverage", 0.5)) == 0.0


@pytest.mark.parametrize(("method", "target"), [("other", 0.9), ("coverage", 0.0), ("coverage", 1.0), ("conformal", 2)])
def test_wrong_settings_are_answered(method, target):
    with pytest.raises(UserError, match="abstention"):
        Abstention(method, target)


def test_a_calibrated_strategy_keeps_missing_labels_at_zero():
    plain = Keywords({"x": "a"}, ("a", "b"))
    found = Calibrated(plain, ("a", "b", "c"), 2.0)(["x"])[0]
    assert found["c"] == pytest.approx(0.0, abs=1e-5)
    assert found["a"] / found["b"] == pytest.approx(3.0, rel=1e-3)  # 9 to the power of 1/2


def test_tables_and_rows_are_each_other():
    rows = [{"b": 0.3, "a": 0.7}]
    assert rows_of(table(rows, ("a", "b")), ("a", "b")) == [{"a": 0.7, "b": 0.3}]
    assert table([], ("a", "b")).shape == (0, 2)


def test_calibration_error_by_hand():
    """Two rows at 0.95, one right: |0.95 - 0.5| = 0.45; two at 0.65, both right: 0.35; the mean is 0.4. The threshold
    changes decisions, not the error."""
    rows, labels = scored(0.95, 0.95, 0.65, 0.65), ["a", "general", "a", "a"]
    for threshold in (0.0, 0.9):
        assert measured(rows, labels, threshold)["ece"] == pytest.approx(0.4)


def test_auroc_by_hand_and_as_scikit_learn():
    """Outside scores 0.8, 0.3 against inside 0.2, 0.3: pairs won 1, 1, 1 and one tie of a half, so 3.5 of 4."""
    rows = [{"a": 1 - g, "general": g} for g in (0.8, 0.3, 0.2, 0.3)]
    labels = ["general", "general", "a", "a"]
    assert out_of_scope_auroc(rows, labels) == pytest.approx(3.5 / 4)
    generator = np.random.default_rng(1)
    values = generator.random(50)
    outside = generator.random(50) < values
    labels = ["general" if o else "a" for o in outside]
    assert out_of_scope_auroc([{"general": v} for v in values], labels) == pytest.approx(roc_auc_score(outside, values))


@pytest.mark.parametrize("labels", [["a", "a"], ["general", "general"], []])
def test_no_auroc_without_both_kinds(labels):
    assert out_of_scope_auroc([{"a": 0.5, "general": 0.5}] * len(labels), labels) is None


def test_measured_counts_abstained_requests_as_general():
    """At 0.7 the second a is left to general: F1 of a 2/3 (1 of 2 found), of general 2/3 (1 right of 2)."""
    found = measured(scored(0.9, 0.6, 0.1), ["a", "a", "general"], 0.7)
    assert found["macro_f1"] == pytest.approx(2 / 3, abs=1e-4)
    assert found["accuracy"] == pytest.approx(2 / 3, abs=1e-4)
    assert (found["auroc_out_of_scope"], found["n"]) == (1.0, 3)


def test_nothing_measured():
    found = measured([], [], 0.0)
    assert found.pop("reliability")["n"] == 0
    assert found == {"accuracy": None, "macro_f1": None, "auroc_out_of_scope": None, "ece": None, "n": 0}
    assert median_ms(len, []) is None
    assert median_ms(len, ["a", "b"]) >= 0
