"""Mortgage arithmetic. Money in dollars, rates in percent a year, terms in years; results are rounded to cents.

Notation: r = rate / 1200 (per month), n = 12 * years, P = loan, M = P * r / (1 - (1 + r)^-n) (P / n at r = 0).
Any textbook of interest theory derives it from P = sum of M / (1 + r)^k over k = 1..n.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from domains.errors import UserError
from domains.local_tools.dates import date_of, months_after

Result = dict[str, Any]
MONTHS = 12
BISECTIONS = 80


def payment(loan: float, rate: float, months: int) -> float:
    """M, not rounded."""
    r = rate / 1200
    return loan / months if r == 0 else loan * r / -math.expm1(-months * math.log1p(r))


def balance(loan: float, rate: float, months: int, paid: int) -> float:
    """What is owed after `paid` payments: P (1 + r)^k - M ((1 + r)^k - 1) / r, never below 0."""
    r, each = rate / 1200, payment(loan, rate, months)
    if r == 0:
        return max(0.0, loan - each * paid)
    growth = math.expm1(paid * math.log1p(r))
    return max(0.0, loan * (1 + growth) - each * growth / r)


def monthly_payment(loan_amount: float, annual_rate: float, years: int) -> Result:
    """M."""
    return {"monthly_payment": round(payment(loan_amount, annual_rate, years * MONTHS), 2)}


def total_interest(loan_amount: float, annual_rate: float, years: int) -> Result:
    """n * M - P."""
    months = years * MONTHS
    return {"total_interest": round(payment(loan_amount, annual_rate, months) * months - loan_amount, 2)}


def loan_from_payment(payment_amount: float, annual_rate: float, years: int) -> Result:
    """The loan whose M is the payment: payment / M(1)."""
    return {"loan_amount": round(payment_amount / payment(1, annual_rate, years * MONTHS), 2)}


def debt_to_income(monthly_debts: float, monthly_income: float) -> Result:
    """100 * debts / gross income."""
    return {"dti_percent": round(100 * monthly_debts / monthly_income, 2)}


def front_end_ratio(housing_payment: float, monthly_income: float) -> Result:
    """100 * housing payment / gross income."""
    return {"ratio_percent": round(100 * housing_payment / monthly_income, 2)}


def loan_to_value(loan_amount: float, home_value: float) -> Result:
    """100 * loan / value."""
    return {"ltv_percent": round(100 * loan_amount / home_value, 2)}


def combined_loan_to_value(balances: list[float], home_value: float) -> Result:
    """100 * sum of all loans on the home / value."""
    return {"cltv_percent": round(100 * sum(balances) / home_value, 2)}


def monthly_escrow(property_tax: float, home_insurance: float, mortgage_insurance: float = 0) -> Result:
    """The yearly bills / 12."""
    return {"monthly_escrow": round((property_tax + home_insurance + mortgage_insurance) / MONTHS, 2)}


def escrow_cushion(yearly_bills: float) -> Result:
    """The largest cushion a servicer may hold: one sixth of the yearly bills (12 CFR 1024.17(c)(1))."""
    return {"largest_cushion": round(yearly_bills / 6, 2)}


def points_break_even(points_cost: float, monthly_saving: float) -> Result:
    """The first month by which the savings have paid for the points."""
    return {"months": math.ceil(points_cost / monthly_saving)}


def refinance_break_even(closing_costs: float, old_payment: float, new_payment: float) -> Result:
    """The first month by which the lower payments have paid for the closing costs."""
    if new_payment >= old_payment:
        raise UserError(
            "The new payment is not lower than the old one, so there is no break-even. Compare total costs."
        )
    return {"months": math.ceil(closing_costs / (old_payment - new_payment))}


def balance_after(loan_amount: float, annual_rate: float, years: int, payments_made: int) -> Result:
    """What is owed after so many monthly payments."""
    return {"balance": round(balance(loan_amount, annual_rate, years * MONTHS, payments_made), 2)}


def amortization_month(loan_amount: float, annual_rate: float, years: int, month: int) -> Result:
    """Interest r * B(k - 1) and principal M - interest of payment k."""
    months = years * MONTHS
    if month > months:
        raise UserError(f"A loan over {years} years has {months} payments; there is no payment {month}.")
    owed = balance(loan_amount, annual_rate, months, month - 1)
    interest = owed * annual_rate / 1200
    return {"interest": round(interest, 2), "principal": round(payment(loan_amount, annual_rate, months) - interest, 2)}


def first_payment_where(below: Callable[[int], bool], months: int) -> int:
    """The number of the first payment after which a condition on the balance holds."""
    return next(number for number in range(months + 1) if below(number))


def pmi_removal_date(
    loan_amount: float, home_value: float, annual_rate: float, years: int, first_payment: str, percent: float = 80
) -> Result:
    """The due date of the payment that brings the scheduled balance to 80% of the original value (on request) or 78%
    (automatic): Homeowners Protection Act, 12 U.S.C. 4901-4902."""
    limit = home_value * percent / 100
    number = first_payment_where(
        lambda k: balance(loan_amount, annual_rate, years * MONTHS, k) <= limit + 0.005, years * MONTHS
    )
    due = months_after(date_of(first_payment), max(0, number - 1))
    return {"date": due.isoformat(), "payments": number}


def mortgage_insurance(loan_amount: float, yearly_percent: float) -> Result:
    """P * percent / 100 / 12."""
    return {"monthly_premium": round(loan_amount * yearly_percent / 100 / MONTHS, 2)}


def annual_percentage_rate(loan_amount: float, annual_rate: float, years: int, finance_charges: float) -> Result:
    """The rate at which the payments of the loan are worth what the borrower receives, P - charges: the idea of
    Regulation Z, Appendix J, for a loan of equal months (no odd first period). Found by bisection."""
    if finance_charges >= loan_amount:
        raise UserError("The charges are as large as the loan. Give charges below the loan amount.")
    months = years * MONTHS
    each = payment(loan_amount, annual_rate, months)
    low, high = 0.0, 1000.0
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if payment(loan_amount - finance_charges, middle, months) < each else (low, middle)
    return {"apr_percent": round(low, 3)}


def affordable_price(
    monthly_income: float,
    monthly_debts: float,
    down_payment: float,
    annual_rate: float,
    years: int = 30,
    max_dti: float = 43,
) -> Result:
    """Down payment + the loan whose M is income * max_dti / 100 - debts; taxes and insurance are not counted."""
    room = max(0.0, monthly_income * max_dti / 100 - monthly_debts)
    loan = room / payment(1, annual_rate, years * MONTHS)
    return {"price": round(down_payment + loan, 2), "loan_amount": round(loan, 2)}


def down_payment(price: float, percent: float) -> Result:
    """price * percent / 100, and the loan for the rest."""
    amount = price * percent / 100
    return {"down_payment": round(amount, 2), "loan_amount": round(price - amount, 2)}


def extra_payment(loan_amount: float, annual_rate: float, years: int, extra: float) -> Result:
    """Months and interest that paying `extra` more each month saves. With payment A = M + extra the loan lasts
    -ln(1 - P r / A) / ln(1 + r) months (P / A at r = 0); the last payment is a partial one."""
    r, months = annual_rate / 1200, years * MONTHS
    each = payment(loan_amount, annual_rate, months)
    paid = each + extra
    exact = loan_amount / paid if r == 0 else -math.log1p(-loan_amount * r / paid) / math.log1p(r)
    needed = min(months, math.ceil(exact - 1e-9))
    saved = max(0.0, each * months - loan_amount - interest_of(loan_amount, r, paid, needed))
    return {"months_saved": months - needed, "interest_saved": round(saved, 2)}


def interest_of(loan: float, r: float, paid: float, months: int) -> float:
    """The interest of a loan that is paid off in so many months, the last payment being what is left."""
    owed, total = loan, 0.0
    for _ in range(months):
        interest = owed * r
        total += interest
        owed = max(0.0, owed + interest - paid)
    return total


def interest_only_payment(loan_amount: float, annual_rate: float) -> Result:
    """P * r."""
    return {"monthly_payment": round(loan_amount * annual_rate / 1200, 2)}


def adjusted_rate(index: float, margin: float, current_rate: float, periodic_cap: float, highest_rate: float) -> Result:
    """Index + margin, at most the cap away from the current rate and never above the lifetime ceiling."""
    bounded = min(max(index + margin, current_rate - periodic_cap), current_rate + periodic_cap)
    return {"new_rate": round(min(bounded, highest_rate), 3)}


def prepaid_interest(loan_amount: float, annual_rate: float, days: int) -> Result:
    """P * rate / 100 / 365 * days."""
    return {"interest": round(loan_amount * annual_rate / 100 / 365 * days, 2)}


def cash_to_close(
    price: float, down_payment_percent: float, closing_costs: float, deposit: float = 0, seller_credit: float = 0
) -> Result:
    """Down payment + closing costs - what was paid already and what the seller gives."""
    return {"cash": round(price * down_payment_percent / 100 + closing_costs - deposit - seller_credit, 2)}


def late_fee(payment_amount: float, percent: float, days_late: int, grace_days: int = 15) -> Result:
    """percent of the payment once the grace days are over."""
    return {"fee": round(payment_amount * percent / 100, 2) if days_late > grace_days else 0.0}


def payoff_amount(balance_amount: float, annual_rate: float, days: int, fees: float = 0) -> Result:
    """Balance + daily interest (365 days a year) + fees."""
    return {"payoff": round(balance_amount * (1 + annual_rate / 100 / 365 * days) + fees, 2)}
