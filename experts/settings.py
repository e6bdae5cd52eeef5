"""Checks of the settings of an objective or a mixture, with one sentence for each thing that can be wrong. `of` is the
table of the recipe's section that they stand in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from domains.errors import UserError, unknown_name

SECTION = ContextVar("SECTION", default="align")


@contextmanager
def section(name: str) -> Iterator[None]:
    """Messages name this section of the recipe."""
    before = SECTION.set(name)
    try:
        yield
    finally:
        SECTION.reset(before)


def key(name: str, of: str = "settings") -> str:
    """A recipe's key as a user writes it."""
    return ".".join(part for part in (SECTION.get(), of, name) if part)


def number(
    name: str,
    value: object,
    *,
    above: float | None = None,
    low: float = -1e9,
    high: float = 1e9,
    of: str = "settings",
) -> None:
    """Refuse what is not a number in the range."""
    fits = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
    if not fits or (above is not None and isinstance(value, int | float) and value <= above):
        limits = f"above {above:g}" if above is not None else f"of at least {low:g}" if low > -1e9 else ""
        limits += f"{' and' if limits else ''} at most {high:g}" if high < 1e9 else ""
        raise UserError(f"{key(name, of)} is {value!r}; give a number {limits}.")


def whole(name: str, value: object, *, low: int = 0, of: str = "settings") -> None:
    """Refuse what is not a whole number of at least `low`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < low:
        raise UserError(f"{key(name, of)} is {value!r}; give a whole number of at least {low}.")


def flag(name: str, value: object, of: str = "settings") -> None:
    """Refuse what is neither true nor false; a text such as "false" would count as true."""
    if not isinstance(value, bool):
        raise UserError(f"{key(name, of)} is {value!r}; give true or false.")


def choice(name: str, value: str, allowed: Iterable[str], of: str = "settings") -> None:
    """Refuse a word that is not one of those allowed."""
    if value not in tuple(allowed):
        raise unknown_name(key(name, of), str(value), tuple(allowed))
