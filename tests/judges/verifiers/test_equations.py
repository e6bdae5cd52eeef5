"""Equations in running text: found, computed, and never run as code."""

import pytest

from judges.verifiers._equations import computed, equations


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("320,000 x 6.75% / 12 = $1,800", [True]),
        ("LTV: (248,000 / 310,000) × 100 = 80%", [True]),
        ("2,190 / 7,300 = 30%", [True]),
        ("2,190 / 7,300 = 0.30", [True]),
        ("i = 6.5% / 12 = 0.005417", [True]),
        ("3,600 + 1,200 = 4,800 / 12 = 400", [False, True]),
        ("1,800 + 200 = 2,100", [False]),
        ("It was 500. 300 * 2 = 600. 7 more.", [True]),
        ("DTI (2190 / 7300 = 0.30), fine", [True]),
        ("2^3 = 8 and 2**3 = 9", [True, False]),
        ("Payment = $1,800", []),
        ("x = y", []),
        ("a <= 5 + 5 == 10 != 3", []),
        ("5 = 5", []),
        ("1 / 0 = 5", []),
        ("9**9**9**9 = 3", []),
        ("2(3) = 6", []),
        ("((((1 + 1 = 2", [True]),
        ("= = =", []),
        ("", []),
    ],
)
def test_equations(text, holds):
    assert [found.holds for found in equations(text)] == holds


@pytest.mark.parametrize(
    "text",
    ["__import__('os')", "1 if 1 else 2", "[1]", "'a' * 3", "1 << 40", "True + 1", "1j * 2", "f(2)", "-(-1).real"],
)
def test_only_numbers_and_operations_are_computed(text):
    assert computed(text) is None


def test_long_and_deep_input_ends_quickly():
    assert list(equations("(" * 5000 + "1" + ")" * 5000 + " + 1 = 2")) == []
    assert list(equations("1 + " * 5000 + "1 = 5001")) != []
    assert computed("-" * 100_000 + "1") is None
