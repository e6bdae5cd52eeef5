"""Dates (YYYY-MM-DD) and clock times (HH:MM, 24 hours) of tool arguments."""

from __future__ import annotations

import calendar
from datetime import date, timedelta
from typing import Any

from domains.errors import UserError

Result = dict[str, Any]
MINUTES_A_DAY = 24 * 60


def date_of(text: str) -> date:
    """A date; one that is not in the calendar is a UserError."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UserError(f"'{text}' is no date. Write a real one as YYYY-MM-DD.") from None


def minutes_of(text: str) -> int:
    """Minutes after midnight of HH:MM."""
    hours, _, minutes = text.partition(":")
    if not (hours.isdecimal() and minutes.isdecimal() and int(hours) < 24 and int(minutes) < 60):
        raise UserError(f"'{text}' is no time. Write HH:MM from 00:00 to 23:59.")
    return int(hours) * 60 + int(minutes)


def clock(minutes: float) -> str:
    """HH:MM of minutes after some midnight."""
    whole = round(minutes) % MINUTES_A_DAY
    return f"{whole // 60:02d}:{whole % 60:02d}"


def shifted(day: date, days: int) -> date:
    """A day so many days later; one outside the calendar is a UserError."""
    try:
        return day + timedelta(days=days)
    except OverflowError:
        raise UserError(f"{days} days from {day} is outside the calendar. Give fewer days.") from None


def months_after(day: date, months: int) -> date:
    """The same day so many months later, or the last day of a shorter month."""
    place = day.year * 12 + day.month - 1 + months
    year, month = place // 12, place % 12 + 1
    if not 1 <= year <= 9999:
        raise UserError(f"{months} months from {day} is outside the calendar. Give fewer months.")
    return date(year, month, min(day.day, calendar.monthrange(year, month)[1]))


def days_between(start_date: str, end_date: str) -> Result:
    """end - start in days; negative when the end comes first."""
    return {"days": (date_of(end_date) - date_of(start_date)).days}


def add_days(start_date: str, days: int) -> Result:
    """A date some days later (negative: earlier)."""
    return {"date": shifted(date_of(start_date), days).isoformat()}


def add_months(start_date: str, months: int) -> Result:
    """A date some months later (negative: earlier)."""
    return {"date": months_after(date_of(start_date), months).isoformat()}


def day_of_week(on_date: str) -> Result:
    """The English name of the day."""
    return {"day": calendar.day_name[date_of(on_date).weekday()]}


def age_on(birth_date: str, on_date: str) -> Result:
    """Whole years: one less before the birthday of the year."""
    born, day = date_of(birth_date), date_of(on_date)
    if day < born:
        raise UserError(f"{on_date} is before the birth date {birth_date}. Give a later date.")
    return {"years": day.year - born.year - ((day.month, day.day) < (born.month, born.day))}
