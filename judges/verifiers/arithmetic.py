"""Arithmetic: a mortgage calculation is checked by computing it (formulas: domains/calculations.py).

The numbers are `facts["calculation"]` = {"kind": ..., "given": {...}}. What an answer commits to is its last line
"Answer: ..."; without one, its last sentence with a number. The right result is never said to the learner.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Literal

from domains.calculations import FORMULAS, Unit, given_numbers
from domains.domain import Domain
from domains.errors import UserError, unknown_name
from domains.readers import RowError
from judges.sentences import sentences
from judges.verifier import Condition, Critique, Task
from judges.verifiers._equations import equations
from judges.verifiers._findings import Finding, critique, passed

MARK = re.compile(r"^\W*(?:the |my |final )*(?:answer|result)\b[^\w\n$.-]*(.+)$", re.IGNORECASE | re.MULTILINE)
SAYS = re.compile(r"[=≈]|\b(?:is|are|be|comes? to|equals?|makes?)\b", re.IGNORECASE)
AMOUNT = re.compile(
    r"(?P<sign>(?<![\w)])-)?(?P<money>\$\s?)?(?P<number>\d[\d,]*(?:\.\d+)?)"
    r"(?:\s?(?P<unit>%|percent\b|dollars?\b|months?\b))?",
    re.IGNORECASE,
)
UNITS: dict[str, Unit] = {"%": "percent", "percent": "percent", "dollar": "dollars", "month": "months"}
FINEST = 1e-4
COARSEST = 1e-2
HOW: dict[Unit, str] = {"dollars": "with a $ sign", "percent": "with a % sign", "months": "in months"}


@dataclass(frozen=True)
class Amount:
    """A number as written: its value, its unit ("" without one) and the place of its last digit (0.01 for cents)."""

    value: float
    unit: str
    place: float


@dataclass(frozen=True)
class Problem:
    """What a task asks for: the right value, its unit, how it is found, and the numbers given."""

    expected: float
    unit: Unit
    method: str
    given: str


@dataclass(frozen=True)
class Verifier:
    """`hint`: what the advice on a wrong result tells: nothing more, the formula, or also the numbers for it."""

    hint: Literal["none", "formula", "numbers"] = "formula"
    name: str = "arithmetic"

    @classmethod
    def for_domain(cls, domain: Domain | None) -> Verifier:
        """The same for every domain: the numbers come with the task."""
        return cls()

    def conditions(self, task: Task) -> tuple[Condition, ...]:
        """The same four questions, with the unit of the task."""
        unit = HOW[problem_of(task).unit]
        return (
            Condition("result", "Is the result right?"),
            Condition("unit", f"Is the result given {unit}?"),
            Condition("one_result", "Does the answer commit to one result?"),
            Condition("working", "Does every calculation that is written out hold?"),
        )

    def judge(self, task: Task, conditions: Sequence[Condition], answer: str) -> Critique | None:
        """Every condition; an answer without a number meets none but has no wrong calculation either."""
        problem = problem_of(task)
        stated = committed(answer, problem.unit)
        written = list(equations(answer))
        wrong = [each for each in written if not each.holds]
        share = 1 - len(wrong) / len(written) if written else float(bool(stated))
        findings = {
            "result": passed(bool(stated) and is_right(stated[0], problem), self.advice(problem)),
            "unit": passed(bool(stated) and stated[0].unit == problem.unit, f"Write it {HOW[problem.unit]}."),
            "one_result": passed(len({each.value for each in stated}) == 1, "End with one line: Answer: the result."),
            "working": Finding(share, "; ".join(f"{each.left} is not {each.right}" for each in wrong)),
        }
        return critique(conditions, findings)

    def advice(self, problem: Problem) -> str:
        """How to find the right result, as far as the setting allows."""
        told = f"Work it out again: {problem.method}." if self.hint != "none" else "Work it out again."
        return f"{told} Given: {problem.given}." if self.hint == "numbers" else told


def problem_of(task: Task) -> Problem:
    """The calculation of a task, computed."""
    found = task.facts.get("calculation")
    if not isinstance(found, dict) or not isinstance(found.get("kind"), str):
        raise UserError(f'The task {task.id} has no calculation. Give it facts {{"calculation": {{"kind", "given"}}}}.')
    kind = str(found["kind"])
    if kind not in FORMULAS:
        raise unknown_name("kind of calculation", kind, FORMULAS)
    formula = FORMULAS[kind]
    try:
        given = given_numbers(found.get("given"), formula)
    except RowError as error:
        raise UserError(f"The task {task.id}: {error}") from None
    return Problem(formula.compute(given), formula.unit, formula.method, ", ".join(map(told, given.items())))


def told(item: tuple[str, Any]) -> str:
    """An input in words: "rate percent 6.5"."""
    name, value = item
    numbers = value if isinstance(value, tuple) else (value,)
    return f"{name.replace('_', ' ')} {' + '.join(f'{number:,g}' for number in numbers)}"


def committed(answer: str, unit: Unit) -> list[Amount]:
    """The amounts that an answer gives as its result: those in the unit where there are some."""
    marked = [found.group(1) for found in MARK.finditer(answer) if AMOUNT.search(found.group(1))]
    with_numbers = [conclusion(sentence) for sentence in sentences(answer) if AMOUNT.search(sentence)]
    lines = [re.split(r"[=≈]", line)[-1] for line in marked] or with_numbers[-1:]
    found = [amount for line in lines for amount in amounts(line)]
    return [amount for amount in found if amount.unit == unit] or [amount for amount in found if not amount.unit]


def conclusion(sentence: str) -> str:
    """What is said of the last thing that has a number: "the balance is $98,772" after "payments of $600"."""
    return [piece for piece in SAYS.split(sentence) if AMOUNT.search(piece)][-1]


def amounts(text: str) -> list[Amount]:
    """The numbers of a text with their units; a number grown together with a word ("30-year", "401k") is none."""
    found = []
    for match in AMOUNT.finditer(text):
        behind = text[match.end() :]
        if match["unit"] or not re.match(r"-?[a-z]", behind, re.IGNORECASE):
            found.append(amount(match))
    return found


def amount(match: re.Match[str]) -> Amount:
    """One number as written."""
    digits = match["number"].replace(",", "")
    unit = "dollars" if match["money"] else UNITS.get((match["unit"] or "").lower().rstrip("s"), "")
    return Amount(float(digits) * (-1 if match["sign"] else 1), unit, 10.0 ** -len(digits.partition(".")[2]))


def is_right(stated: Amount, problem: Problem) -> bool:
    """Whether a stated number is the expected one as far as its digits go: half of its last place, but at most 1% and
    at least 0.01% of the value (the rounding of steps in between). Months may be rounded up."""
    size = abs(problem.expected)
    tolerance = min(max(stated.place / 2, FINEST * size), COARSEST * size)
    close = abs(stated.value - problem.expected) <= tolerance + 1e-9
    return close or (problem.unit == "months" and stated.value == ceil(problem.expected))
