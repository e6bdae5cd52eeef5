"""Memorisation records on planted recalls."""

from __future__ import annotations

import numpy as np
import pytest

from judges.memorisation import Recall, memorisation


def recalls(trained_nats: float, held_out_nats: float, exact: int = 0) -> list[Recall]:
    """Ten passages of each kind around two levels of loss; trained ones are repeated for `exact` tokens."""
    random = np.random.default_rng(3)
    noise = 0.05 * random.normal(size=20)
    trained = [Recall(f"t{i}", True, exact, trained_nats + noise[i]) for i in range(10)]
    return trained + [Recall(f"h{i}", False, 0, held_out_nats + noise[10 + i]) for i in range(10)]


def test_learning_by_heart_is_seen():
    """The loss falls by 2 on trained passages and by .3 on held-out ones: an excess of 1.7."""
    before, after = memorisation({"foundation": recalls(3.0, 3.0), "dapt": recalls(1.0, 2.7, 32)}, "foundation", 32)
    assert (after["excess"], after["verdict"]) == (pytest.approx(1.7), "worse")
    assert after["low"] > 1.6
    assert (after["exact_tokens_trained"], after["longest_exact"], after["whole_trained"]) == (32.0, 32, 10)
    assert after["loss_ratio"] == pytest.approx(1.0 / 2.7, abs=0.03)
    assert (before["excess"], before["p"], before["verdict"]) == (None, None, "not enough evidence")


def test_learning_the_field_is_not_learning_by_heart():
    """The loss falls by 1 on both kinds of passages."""
    _, after = memorisation({"foundation": recalls(3.0, 3.2), "dapt": recalls(2.0, 2.2)}, "foundation", 32)
    assert after["excess"] == pytest.approx(0)
    assert after["verdict"] == "not enough evidence"


def test_too_few_passages_say_nothing():
    one = {arm: [Recall("t", True, 0, 1.0), Recall("h", False, 0, 1.0)] for arm in ("foundation", "dapt")}
    assert [record["excess"] for record in memorisation(one, "foundation", 32)] == [None, None]
    (empty,) = memorisation({"foundation": []}, "foundation", 32)
    assert (empty["loss_ratio"], empty["longest_exact"], empty["num_trained"]) == (None, 0, 0)
