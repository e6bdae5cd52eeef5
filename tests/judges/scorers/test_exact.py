"""Exact match after normalisation."""

from __future__ import annotations

import pytest

from judges.scorers.exact import Judge
from judges.verdict import Answered


@pytest.mark.parametrize(
    ("answer", "reference", "value"),
    [
        ("Escrow", "escrow", 1.0),
        ("  late \n payment. ", "Late payment", 1.0),
        ("yes!", "Yes.", 1.0),
        ("escrow account", "escrow", 0.0),
        ("es.crow", "escrow", 0.0),
        ("", "escrow", 0.0),
        ("escrow", None, None),
        ("escrow", " ", None),
    ],
)
def test_exact(answer: str, reference: str | None, value: float | None):
    assert Judge()([Answered("Q?", answer, reference)])[0].value == value
