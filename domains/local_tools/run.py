"""Runs a call of a local tool: the name must be on the allow-list and the arguments must fit the shipped schema."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from domains.errors import UserError, unknown_name
from domains.local_tools import care, dates, everyday, mortgage
from domains.tool_calls import Function, ToolCall
from domains.tool_rows import FUNCTIONS, read_functions

Tool = Callable[..., dict[str, Any]]
MORTGAGE: tuple[Tool, ...] = (
    mortgage.monthly_payment,
    mortgage.total_interest,
    mortgage.loan_from_payment,
    mortgage.debt_to_income,
    mortgage.front_end_ratio,
    mortgage.loan_to_value,
    mortgage.combined_loan_to_value,
    mortgage.monthly_escrow,
    mortgage.escrow_cushion,
    mortgage.points_break_even,
    mortgage.refinance_break_even,
    mortgage.balance_after,
    mortgage.amortization_month,
    mortgage.pmi_removal_date,
    mortgage.mortgage_insurance,
    mortgage.annual_percentage_rate,
    mortgage.affordable_price,
    mortgage.down_payment,
    mortgage.extra_payment,
    mortgage.interest_only_payment,
    mortgage.adjusted_rate,
    mortgage.prepaid_interest,
    mortgage.cash_to_close,
    mortgage.late_fee,
    mortgage.payoff_amount,
)
CARE: tuple[Tool, ...] = (
    care.medication_times,
    care.refill_date,
    care.fall_risk_score,
    care.daily_living_score,
    care.care_hours,
    care.respite_cost,
    care.care_plan_checklist,
    care.share_visits,
    care.weight_change,
    care.fluid_total,
    care.blood_pressure_average,
    care.sleep_hours,
    care.walking_speed,
    care.helpline_number,
)
EVERYDAY: tuple[Tool, ...] = (
    everyday.convert_length,
    everyday.convert_weight,
    everyday.convert_volume,
    everyday.convert_temperature,
    everyday.percent_of,
    everyday.percent_change,
    everyday.split_bill,
    everyday.savings_growth,
    everyday.scale_recipe,
    everyday.average,
    everyday.fuel_cost,
    everyday.unit_price,
    dates.days_between,
    dates.add_days,
    dates.add_months,
    dates.day_of_week,
    dates.age_on,
)
LOCAL_TOOLS: Mapping[str, Tool] = {tool.__name__: tool for tool in (*MORTGAGE, *CARE, *EVERYDAY)}


@cache
def local_functions() -> tuple[Function, ...]:
    """The declarations of the local tools, as the domain `tools` ships them."""
    return tuple(function for function in read_functions(FUNCTIONS) if function.name in LOCAL_TOOLS)


def run_local(call: ToolCall) -> dict[str, Any]:
    """What a local tool returns, JSON-like. A name that is not on the list, arguments that do not fit its schema, and
    values that have no answer are a UserError that a model or a person can act on."""
    functions = {function.name: function for function in local_functions()}
    if call.name not in functions:
        raise unknown_name("local tool", call.name, functions)
    arguments = whole(dict(call.arguments))
    problems = functions[call.name].problems(arguments)
    if problems:
        raise UserError(f"{call.name} cannot run: {problems[0]}. Correct the arguments.")
    return LOCAL_TOOLS[call.name](**arguments)


def whole(value: Any) -> Any:
    """A JSON value with 30.0 as 30: a JSON integer may be written either way, a Python one may not."""
    if isinstance(value, dict):
        return {key: whole(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [whole(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
