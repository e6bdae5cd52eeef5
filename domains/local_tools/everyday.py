"""Units, percentages and other everyday arithmetic."""

from __future__ import annotations

from typing import Any

Result = dict[str, Any]
METERS = {"mm": 0.001, "cm": 0.01, "m": 1.0, "km": 1000.0, "inch": 0.0254, "foot": 0.3048, "yard": 0.9144,
          "mile": 1609.344}  # fmt: skip
KILOGRAMS = {"g": 0.001, "kg": 1.0, "ounce": 0.028349523125, "pound": 0.45359237, "stone": 6.35029318}
LITERS = {"ml": 0.001, "liter": 1.0, "teaspoon": 0.00492892159375, "tablespoon": 0.01478676478125,
          "cup": 0.2365882365, "pint": 0.473176473, "quart": 0.946352946, "gallon": 3.785411784}  # fmt: skip
SIGNIFICANT = 6


def short(value: float) -> float:
    """A value with six significant digits."""
    return float(f"{value:.{SIGNIFICANT}g}")


def convert_length(value: float, from_unit: str, to_unit: str) -> Result:
    """Through meters; the inch is 25.4 mm exactly (NIST Handbook 44, Appendix C)."""
    return {"value": short(value * METERS[from_unit] / METERS[to_unit]), "unit": to_unit}


def convert_weight(value: float, from_unit: str, to_unit: str) -> Result:
    """Through kilograms; the pound is 0.45359237 kg exactly (NIST Handbook 44, Appendix C)."""
    return {"value": short(value * KILOGRAMS[from_unit] / KILOGRAMS[to_unit]), "unit": to_unit}


def convert_volume(value: float, from_unit: str, to_unit: str) -> Result:
    """Through liters; US measures, the gallon is 231 cubic inches (NIST Handbook 44, Appendix C)."""
    return {"value": short(value * LITERS[from_unit] / LITERS[to_unit]), "unit": to_unit}


def convert_temperature(value: float, from_unit: str, to_unit: str) -> Result:
    """Through Celsius: F = 9/5 C + 32, K = C + 273.15."""
    celsius = {"celsius": value, "fahrenheit": (value - 32) * 5 / 9, "kelvin": value - 273.15}[from_unit]
    found = {"celsius": celsius, "fahrenheit": celsius * 9 / 5 + 32, "kelvin": celsius + 273.15}[to_unit]
    return {"value": round(found, 2), "unit": to_unit}


def percent_of(percent: float, amount: float) -> Result:
    """percent * amount / 100."""
    return {"value": short(percent * amount / 100)}


def percent_change(old: float, new: float) -> Result:
    """100 * (new - old) / old."""
    return {"change_percent": round(100 * (new - old) / old, 2)}


def split_bill(total: float, people: int, tip_percent: float = 0) -> Result:
    """total * (1 + tip / 100) / people."""
    return {"each": round(total * (1 + tip_percent / 100) / people, 2)}


def savings_growth(start: float, monthly: float, annual_rate: float, years: int) -> Result:
    """start * (1 + r)^n + monthly * ((1 + r)^n - 1) / r with r = rate / 1200, n = 12 * years (deposits at the end of
    each month); start + n * monthly at r = 0."""
    r, months = annual_rate / 1200, 12 * years
    growth = (1 + r) ** months
    deposits = months * monthly if r == 0 else monthly * (growth - 1) / r
    return {"value": round(start * growth + deposits, 2)}


def scale_recipe(amounts: list[float], servings: float, wanted_servings: float) -> Result:
    """Each amount * wanted / servings."""
    return {"amounts": [short(amount * wanted_servings / servings) for amount in amounts]}


def average(numbers: list[float]) -> Result:
    """The arithmetic mean."""
    return {"average": short(sum(numbers) / len(numbers))}


def fuel_cost(miles: float, miles_per_gallon: float, price_per_gallon: float) -> Result:
    """miles / mpg * price."""
    return {"cost": round(miles / miles_per_gallon * price_per_gallon, 2)}


def unit_price(price: float, quantity: float) -> Result:
    """price / quantity."""
    return {"price_per_unit": round(price / quantity, 4)}
