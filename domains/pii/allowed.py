"""What looks personal but is public: agencies and programs, their numbers and addresses, words that follow eponyms."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

WORDS = tomllib.loads(Path(__file__).with_name("words.toml").read_text(encoding="utf-8"))
TOLL_FREE = frozenset({"800", "833", "844", "855", "866", "877", "888"})
PUBLIC_PHONES = frozenset({"2027081112", "2027081455", "2023267500", "2024354000", "2028086300", "2026221555"})
PERSONAL_BEFORE = re.compile(
    r"(?i)\b(?:my|his|her|their|reach (?:me|him|her) (?:at|on)|cell|mobile|home phone)\b[^.;\n]{0,30}$"
)
FEDERAL_ZIP = re.compile(r"\b20[2-5]\d\d(?:-\d{4})?\b")
PUBLIC_PLACES = re.compile(
    r"(?i)\b(?:1600 pennsylvania ave|1700 g st|1500 pennsylvania ave|451 (?:7th|seventh) st|600 pennsylvania ave|"
    r"7500 security b|6401 security b|550 17th st|810 vermont ave|200 independence ave|1400 independence ave|"
    r"400 (?:7th|seventh) st|2401 e st|3600 presidential|10 causeway st|one bowdoin|330 c st)"
)
PUBLIC_HANDLES = frozenset(WORDS["handles"].split())
CODE_MARKS = frozenset(WORDS["code_marks"].split())
AGENCY_BEFORE = re.compile(
    r"(?:Bureau|Department|Administration|Agency|Commission|Service|HUD|CFPB|FTC|IRS|SSA|CMS)\b[\w\s,.#]{0,50}$"
)
EPONYM_AFTER = re.compile(
    r"(?i)^(?:['’]s)?[\s-]+(?:act|law|rule|rules|loans?|grants?|banks?|bancorp|hospitals?|clinics?|university|college|"
    r"foundation|institutes?|cent(?:er|re)s?|associations?|society|inc|llc|llp|l\.l\.c|corp|corporation|company|co\b|"
    r"ltd|group|trust|funds?|mortgage|insurance|financial|capital|securities|disease|syndrome|dementia|palsy|scale|"
    r"test|index|score|criteria|method|models?|awards?|prize|day|programs?|plans?|amendment|schools?|county|building|"
    r"house|home|memorial|medical|health|library|museum|park|airport|stadium|bridge|iras?|401|procedure|maneuver|"
    r"decision|v\.|vs\.|street|avenue|boulevard|road|drive|church|& |and sons|brothers|services|partners|report|"
    r"realty|realtors|apartments|senior|care|pharmacy|residence|manor|village|estates|ratio|effect|curve|doctrine|rights|ruling|case|standard|formula|rate|tables?)"
)
PUBLIC_NAMES = frozenset(WORDS["public_names"])
COMMON = frozenset(WORDS["common"].split())


def is_public_phone(digits: str, before: str) -> bool:
    """A toll-free or listed number is an organization's, unless the words before it say that it is a person's."""
    number = digits[1:] if len(digits) == 11 and digits.startswith("1") else digits
    if number in PUBLIC_PHONES:
        return True
    return number[:3] in TOLL_FREE and not PERSONAL_BEFORE.search(before[-60:])


def is_public_place(match: re.Match[str]) -> bool:
    """An address of an agency: by its street, its ZIP code (202xx to 205xx), or the agency's name just before it."""
    text = match["value"] + match.string[match.end() : match.end() + 40]
    before = match.string[max(0, match.start() - 90) : match.start()]
    return bool(PUBLIC_PLACES.search(text) or FEDERAL_ZIP.search(text) or AGENCY_BEFORE.search(before))


def is_handle(match: re.Match[str]) -> bool:
    """A person's: not an agency's, and no decorator or tag of code, such as `@property` or `@app(`."""
    name = match["value"][1:].lower()
    called = match.string[match.end() : match.end() + 1] == "("
    return not (called or name in PUBLIC_HANDLES or name in CODE_MARKS)


def is_common(word: str) -> bool:
    """Whether a capitalized word is an ordinary word, a place or a title, rather than a name on its own."""
    return word.lower().removesuffix("'s").removesuffix("’s") in COMMON
