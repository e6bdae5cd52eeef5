"""Mortgage calculations as data: a request, the numbers that it gives, and the formula that they go into.

The expected value is never stored: it is computed from `given` by the formula of the row's `kind`. Payments and
balances are those of a level-payment loan, M = P i / (1 - (1 + i)^-n) with the monthly rate i (Regulation Z, appendix
J; Fannie Mae Selling Guide B3-6 for the ratios). Money in dollars, rates and shares in percent, times in months unless
the name says otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from domains.errors import unknown_name
from domains.example import Message, last_user_turn
from domains.readers import RowError, prompt, shown, text_field

Unit = Literal["dollars", "percent", "months"]
Given = Mapping[str, Any]

MONTHS = 12
DAYS = 365
RANGES: dict[str, tuple[float, float]] = {
    "loan": (5_000, 3_000_000),
    "second_loan": (1_000, 1_000_000),
    "price": (40_000, 5_000_000),
    "value": (40_000, 5_000_000),
    "rate_percent": (0, 15),
    "old_rate_percent": (0, 15),
    "years": (5, 40),
    "months_paid": (1, 480),
    "days": (1, 31),
    "points": (0.125, 5),
    "percent": (0.1, 60),
    "monthly_income": (500, 100_000),
    "annual_income": (10_000, 1_000_000),
    "housing": (100, 30_000),
    "debts": (1, 30_000),
    "yearly_bills": (50, 60_000),
    "yearly_tax": (100, 60_000),
    "yearly_insurance": (100, 20_000),
    "payment": (50, 30_000),
    "costs": (100, 60_000),
    "old_payment": (100, 30_000),
    "new_payment": (100, 30_000),
    "shortage": (1, 20_000),
    "spread_months": (2, 60),
    "down_payment": (500, 2_000_000),
}
LISTS = frozenset({"debts", "yearly_bills"})
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?(?:\s?k\b)?", re.IGNORECASE)
NUMBER_WORDS = {
    "half": 0.5,
    "one": 1,
    "two": 2,
    "three": 3,
    "six": 6,
    "ten": 10,
    "fifteen": 15,
    "twenty": 20,
    "thirty": 30,
}


@dataclass(frozen=True)
class Formula:
    """How a kind of calculation is done: its inputs, its unit, and the way in words (for a hint, without a result)."""

    unit: Unit
    inputs: tuple[str, ...]
    compute: Callable[[Given], float]
    method: str


@dataclass(frozen=True)
class Calculation:
    """A request that asks for one number."""

    id: str
    prompt: tuple[Message, ...]
    kind: str
    given: Given

    @property
    def formula(self) -> Formula:
        """The formula of its kind."""
        return FORMULAS[self.kind]

    @property
    def expected(self) -> float:
        """The right result, not rounded."""
        return self.formula.compute(self.given)

    @property
    def text(self) -> str:
        """What is asked."""
        return last_user_turn(self.prompt)


def monthly_rate(given: Given, name: str = "rate_percent") -> float:
    """The interest rate of one month as a fraction."""
    return float(given[name]) / 100 / MONTHS


def level_payment(loan: float, rate: float, num_payments: float) -> float:
    """The payment that repays a loan in equal parts at a rate per payment; without interest, an equal share."""
    return loan * rate / (1 - (1 + rate) ** -num_payments) if rate else loan / num_payments


def payment(given: Given) -> float:
    """Principal and interest of a month."""
    return level_payment(given["loan"], monthly_rate(given), given["years"] * MONTHS)


def balance(given: Given) -> float:
    """What is owed after so many payments: the loan with its interest less the payments with theirs."""
    rate, paid = monthly_rate(given), given["months_paid"]
    if not rate:
        return float(given["loan"] - payment(given) * paid)
    growth = (1 + rate) ** paid
    return float(given["loan"] * growth - payment(given) * (growth - 1) / rate)


def break_even(given: Given) -> float:
    """Months until the costs are saved; 0 when nothing is saved."""
    saving = given["old_payment"] - given["new_payment"]
    return float(given["costs"] / saving) if saving > 0 else 0.0


def share(part: float, whole: float) -> float:
    """A part in percent of the whole."""
    return 100 * part / whole


FORMULAS: dict[str, Formula] = {
    "payment": Formula(
        "dollars", ("loan", "rate_percent", "years"), payment,
        "loan x i / (1 - (1 + i)^-n), with i = yearly rate / 12 and n = years x 12",
    ),
    "first_interest": Formula(
        "dollars", ("loan", "rate_percent"), lambda g: g["loan"] * monthly_rate(g), "loan x yearly rate / 12",
    ),
    "first_principal": Formula(
        "dollars", ("loan", "rate_percent", "payment"), lambda g: g["payment"] - g["loan"] * monthly_rate(g),
        "payment - loan x yearly rate / 12",
    ),
    "balance": Formula(
        "dollars", ("loan", "rate_percent", "years", "months_paid"), balance,
        "loan x (1 + i)^k - payment x ((1 + i)^k - 1) / i, with i = yearly rate / 12 and k payments made",
    ),
    "total_interest": Formula(
        "dollars", ("loan", "rate_percent", "years"), lambda g: payment(g) * g["years"] * MONTHS - g["loan"],
        "monthly payment x number of payments - loan",
    ),
    "rate_saving": Formula(
        "dollars", ("loan", "old_rate_percent", "rate_percent"),
        lambda g: g["loan"] * (monthly_rate(g, "old_rate_percent") - monthly_rate(g)),
        "loan x (old yearly rate - new yearly rate) / 12",
    ),
    "loan_to_value": Formula(
        "percent", ("loan", "value"), lambda g: share(g["loan"], g["value"]), "100 x loan / value of the home",
    ),
    "combined_loan_to_value": Formula(
        "percent", ("loan", "second_loan", "value"), lambda g: share(g["loan"] + g["second_loan"], g["value"]),
        "100 x (first loan + second loan) / value of the home",
    ),
    "debt_to_income": Formula(
        "percent", ("debts", "monthly_income"), lambda g: share(sum(g["debts"]), g["monthly_income"]),
        "100 x sum of the monthly debts / gross monthly income",
    ),
    "debt_to_salary": Formula(
        "percent", ("debts", "annual_income"), lambda g: share(sum(g["debts"]), g["annual_income"] / MONTHS),
        "100 x sum of the monthly debts / (gross yearly income / 12)",
    ),
    "housing_ratio": Formula(
        "percent", ("housing", "monthly_income"), lambda g: share(g["housing"], g["monthly_income"]),
        "100 x housing payment / gross monthly income",
    ),
    "room_for_debts": Formula(
        "dollars", ("monthly_income", "percent", "debts"),
        lambda g: g["monthly_income"] * g["percent"] / 100 - sum(g["debts"]),
        "gross monthly income x limit - sum of the monthly debts",
    ),
    "points_cost": Formula(
        "dollars", ("loan", "points"), lambda g: g["loan"] * g["points"] / 100, "loan x points / 100",
    ),
    "break_even": Formula(
        "months", ("costs", "old_payment", "new_payment"), break_even,
        "costs / (old payment - new payment)",
    ),
    "down_payment": Formula(
        "dollars", ("price", "percent"), lambda g: g["price"] * g["percent"] / 100, "price x percent down / 100",
    ),
    "down_payment_share": Formula(
        "percent", ("down_payment", "price"), lambda g: share(g["down_payment"], g["price"]),
        "100 x down payment / price",
    ),
    "loan_amount": Formula(
        "dollars", ("price", "percent"), lambda g: g["price"] * (1 - g["percent"] / 100),
        "price - price x percent down / 100",
    ),
    "escrow_monthly": Formula(
        "dollars", ("yearly_bills",), lambda g: sum(g["yearly_bills"]) / MONTHS, "sum of the yearly bills / 12",
    ),
    "escrow_cushion": Formula(
        "dollars", ("yearly_bills",), lambda g: sum(g["yearly_bills"]) / 6, "sum of the yearly bills / 6",
    ),
    "full_payment": Formula(
        "dollars", ("payment", "yearly_tax", "yearly_insurance"),
        lambda g: g["payment"] + (g["yearly_tax"] + g["yearly_insurance"]) / MONTHS,
        "principal and interest + (yearly tax + yearly insurance) / 12",
    ),
    "shortage_monthly": Formula(
        "dollars", ("shortage", "spread_months"), lambda g: g["shortage"] / g["spread_months"], "shortage / months",
    ),
    "mortgage_insurance": Formula(
        "dollars", ("loan", "percent"), lambda g: g["loan"] * g["percent"] / 100 / MONTHS,
        "loan x yearly premium in percent / 100 / 12",
    ),
    "upfront_fee": Formula(
        "dollars", ("loan", "percent"), lambda g: g["loan"] * g["percent"] / 100, "loan x fee in percent / 100",
    ),
    "late_charge": Formula(
        "dollars", ("payment", "percent"), lambda g: g["payment"] * g["percent"] / 100,
        "overdue payment x charge in percent / 100",
    ),
    "prepaid_interest": Formula(
        "dollars", ("loan", "rate_percent", "days"), lambda g: g["loan"] * g["rate_percent"] / 100 / DAYS * g["days"],
        "loan x yearly rate / 365 x days",
    ),
    "equity": Formula("dollars", ("value", "loan"), lambda g: g["value"] - g["loan"], "value of the home - loan"),
}  # fmt: skip


def parse_calculation(row: dict[str, Any]) -> Calculation:
    """A calculation whose numbers fit its formula, are realistic, and stand in its request."""
    turns = prompt(row)
    kind = text_field(row, "kind")
    if kind not in FORMULAS:
        raise RowError("kind", f"unknown kind '{kind}'.", str(unknown_name("kind of calculation", kind, FORMULAS)))
    given = given_numbers(row.get("given"), FORMULAS[kind])
    asked = numbers_of(" ".join(turn.content for turn in turns))
    for name, value in given.items():
        for number in value if isinstance(value, tuple) else (value,):
            if not any(abs(number - other) < 1e-9 for other in asked):
                raise RowError(
                    f"given.{name}", f"{number:g} does not stand in the prompt.", "ask with the same numbers."
                )
    made = Calculation(text_field(row, "id"), turns, kind, given)
    if not made.expected > 0:
        raise RowError("given", f"the result is {made.expected:g}.", "ask for something above zero.")
    return made


def given_numbers(value: Any, formula: Formula) -> dict[str, Any]:
    """The inputs of a formula, each in its range; lists become tuples."""
    if not isinstance(value, dict) or value.keys() != set(formula.inputs):
        raise RowError("given", f"must have {', '.join(formula.inputs)}, got {shown(value)}.", "give each number once.")
    return {name: checked(name, value[name]) for name in formula.inputs}


def checked(name: str, value: Any) -> Any:
    """One input: a number of a realistic size, or for some names a list of such numbers."""
    if name in LISTS:
        if not isinstance(value, list) or not value:
            raise RowError(f"given.{name}", f"must be a list of numbers, got {shown(value)}.", "write [1200, 350].")
        return tuple(number(name, item) for item in value)
    return number(name, value)


def number(name: str, value: Any) -> float:
    """One number in its range."""
    low, high = RANGES[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise RowError(
            f"given.{name}", f"must be a number from {low:g} to {high:g}, got {shown(value)}.", "correct it."
        )
    return value


def numbers_of(text: str) -> frozenset[float]:
    """The numbers of a text: 285,000 or 285k or 6.25, and a few in words."""
    words = re.findall(r"[a-z]+", text.lower())
    in_words = {float(NUMBER_WORDS[word]) for word in words if word in NUMBER_WORDS}
    return frozenset(in_words | {read_number(found) for found in NUMBER.findall(text)})


def read_number(text: str) -> float:
    """The value of a number as it is written."""
    digits = text.lower().rstrip("k ").replace(",", "")
    return float(digits) * (1000 if text.lower().endswith("k") else 1)
