"""The equations that an answer writes out, and whether they hold: "320,000 x 6.75% / 12 = $1,800"."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

SIGNS = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-", "\N{FULLWIDTH ASTERISK}": "*"})
TIMES = re.compile(r"(?<=[\d%)])\s*[xX]\s*(?=[$(\d.])")
PERCENT = re.compile(r"(?<=\d)\s?(?:%|percent\b)")
MONEY = re.compile(r"\$\s?(?=[\d.])")
COMMA = re.compile(r"(?<=\d),(?=\d{3}\b)")
LEFT = re.compile(r"[-+*/^().\d\s]+$")
RIGHT = re.compile(r"^[-+*/^().\d\s]+")
SENTENCE_END = re.compile(r"(?<=[\d)])[.)]\s+(?=[\d(])")
MAX_LENGTH = 200
MAX_POWER = 1000.0
RELATIVE = 0.005

OPERATIONS: dict[type[ast.AST], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


@dataclass(frozen=True)
class Equation:
    """Two sides as they were read, and whether they come to the same."""

    left: str
    right: str
    holds: bool


def equations(text: str) -> Iterator[Equation]:
    """Every pair of sides around an equals sign of which one has an operation; sides that cannot be read are passed
    over. A percent sign counts as a hundredth, or as nothing where that is what makes the sides equal."""
    for line in normalised(text).splitlines():
        parts = re.split(r"(?<![<>!=])=(?!=)|≈", line)
        for left, right in zip(parts, parts[1:], strict=False):
            found = equation(side(LEFT, left), side(RIGHT, right))
            if found is not None:
                yield found


def normalised(text: str) -> str:
    """The text with plain operators and numbers; a percent sign becomes `/100`."""
    plain = MONEY.sub("", COMMA.sub("", TIMES.sub("*", text.translate(SIGNS))))
    return PERCENT.sub("/100", plain)


def side(pattern: re.Pattern[str], text: str) -> str:
    """The part of a text beside an equals sign that is a calculation."""
    found = pattern.search(text[-MAX_LENGTH:] if pattern is LEFT else text[:MAX_LENGTH])
    pieces = SENTENCE_END.split(found.group().strip()) if found else [""]
    piece = pieces[-1] if pattern is LEFT else pieces[0]
    return balanced(piece.rstrip("+-*/^.( ").lstrip("+*/^). "))


def balanced(text: str) -> str:
    """A side without the brackets at its ends that were opened or closed outside of it."""
    while text.count("(") > text.count(")") and text.startswith("("):
        text = text[1:].lstrip()
    while text.count(")") > text.count("(") and text.endswith(")"):
        text = text[:-1].rstrip()
    return text


def equation(left: str, right: str) -> Equation | None:
    """The equation of two sides; None when one cannot be computed or neither is a calculation."""
    first, second = values(left), values(right)
    if not first or not second or not re.search(r"\d\s*[-+*/^]", left + " ; " + right):
        return None
    return Equation(left, right, any(close(a, b) for a in first for b in second))


def values(text: str) -> list[float]:
    """What a side comes to, with percent as hundredths and, if it ends in one, as plain numbers; none if unreadable."""
    readings = {text, text.removesuffix("/100")}
    return [value for value in map(computed, sorted(readings)) if value is not None]


def computed(text: str) -> float | None:
    """The value of a calculation in plain numbers; None when it is not one."""
    try:
        tree = ast.parse(text.replace("^", "**"), mode="eval")
        return evaluated(tree.body)
    except (SyntaxError, ValueError, ArithmeticError, RecursionError, MemoryError):
        return None


def evaluated(node: ast.expr) -> float:
    """The value of a syntax tree of numbers, signs, powers and the four operations; else a ValueError."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return float(node.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -evaluated(node.operand)
    if isinstance(node, ast.BinOp):
        first, second = evaluated(node.left), evaluated(node.right)
        if isinstance(node.op, ast.Pow) and abs(second) <= MAX_POWER and first > 0:
            return float(first**second)
        if type(node.op) in OPERATIONS:
            return OPERATIONS[type(node.op)](first, second)
    raise ValueError("not a calculation")


def close(a: float, b: float) -> bool:
    """The same up to the rounding of steps in between."""
    return abs(a - b) <= RELATIVE * max(abs(a), abs(b))
