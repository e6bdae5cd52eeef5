"""Calculations as data: every formula against a number worked out by hand or published, and rows that are refused."""

import json
from math import inf, nan

import pytest

from domains.calculations import FORMULAS, RANGES, Calculation, numbers_of, parse_calculation
from domains.domain import PARSERS, Domain
from domains.readers import RowError, read_jsonl
from tests.fakes import turns, write_jsonl

ROW = {
    "id": "a",
    "kind": "first_interest",
    "prompt": turns("Interest in month one on $320,000 at 6.75%?"),
    "given": {"loan": 320000, "rate_percent": 6.75},
}

# What each comes to, by hand; payments and balances from published tables (rounded to cents).
BY_HAND = [
    ("payment", {"loan": 200000, "rate_percent": 6, "years": 30}, 1199.10),
    ("payment", {"loan": 100000, "rate_percent": 5, "years": 15}, 790.79),
    ("payment", {"loan": 96000, "rate_percent": 0, "years": 10}, 800.0),
    ("balance", {"loan": 100000, "rate_percent": 6, "years": 30, "months_paid": 12}, 98771.99),
    ("balance", {"loan": 100000, "rate_percent": 6, "years": 30, "months_paid": 360}, 0.0),
    ("balance", {"loan": 12000, "rate_percent": 0, "years": 10, "months_paid": 30}, 9000.0),
    ("total_interest", {"loan": 200000, "rate_percent": 6, "years": 30}, 231676.38),
    ("first_interest", {"loan": 320000, "rate_percent": 6.75}, 1800.0),
    ("first_principal", {"loan": 300000, "rate_percent": 6.5, "payment": 1896.20}, 271.20),
    ("rate_saving", {"loan": 340000, "old_rate_percent": 6.5, "rate_percent": 5.75}, 212.50),
    ("loan_to_value", {"loan": 248000, "value": 310000}, 80.0),
    ("combined_loan_to_value", {"loan": 190000, "second_loan": 38000, "value": 300000}, 76.0),
    ("debt_to_income", {"debts": (1500, 300), "monthly_income": 6000}, 30.0),
    ("debt_to_salary", {"debts": (1960, 420), "annual_income": 84000}, 34.0),
    ("housing_ratio", {"housing": 1890, "monthly_income": 6750}, 28.0),
    ("room_for_debts", {"monthly_income": 6000, "percent": 43, "debts": (350, 180)}, 2050.0),
    ("points_cost", {"loan": 280000, "points": 1.5}, 4200.0),
    ("break_even", {"costs": 5400, "old_payment": 1850, "new_payment": 1670}, 30.0),
    ("down_payment", {"price": 265000, "percent": 3.5}, 9275.0),
    ("down_payment_share", {"down_payment": 27000, "price": 360000}, 7.5),
    ("loan_amount", {"price": 289000, "percent": 10}, 260100.0),
    ("escrow_monthly", {"yearly_bills": (3960, 1440)}, 450.0),
    ("escrow_cushion", {"yearly_bills": (4800, 1500)}, 1050.0),
    ("full_payment", {"payment": 1204, "yearly_tax": 2868, "yearly_insurance": 1092}, 1534.0),
    ("shortage_monthly", {"shortage": 846, "spread_months": 12}, 70.5),
    ("mortgage_insurance", {"loan": 240000, "percent": 0.5}, 100.0),
    ("upfront_fee", {"loan": 310000, "percent": 2.15}, 6665.0),
    ("late_charge", {"payment": 1342, "percent": 5}, 67.10),
    ("prepaid_interest", {"loan": 365000, "rate_percent": 6, "days": 10}, 600.0),
    ("equity", {"value": 372000, "loan": 291640}, 80360.0),
]

BAD = [
    ({"kind": "paymnt"}, "kind", "unknown kind"),
    ({"kind": None}, "kind", "missing"),
    ({"given": None}, "given", "loan, rate_percent"),
    ({"given": {"loan": 320000}}, "given", "loan, rate_percent"),
    ({"given": {"loan": 320000, "rate_percent": 6.75, "years": 30}}, "given", "loan, rate_percent"),
    ({"given": {"loan": 320000, "rate_percent": 5.75}}, "given.rate_percent", "5.75 does not stand"),
    ({"given": {"loan": "320000", "rate_percent": 6.75}}, "given.loan", "number from"),
    ({"given": {"loan": True, "rate_percent": 6.75}}, "given.loan", "number from"),
    ({"given": {"loan": 32, "rate_percent": 6.75}}, "given.loan", "number from 5000"),
    ({"given": {"loan": nan, "rate_percent": 6.75}}, "given.loan", "number from"),
    ({"given": {"loan": inf, "rate_percent": 6.75}}, "given.loan", "number from"),
    ({"prompt": turns("How much interest?")}, "given.loan", "does not stand"),
    ({"prompt": turns("Q?", "A.")}, "prompt", "ends with"),
    ({"kind": "escrow_monthly", "given": {"yearly_bills": 1200}}, "given.yearly_bills", "list of numbers"),
    ({"kind": "escrow_monthly", "given": {"yearly_bills": []}}, "given.yearly_bills", "list of numbers"),
]


@pytest.mark.parametrize(("kind", "given", "expected"), BY_HAND)
def test_formulas(kind, given, expected):
    assert Calculation("a", (), kind, given).expected == pytest.approx(expected, abs=0.005)


def test_every_formula_is_checked_by_hand_and_every_input_has_a_range():
    assert {kind for kind, _, _ in BY_HAND} == FORMULAS.keys()
    assert {name for formula in FORMULAS.values() for name in formula.inputs} == RANGES.keys()


def test_a_balance_is_what_paying_month_by_month_leaves():
    """Twelve times: interest on what is owed, the rest of the payment off the loan."""
    owed, made = 250000.0, Calculation("a", (), "payment", {"loan": 250000, "rate_percent": 7, "years": 30})
    for _ in range(12):
        owed -= made.expected - owed * 0.07 / 12
    given = {"loan": 250000, "rate_percent": 7, "years": 30, "months_paid": 12}
    assert Calculation("a", (), "balance", given).expected == pytest.approx(owed)


def test_a_good_row():
    row = parse_calculation(ROW)
    assert (row.text, row.formula.unit) == (ROW["prompt"][0]["content"], "dollars")
    assert row.expected == pytest.approx(1800)


@pytest.mark.parametrize(("change", "field", "reason"), BAD)
def test_bad_rows_are_problems_with_a_fix(tmp_path, change, field, reason):
    row = {key: value for key, value in (ROW | change).items() if value is not None}
    path = write_jsonl(tmp_path / "calculations.jsonl", [ROW | {"id": "b"}, row])
    reading = read_jsonl(path, PARSERS[path.name])
    (problem,) = reading.problems
    assert (problem.line, problem.field) == (2, field)
    assert reason in problem.reason
    assert problem.fix
    assert [record.id for record in reading.records] == ["b"]


def test_nothing_saved_is_refused():
    given = {"costs": 3000, "old_payment": 1200, "new_payment": 1300}
    row = ROW | {"kind": "break_even", "given": given, "prompt": turns("Costs 3000, from 1200 to 1300. Break-even?")}
    with pytest.raises(RowError, match="the result is 0"):
        parse_calculation(row)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$285,000 at 6.25%", {285000, 6.25}),
        ("385k or 385 K", {385000}),
        ("a thirty-year note, Ten percent", {30, 10}),
        ("", set()),
    ],
)
def test_numbers_of_a_text(text, expected):
    assert numbers_of(text) == expected


def test_the_shipped_calculations():
    """At least 60; every kind in train; the three splits by the hash of the id; no result stands in its request."""
    domain = Domain.load("mortgage")
    rows = domain.records("calculations.jsonl")
    assert len(rows) >= 60
    assert {row.kind for row in domain.calculations("train")} == FORMULAS.keys()
    parts = [domain.calculations(split) for split in ("train", "dev", "test")]
    assert sum(map(len, parts)) == len(rows)
    assert min(map(len, parts)) >= 12
    told = [row.id for row in rows if any(abs(n - row.expected) < 0.005 for n in numbers_of(row.text))]
    assert told == []
    assert "expected" not in json.dumps([vars(row) for row in rows], default=str)
