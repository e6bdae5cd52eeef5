"""The one error that a person can act on; everything else is a bug."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """The user can fix it: the text says what was given, what is allowed and what to do next. `field`: the field of a
    request that it is about, where there is one."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


def unknown_name(kind: str, given: str, allowed: Iterable[str]) -> UserError:
    """A UserError for a name that is not in a list, naming the nearest one."""
    names = sorted(allowed)
    near = difflib.get_close_matches(given, names, n=1, cutoff=0.5)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return UserError(f"There is no {kind} '{given}'.{hint} Available: {', '.join(names) or 'none'}.")
