"""Reliability by hand."""

from __future__ import annotations

import pytest

from judges.reliability import reliability


def test_bins_and_error_by_hand():
    """.9 .95 right, .92 wrong: mean .9233, 2 of 3. .3 wrong: 0 of 1. Error (3 |.6667 - .9233| + |0 - .3|) / 4."""
    found = reliability([0.9, 0.95, 0.92, 0.3], [True, True, False, False])
    assert [(b["low"], b["n"]) for b in found["bins"]] == [(0.3, 1), (0.9, 3)]
    assert found["bins"][1]["accuracy"] == pytest.approx(2 / 3)
    assert found["error"] == pytest.approx((3 * (0.92333 - 0.66667) + 0.3) / 4, abs=1e-4)
    assert found["bins"][0]["accuracy_low"] is None


def test_certainty_is_in_the_last_bin_and_nothing_has_no_error():
    assert reliability([1.0], [True])["bins"][0]["low"] == 0.9
    assert reliability([], []) == {"bins": [], "error": None, "n": 0}
