"""Planning aids for caregivers. Published scales only as a sum of their items: no diagnosis and no dose."""

from __future__ import annotations

from typing import Any

from domains.errors import UserError
from domains.local_tools.dates import MINUTES_A_DAY, clock, date_of, minutes_of, shifted

Result = dict[str, Any]
AID_POINTS = {"none": 0, "cane_or_walker": 15, "furniture": 30}
GAIT_POINTS = {"normal": 0, "weak": 10, "impaired": 20}
MORSE_LOW, MORSE_HIGH = 25, 45
CHECKLISTS = {
    "bathing": ("Grab bars and a non-slip mat", "Water tested before each bath"),
    "falls": ("Loose rugs removed", "Night lights on the way to the bathroom"),
    "meals": ("Easy snacks and drinks within reach", "Weight noted once a month"),
    "medicines": ("One written list of all medicines", "Pill box filled once a week"),
    "night": ("Same bedtime every day", "Path to the toilet lit"),
    "wandering": ("Door chimes on", "ID bracelet and a recent photo ready"),
    "caregiver": ("One break planned each week", "A backup person named"),
}
HELPLINES = {
    "emergency": "911",
    "crisis": "988",
    "elder_services": "800-677-1116",
    "alzheimers": "800-272-3900",
}


def medication_times(first_time: str, doses: int, hours_apart: float) -> Result:
    """first + k * hours for k = 0..doses - 1; all must fall within one day of the first."""
    start, step = minutes_of(first_time), hours_apart * 60
    if step * (doses - 1) >= MINUTES_A_DAY:
        raise UserError("These doses do not fit into one day. Ask a pharmacist how to space them.")
    return {"times": [clock(start + step * k) for k in range(doses)]}


def refill_date(pills_left: int, pills_per_day: float, from_date: str, days_before: int = 7) -> Result:
    """The day on which the pills run out, and the day so many days before it to order more."""
    day = date_of(from_date)
    out = shifted(day, int(pills_left / pills_per_day))
    return {"runs_out": out.isoformat(), "order_by": max(day, shifted(out, -days_before)).isoformat()}


def fall_risk_score(
    fell_before: bool, second_diagnosis: bool, walking_aid: str, has_iv: bool, gait: str, forgets_limits: bool
) -> Result:
    """The Morse Fall Scale: 25 for a fall, 15 for a second diagnosis, 0/15/30 for the aid, 20 for an IV line, 0/10/20
    for the gait, 15 for forgetting one's limits. J. M. Morse et al., Canadian Journal on Aging 8 (1989) 366-377; the
    bands (low below 25, high from 45) are the common ones of its users."""
    points = 25 * fell_before + 15 * second_diagnosis + AID_POINTS[walking_aid]
    points += 20 * has_iv + GAIT_POINTS[gait] + 15 * forgets_limits
    band = "low" if points < MORSE_LOW else "moderate" if points < MORSE_HIGH else "high"
    return {"score": points, "band": band}


def daily_living_score(
    bathing: bool, dressing: bool, toileting: bool, transferring: bool, continence: bool, feeding: bool
) -> Result:
    """The Katz index of independence: one point for each of six activities done without help. S. Katz et al., JAMA 185
    (1963) 914-919."""
    return {"score": sum((bathing, dressing, toileting, transferring, continence, feeding)), "of": 6}


def care_hours(tasks: list[dict[str, Any]]) -> Result:
    """The sum of minutes * times a week, / 60."""
    return {"hours_per_week": round(sum(t["minutes"] * t["times_per_week"] for t in tasks) / 60, 2)}


def respite_cost(hours_per_week: float, hourly_rate: float, weeks: int) -> Result:
    """hours * rate * weeks."""
    return {"cost": round(hours_per_week * hourly_rate * weeks, 2)}


def care_plan_checklist(needs: list[str]) -> Result:
    """The points of each need, in the order given; a need named twice is listed once."""
    return {"checklist": [point for need in dict.fromkeys(needs) for point in CHECKLISTS[need]]}


def share_visits(people: list[str], days: list[str]) -> Result:
    """The days in turn: the first person has the first day, and again after the last person."""
    return {"plan": {day: people[place % len(people)] for place, day in enumerate(days)}}


def weight_change(earlier: float, now: float) -> Result:
    """100 * (now - earlier) / earlier."""
    return {"change_percent": round(100 * (now - earlier) / earlier, 1)}


def fluid_total(drinks: list[float], goal: float = 1500) -> Result:
    """The sum of the drinks and what is missing to the goal (milliliters)."""
    total = sum(drinks)
    return {"total_ml": round(total, 1), "missing_ml": round(max(0.0, goal - total), 1)}


def blood_pressure_average(readings: list[dict[str, float]]) -> Result:
    """The means of the upper and the lower values."""
    count = len(readings)
    means = {key: round(sum(reading[key] for reading in readings) / count, 1) for key in ("systolic", "diastolic")}
    return {**means, "readings": count}


def sleep_hours(bedtime: str, wake_time: str, minutes_awake: int = 0) -> Result:
    """From bedtime to the next wake time, without the minutes awake."""
    asleep = (minutes_of(wake_time) - minutes_of(bedtime)) % MINUTES_A_DAY - minutes_awake
    return {"hours": round(max(0, asleep) / 60, 2)}


def walking_speed(meters: float, seconds: float) -> Result:
    """meters / seconds."""
    return {"meters_per_second": round(meters / seconds, 2)}


def helpline_number(topic: str) -> Result:
    """A number in the United States."""
    return {"number": HELPLINES[topic]}
