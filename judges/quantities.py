"""Numbers with their units, and whether two sentences about the same thing give different ones."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from judges.claims import STOP_WORDS, stem

ONES = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
nineteen
"""
DECADES = "twenty thirty forty fifty sixty seventy eighty ninety"
SMALL = {word: value for value, word in enumerate(ONES.split())}
TENS = {word: 10 * value for value, word in enumerate(DECADES.split(), start=2)}
SCALES = {"hundred": 100, "thousand": 1000, "million": 1_000_000, "billion": 1_000_000_000, "dozen": 12}
PARTS = {"half": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6, "eighth": 8, "tenth": 10}
BASE_UNITS = {
    "minute": ("hour", 1 / 60),
    "hour": ("hour", 1.0),
    "day": ("hour", 24.0),
    "week": ("hour", 168.0),
    "month": ("month", 1.0),
    "year": ("month", 12.0),
    "percent": ("percent", 1.0),
    "%": ("percent", 1.0),
    "point": ("point", 1.0),
    "dollar": ("dollar", 1.0),
    "mile": ("mile", 1.0),
}
UNITS = {stem(word): base for word, base in BASE_UNITS.items()}
PHONE = r"\d?-?\(?\d{3}\)?[- .]\d{3}[- .]\d{4}"
TOKEN = re.compile(
    rf"(?P<code>{PHONE}|\d+(?:/\d+)+|\d{{1,2}}:\d\d)|(?P<number>\$?\d[\d,]*(?:\.\d+)?)|(?P<word>%|[a-z]+(?:'[a-z]+)?)"
    r"|(?P<break>[.;:!?()]|,(?!\d))",
    re.IGNORECASE,
)
JOINING = {"to", "or", "and", "through"}
PASSED_OVER = "business calendar consecutive full whole more straight additional annual or about"
PASSED = frozenset(PASSED_OVER.split())
NOUNS_READ = 3
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Quantity:
    """`value` in the base unit when `unit` is a known one; otherwise `nouns` are the stems that follow the number.
    `written` is the number as it stands there. A code (telephone number, time of day, 5/6) has its text as `code`."""

    text: str
    value: float
    unit: str = ""
    nouns: frozenset[str] = frozenset()
    code: str = ""
    written: float = 0.0

    def same_kind(self, other: Quantity) -> bool:
        """Both count or measure the same thing."""
        if self.code or other.code:
            return bool(self.code and other.code) and code_shape(self.code) == code_shape(other.code)
        return self.unit == other.unit if self.unit or other.unit else bool(self.nouns & other.nouns)

    def equals(self, other: Quantity) -> bool:
        """The same number, of the same thing as far as the words tell."""
        if self.code or other.code:
            return self.code == other.code
        vague = not (self.unit or self.nouns) or not (other.unit or other.nouns)
        if vague:
            return is_close(self.written, other.written)
        return is_close(self.value, other.value) and self.same_kind(other)


def is_close(one: float, other: float) -> bool:
    """The same number up to rounding."""
    return abs(one - other) <= TOLERANCE * max(1.0, abs(one))


@dataclass(frozen=True)
class NumberWord:
    """A number in a text before its unit is read: its value and the tokens from `start` to `stop`."""

    value: float
    start: int
    stop: int
    dollars: bool = False


def code_shape(code: str) -> str:
    """A code with every digit replaced, without its leading 1-: what kind of code it is."""
    return re.sub(r"\d+", "0", re.sub(r"^1-", "", code))


def quantities(text: str) -> list[Quantity]:
    """The numbers of a text, in digits or in words, with their units."""
    tokens = [found for found in TOKEN.finditer(text.replace("’", "'"))]
    texts = [found.group().lower() for found in tokens]
    codes = [Quantity(f.group(), 0.0, code=plain_code(f.group())) for f in tokens if f.lastgroup == "code"]
    return codes + [quantity(number, texts) for number in numbers(texts, tokens) if is_counted(number, texts)]


def plain_code(text: str) -> str:
    """A telephone number however it was typed."""
    return re.sub(r"[() .]+", "-", text).strip("-").removeprefix("1-")


def numbers(texts: list[str], tokens: list[re.Match[str]]) -> Iterator[NumberWord]:
    """The numbers among tokens; number words in a row are one number."""
    place = 0
    while place < len(texts):
        found = in_digits(texts, tokens, place) or in_words(texts, place)
        if found:
            yield found
        place = found.stop if found else place + 1


def in_digits(texts: list[str], tokens: list[re.Match[str]], place: int) -> NumberWord | None:
    """A number that begins with digits: 1,200 or $1.5 million."""
    if tokens[place].lastgroup != "number":
        return None
    value, stop = float(texts[place].strip("$,").replace(",", "")), place + 1
    while stop < len(texts) and texts[stop] in SCALES:
        value, stop = value * SCALES[texts[stop]], stop + 1
    return NumberWord(value, place, stop, texts[place].startswith("$"))


def in_words(texts: list[str], place: int) -> NumberWord | None:
    """A number in words: five, twenty five, two hundred, one sixth."""
    total, current, stop = 0.0, 0.0, place
    while stop < len(texts):
        word = texts[stop]
        if word in SMALL or word in TENS:
            current += SMALL.get(word, TENS.get(word, 0))
        elif word in SCALES and stop > place:
            scale = SCALES[word]
            total, current = (total, current * scale) if scale == 100 else (total + current * scale, 0.0)
        else:
            break
        stop += 1
    if stop == place:
        return None
    if stop < len(texts) and texts[stop].removesuffix("s") in PARTS and texts[stop] != "seconds":
        return NumberWord((total + current) / PARTS[texts[stop].removesuffix("s")], place, stop + 1)
    return NumberWord(total + current, place, stop)


def is_counted(number: NumberWord, texts: list[str]) -> bool:
    """ "One" alone is mostly no number ("one of them"); before a known unit it is."""
    if texts[number.start : number.stop] != ["one"]:
        return True
    return bool(following(number.stop, texts) & UNITS.keys())


def following(place: int, texts: list[str]) -> frozenset[str]:
    """The stems of the nouns after a number; those after a second number, where it is a range ("20 to 30 minutes")."""
    if place + 1 < len(texts) and texts[place] in JOINING:
        second = in_words(texts, place + 1)
        if second or texts[place + 1].strip("$")[:1].isdigit():
            return following(second.stop if second else place + 2, texts)
    found: list[str] = []
    for text in texts[place:]:
        if text in PASSED:
            continue
        if not (text[0].isalpha() or text == "%") or text in STOP_WORDS or len(found) == NOUNS_READ:
            break
        found.append(stem(text))
        if found[-1] in UNITS:
            return frozenset({found[-1]})
    return frozenset(found)


def quantity(number: NumberWord, texts: list[str]) -> Quantity:
    """A number with the unit that follows it."""
    nouns = frozenset({"dollar"}) if number.dollars else following(number.stop, texts)
    text = " ".join(texts[number.start : number.stop + min(2, len(nouns))])
    known = next((noun for noun in nouns if noun in UNITS), "")
    if not known:
        return Quantity(text, number.value, nouns=nouns, written=number.value)
    unit, factor = UNITS[known]
    return Quantity(text, number.value * factor, unit, written=number.value)


@dataclass(frozen=True)
class NumberConflict:
    """A number of a claim, and what a passage says instead (empty: it gives none of this kind)."""

    claim: str
    passage: str


def conflicts(claim: str, aligned: str, passage: str, known: Iterable[Quantity] = ()) -> list[NumberConflict]:
    """The numbers of a claim that a passage does not have; `aligned` is its sentence about the same thing.

    Numbers in `known` (those that the person gave) need no support.
    """
    there, given = quantities(passage), list(known)
    found = []
    for number in quantities(claim):
        if any(number.equals(other) for other in (*there, *given)):
            continue
        others = [other.text for other in quantities(aligned) if number.same_kind(other)]
        found.append(NumberConflict(number.text, others[0] if others else ""))
    return found
