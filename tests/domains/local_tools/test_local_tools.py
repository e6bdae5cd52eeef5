"""The local tools: every formula against a number derived here, hostile arguments, and the allow-list."""

import math
from itertools import accumulate

import pytest

from domains.errors import UserError
from domains.local_tools.run import LOCAL_TOOLS, local_functions, run_local
from domains.tool_calls import ToolCall


def run(name, **arguments):
    return run_local(ToolCall(name, arguments))


def schedule(loan, rate, months, payment):
    """Balances after each payment, month by month: the definition, without a formula."""
    return list(accumulate(range(months), lambda owed, _: owed * (1 + rate / 1200) - payment, initial=loan))


def test_payment_pays_the_loan_off():
    """The schedule with the payment ends at zero: within n half cents of rounding, grown by at most (1 + r)^n = 6.1."""
    payment = run("monthly_payment", loan_amount=200_000, annual_rate=6, years=30)["monthly_payment"]
    assert payment == 1199.10  # 200,000 * 0.005 / (1 - 1.005^-360)
    assert abs(schedule(200_000, 6, 360, payment)[-1]) < 0.005 * 360 * 6.1


def test_without_interest_everything_is_division():
    """1,200 over one year: 100 a month, no interest, 600 owed after six."""
    loan = {"loan_amount": 1200, "annual_rate": 0, "years": 1}
    assert run("monthly_payment", **loan) == {"monthly_payment": 100}
    assert run("total_interest", **loan) == {"total_interest": 0}
    assert run("balance_after", **loan, payments_made=6) == {"balance": 600}
    assert run("amortization_month", **loan, month=12) == {"interest": 0, "principal": 100}
    assert run("loan_from_payment", payment_amount=100, annual_rate=0, years=1) == {"loan_amount": 1200}
    assert run("extra_payment", **loan, extra=50) == {"months_saved": 4, "interest_saved": 0}  # 1200 / 150 = 8
    assert run("annual_percentage_rate", **loan, finance_charges=0) == {"apr_percent": 0}


def test_balance_and_amortization_follow_the_schedule():
    """Against the month-by-month definition with the unrounded payment."""
    payment = 150_000 * 0.004 / (1 - 1.004**-180)  # 4.8%, fifteen years
    owed = schedule(150_000, 4.8, 180, payment)
    loan = {"loan_amount": 150_000, "annual_rate": 4.8, "years": 15}
    assert run("balance_after", **loan, payments_made=100)["balance"] == pytest.approx(owed[100], abs=0.006)
    assert run("balance_after", **loan, payments_made=500) == {"balance": 0}
    found = run("amortization_month", **loan, month=101)
    assert found["interest"] == pytest.approx(owed[100] * 0.004, abs=0.006)
    assert found["principal"] == pytest.approx(owed[100] - owed[101], abs=0.006)
    assert run("total_interest", **loan)["total_interest"] == pytest.approx(180 * payment - 150_000, abs=0.006)


def test_extra_payments_against_the_schedule():
    """Paying more: count the months until nothing is owed, and add up the interest of each."""
    payment = 100_000 * 0.005 / (1 - 1.005**-240)
    owed, months, interest = 100_000.0, 0, 0.0
    while owed > 0:
        interest += owed * 0.005
        owed = owed * 1.005 - payment - 200
        months += 1
    found = run("extra_payment", loan_amount=100_000, annual_rate=6, years=20, extra=200)
    assert found["months_saved"] == 240 - months
    assert found["interest_saved"] == pytest.approx(240 * payment - 100_000 - interest, abs=0.02)


def test_loan_from_payment_inverts_the_payment():
    loan = run("loan_from_payment", payment_amount=1199.10, annual_rate=6, years=30)["loan_amount"]
    assert loan == pytest.approx(200_000, abs=1)  # half a cent a month is worth 0.005 / 0.0059955 = 0.83


def test_apr_discounts_the_payments_to_what_is_received():
    """At the APR the present value of the payments is 98,000 of the 100,000; without charges it is the rate."""
    payment = 100_000 * 0.005 / (1 - 1.005**-360)
    apr = run("annual_percentage_rate", loan_amount=100_000, annual_rate=6, years=30, finance_charges=2000)
    r = apr["apr_percent"] / 1200
    assert sum(payment / (1 + r) ** k for k in range(1, 361)) == pytest.approx(98_000, abs=10)
    same = run("annual_percentage_rate", loan_amount=100_000, annual_rate=6, years=30, finance_charges=0)
    assert same == {"apr_percent": 6}


def test_pmi_ends_when_the_schedule_reaches_the_limit():
    """The first month whose balance is at most 80% (78%) of 200,000; the payment k is due k - 1 months later."""
    owed = schedule(190_000, 6, 360, 190_000 * 0.005 / (1 - 1.005**-360))
    for percent in (80, 78):
        first = next(k for k, value in enumerate(owed) if value <= 2000 * percent)
        found = run("pmi_removal_date", loan_amount=190_000, home_value=200_000, annual_rate=6, years=30,
                    first_payment="2024-01-31", percent=percent)  # fmt: skip
        assert found["payments"] == first
        year, month = divmod(first - 1, 12)
        assert found["date"].startswith(f"{2024 + year}-{month + 1:02d}-")
    paid = run("pmi_removal_date", loan_amount=100_000, home_value=200_000, annual_rate=6, years=30,
               first_payment="2024-02-01")  # fmt: skip
    assert paid == {"date": "2024-02-01", "payments": 0}


@pytest.mark.parametrize(
    ("name", "arguments", "result"),
    [
        ("debt_to_income", {"monthly_debts": 2150, "monthly_income": 5000}, {"dti_percent": 43}),
        ("front_end_ratio", {"housing_payment": 1400, "monthly_income": 5000}, {"ratio_percent": 28}),
        ("loan_to_value", {"loan_amount": 80, "home_value": 100}, {"ltv_percent": 80}),
        ("combined_loan_to_value", {"balances": [60, 25], "home_value": 100}, {"cltv_percent": 85}),
        ("monthly_escrow", {"property_tax": 2400, "home_insurance": 1200}, {"monthly_escrow": 300}),
        ("escrow_cushion", {"yearly_bills": 3600}, {"largest_cushion": 600}),
        ("points_break_even", {"points_cost": 1000, "monthly_saving": 30}, {"months": 34}),  # 33.3, rounded up
        ("points_break_even", {"points_cost": 900, "monthly_saving": 30}, {"months": 30}),
        ("refinance_break_even", {"closing_costs": 3001, "old_payment": 1100, "new_payment": 1000}, {"months": 31}),
        ("mortgage_insurance", {"loan_amount": 120_000, "yearly_percent": 1}, {"monthly_premium": 100}),
        ("down_payment", {"price": 200_000, "percent": 5}, {"down_payment": 10_000, "loan_amount": 190_000}),
        ("interest_only_payment", {"loan_amount": 120_000, "annual_rate": 6}, {"monthly_payment": 600}),
        ("prepaid_interest", {"loan_amount": 36_500, "annual_rate": 10, "days": 3}, {"interest": 30}),
        ("late_fee", {"payment_amount": 1000, "percent": 5, "days_late": 15}, {"fee": 0}),
        ("late_fee", {"payment_amount": 1000, "percent": 5, "days_late": 16}, {"fee": 50}),
        ("payoff_amount", {"balance_amount": 36_500, "annual_rate": 10, "days": 2, "fees": 5}, {"payoff": 36_525}),
        ("affordable_price", {"monthly_income": 1000, "monthly_debts": 500, "down_payment": 9, "annual_rate": 5},
         {"price": 9, "loan_amount": 0}),
        ("medication_times", {"first_time": "22:00", "doses": 3, "hours_apart": 1.5},
         {"times": ["22:00", "23:30", "01:00"]}),
        ("refill_date", {"pills_left": 5, "pills_per_day": 2, "from_date": "2026-01-01"},
         {"runs_out": "2026-01-03", "order_by": "2026-01-01"}),
        ("care_hours", {"tasks": [{"task": "a", "minutes": 30, "times_per_week": 7}]}, {"hours_per_week": 3.5}),
        ("respite_cost", {"hours_per_week": 4, "hourly_rate": 25, "weeks": 3}, {"cost": 300}),
        ("share_visits", {"people": ["A", "B"], "days": ["x", "y", "z"]}, {"plan": {"x": "A", "y": "B", "z": "A"}}),
        ("weight_change", {"earlier": 80, "now": 76}, {"change_percent": -5}),
        ("fluid_total", {"drinks": [500, 700], "goal": 1000}, {"total_ml": 1200, "missing_ml": 0}),
        ("blood_pressure_average",
         {"readings": [{"systolic": 120, "diastolic": 80}, {"systolic": 130, "diastolic": 85}]},
         {"systolic": 125, "diastolic": 82.5, "readings": 2}),
        ("sleep_hours", {"bedtime": "23:00", "wake_time": "01:00", "minutes_awake": 30}, {"hours": 1.5}),
        ("walking_speed", {"meters": 4, "seconds": 5}, {"meters_per_second": 0.8}),
        ("helpline_number", {"topic": "crisis"}, {"number": "988"}),
        ("care_plan_checklist", {"needs": ["night", "night"]},
         {"checklist": ["Same bedtime every day", "Path to the toilet lit"]}),
        ("convert_length", {"value": 1, "from_unit": "mile", "to_unit": "foot"}, {"value": 5280, "unit": "foot"}),
        ("convert_weight", {"value": 1, "from_unit": "stone", "to_unit": "pound"}, {"value": 14, "unit": "pound"}),
        ("convert_volume", {"value": 1, "from_unit": "gallon", "to_unit": "cup"}, {"value": 16, "unit": "cup"}),
        ("convert_volume", {"value": 1, "from_unit": "tablespoon", "to_unit": "teaspoon"},
         {"value": 3, "unit": "teaspoon"}),
        ("convert_temperature", {"value": -40, "from_unit": "celsius", "to_unit": "fahrenheit"},
         {"value": -40, "unit": "fahrenheit"}),
        ("convert_temperature", {"value": 0, "from_unit": "kelvin", "to_unit": "celsius"},
         {"value": -273.15, "unit": "celsius"}),
        ("percent_of", {"percent": 15, "amount": 60}, {"value": 9}),
        ("percent_change", {"old": 80, "new": 60}, {"change_percent": -25}),
        ("split_bill", {"total": 100, "people": 4, "tip_percent": 20}, {"each": 30}),
        ("savings_growth", {"start": 100, "monthly": 10, "annual_rate": 0, "years": 2}, {"value": 340}),
        ("savings_growth", {"start": 1000, "monthly": 0, "annual_rate": 12, "years": 1}, {"value": 1126.83}),  # 1.01^12
        ("scale_recipe", {"amounts": [2, 3], "servings": 4, "wanted_servings": 6}, {"amounts": [3, 4.5]}),
        ("average", {"numbers": [1, 2, 6]}, {"average": 3}),
        ("fuel_cost", {"miles": 100, "miles_per_gallon": 25, "price_per_gallon": 4}, {"cost": 16}),
        ("unit_price", {"price": 3, "quantity": 4}, {"price_per_unit": 0.75}),
        ("days_between", {"start_date": "2024-02-28", "end_date": "2024-03-01"}, {"days": 2}),  # a leap year
        ("add_days", {"start_date": "2026-01-01", "days": -1}, {"date": "2025-12-31"}),
        ("add_months", {"start_date": "2026-01-31", "months": 1}, {"date": "2026-02-28"}),
        ("add_months", {"start_date": "2026-01-15", "months": -2}, {"date": "2025-11-15"}),
        ("day_of_week", {"on_date": "2000-01-01"}, {"day": "Saturday"}),
        ("age_on", {"birth_date": "1950-06-15", "on_date": "2026-06-14"}, {"years": 75}),
        ("age_on", {"birth_date": "1950-06-15", "on_date": "2026-06-15"}, {"years": 76}),
    ],
)  # fmt: skip
def test_by_hand(name, arguments, result):
    assert run(name, **arguments) == result


ARM = {"margin": 2, "current_rate": 5, "periodic_cap": 2, "highest_rate": 8}


@pytest.mark.parametrize(("index", "rate"), [(3.5, 5.5), (9, 7), (0, 3), (1.25, 3.25)])
def test_an_adjustable_rate_stays_within_its_caps(index, rate):
    """5.5 = index + margin; 11 is cut to 5 + 2; 2 is raised to 5 - 2."""
    assert run("adjusted_rate", index=index, **ARM) == {"new_rate": rate}
    assert run("adjusted_rate", index=9, **{**ARM, "highest_rate": 6}) == {"new_rate": 6}


def test_cash_to_close_adds_and_subtracts():
    """10% of 200,000 + 6,000 - 2,000 - 1,000 = 23,000."""
    found = run("cash_to_close", price=200_000, down_payment_percent=10, closing_costs=6000, deposit=2000,
                seller_credit=1000)  # fmt: skip
    assert found == {"cash": 23_000}


@pytest.mark.parametrize(
    ("changes", "score", "band"),
    [
        ({}, 0, "low"),
        ({"fell_before": True}, 25, "moderate"),
        ({"second_diagnosis": True, "walking_aid": "furniture"}, 45, "high"),
        ({"has_iv": True}, 20, "low"),
        ({"gait": "impaired", "forgets_limits": True}, 35, "moderate"),
        ({"fell_before": True, "second_diagnosis": True, "walking_aid": "furniture", "has_iv": True,
          "gait": "impaired", "forgets_limits": True}, 125, "high"),
    ],
)  # fmt: skip
def test_the_morse_scale(changes, score, band):
    """Sums of 25, 15, 0/15/30, 20, 0/10/20, 15; the most is 125."""
    best = {"fell_before": False, "second_diagnosis": False, "walking_aid": "none", "has_iv": False, "gait": "normal",
            "forgets_limits": False}  # fmt: skip
    assert run("fall_risk_score", **{**best, **changes}) == {"score": score, "band": band}


def test_the_katz_index_counts_what_is_done_alone():
    alone = dict.fromkeys(("bathing", "dressing", "toileting", "transferring", "continence", "feeding"), True)
    assert run("daily_living_score", **alone) == {"score": 6, "of": 6}
    assert run("daily_living_score", **{**alone, "bathing": False, "feeding": False}) == {"score": 4, "of": 6}


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("monthly_paymint", {}, "monthly_payment"),
        ("eval", {"text": "1"}, "no local tool"),
        ("run_local", {}, "no local tool"),
        ("send_message", {"to": "a", "text": "b"}, "no local tool"),  # declared, but not local
        ("percent_of", {"percent": 5}, "amount"),
        ("percent_of", {"percent": 5, "amount": 1, "more": 2}, "more"),
        ("percent_of", {"percent": "5", "amount": 1}, "percent"),
        ("monthly_payment", {"loan_amount": -1, "annual_rate": 5, "years": 30}, "loan_amount"),
        ("monthly_payment", {"loan_amount": 1, "annual_rate": 5, "years": 10**9}, "years"),
        ("monthly_payment", {"loan_amount": 1, "annual_rate": 5, "years": 1.5}, "years"),
        ("split_bill", {"total": 1, "people": True}, "people"),
        ("convert_length", {"value": 1, "from_unit": "league", "to_unit": "m"}, "league"),
        ("average", {"numbers": []}, "numbers"),
        ("average", {"numbers": [1] * 101}, "numbers"),
        ("day_of_week", {"on_date": "2026-02-30"}, "2026-02-30"),
        ("day_of_week", {"on_date": "soon"}, "on_date"),
        ("add_months", {"start_date": "9999-12-01", "months": 2}, "calendar"),
        ("add_days", {"start_date": "9999-12-01", "days": 100}, "calendar"),
        ("age_on", {"birth_date": "2026-01-01", "on_date": "2025-01-01"}, "before"),
        ("sleep_hours", {"bedtime": "25:00", "wake_time": "06:00"}, "25:00"),
        ("medication_times", {"first_time": "08:00", "doses": 4, "hours_apart": 8}, "one day"),
        ("refinance_break_even", {"closing_costs": 1, "old_payment": 5, "new_payment": 5}, "not lower"),
        ("amortization_month", {"loan_amount": 1, "annual_rate": 5, "years": 1, "month": 13}, "12 payments"),
        ("annual_percentage_rate", {"loan_amount": 5, "annual_rate": 5, "years": 1, "finance_charges": 5}, "charges"),
    ],
)
def test_what_cannot_run_is_refused(name, arguments, words):
    with pytest.raises(UserError, match=words):
        run(name, **arguments)


def test_whole_numbers_may_be_written_as_floats():
    assert run("add_days", start_date="2026-01-01", days=3.0) == {"date": "2026-01-04"}


def test_every_local_tool_is_declared_with_its_own_arguments():
    """The schema names exactly the arguments of the function, and asks for those without a default."""
    declared = {function.name: function for function in local_functions()}
    assert declared.keys() == LOCAL_TOOLS.keys()
    for name, tool in LOCAL_TOOLS.items():
        code, schema = tool.__code__, declared[name].parameters
        names = code.co_varnames[: code.co_argcount]
        optional = len(tool.__defaults__ or ())
        assert tuple(schema["properties"]) == names, name
        assert tuple(schema["required"]) == names[: len(names) - optional], name
        defaults = tuple(schema["properties"][n]["default"] for n in names[len(names) - optional :])
        assert defaults == (tool.__defaults__ or ()), name


@pytest.mark.parametrize("rate", [0, 1e-9, 0.001, 99])
def test_extreme_rates_stay_finite(rate):
    found = run("monthly_payment", loan_amount=1e9, annual_rate=rate, years=50)["monthly_payment"]
    assert math.isfinite(found)
    assert found >= 1e9 / 600 - 0.01
