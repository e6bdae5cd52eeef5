"""Whether an answer ends with the right amount: its last number against the only number of the reference.

Other than the verifier `arithmetic` it knows no formula and no marked line, only the reference and the last number with
the same sign ($ or %), or without any.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from domains.domain import Domain
from judges.verdict import Answered, Verdict

NUMBER = re.compile(r"(\$\s?)?(-?\d[\d,]*(?:\.\d+)?)(\s?(?:%|percent\b))?")


@dataclass(frozen=True)
class Judge:
    """1.0 when the last number is within `tolerance` (a share of the reference, or half a unit when that is less than
    half a hundredth of it); 0.0 when it is not or there is none; None without a number in the reference."""

    tolerance: float = 0.002

    @classmethod
    def for_domain(cls, domain: Domain | None) -> Judge:
        """The same for every domain."""
        return cls()

    def __call__(self, rows: Sequence[Answered]) -> list[Verdict]:
        """One verdict per row."""
        return [self.judge(row) for row in rows]

    def judge(self, row: Answered) -> Verdict:
        """The verdict on one row."""
        wanted = numbers(row.reference or "")
        if len(wanted) != 1:
            return Verdict(None, "Unscored: the reference has no single amount.")
        (value, sign), given = wanted[0], numbers(row.answer)
        alike = [found for found, its in given if its == sign] or [found for found, its in given if not its]
        if not alike:
            return Verdict(0.0, f"No amount is given; {row.reference} is right.", {"given": None})
        right = abs(alike[-1] - value) <= max(self.tolerance * abs(value), min(0.5, 0.005 * abs(value)))
        return Verdict(float(right), f"{alike[-1]:,g} is given; {row.reference} is right.", {"given": alike[-1]})


def numbers(text: str) -> list[tuple[float, str]]:
    """The numbers of a text with their sign: $, % or nothing."""
    return [
        (float(match[2].replace(",", "")), "$" if match[1] else "%" if match[3] else "")
        for match in NUMBER.finditer(text)
    ]
