"""Patterns of personal data other than names. Group `value` is what is replaced; `check` refuses look-alikes.

Rules stand in order of trust: where two overlap, the first wins. Numbers without a form of their own (accounts,
policies, records) need a cue word before them, because any number may be a statute, an amount or a form.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass

from domains.pii.allowed import is_handle, is_public_phone, is_public_place

NUMBER = re.compile(r"\d[\d-]{3}|\d{2}[ ./]\d{2}|\d[ -][A-Z]|[A-Z0-9]\d[A-Z0-9-]{2}|\b\d+ [A-Z]|(?i:pass|box|pin)")
Check = Callable[[re.Match[str]], bool]
STATES = (
    "A[KLRZ]|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|"
    "N[CDEHJMVY]|O[HKR]|P[AR]|RI|S[CD]|T[NX]|UT|V[AT]|W[AIVY]"
)
STREET = (
    "Street|St|Avenue|Ave|Road|Rd|Drive|Dr|Lane|Ln|Court|Ct|Boulevard|Blvd|Way|Place|Pl|Circle|Cir|Terrace|Ter|Trail|"
    "Trl|Parkway|Pkwy|Highway|Hwy|Square|Sq|Loop|Alley|Plaza|Pike|Crossing|Path|Cove|Ridge|Run|Row|Broadway"
)
SIDE = r"(?:NE|NW|SE|SW|[NSEW])"
HOUSE = rf"\b\d{{1,6}}[A-Z]?(?:-\d{{1,4}})?\s+(?:(?:{SIDE}|North|South|East|West)\.?\s+)?"
STREET_NAME = rf"(?:(?:[A-Z][\w'’-]*|\d{{1,3}}(?:st|nd|rd|th))\.?\s+){{1,4}}(?:{STREET})\b\.?(?:\s+{SIDE}\b\.?)?"
UNIT = r"(?:,?\s+(?:Apt|Apartment|Unit|Suite|Ste|Lot|Floor|Fl|Room|Rm|#)\.?\s*#?[\w-]+)?"
TOWN = (
    rf"(?:,?\s+[A-Z][\w.'’-]+(?:\s[A-Z][\w.'’-]+){{0,2}},?\s+(?:{STATES}|[A-Z][a-z]+(?: [A-Z][a-z]+)?)\b\.?"
    r"(?:,?\s+\d{5}(?:-\d{4})?)?)?"
)
MONTH = (
    "(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?|"
    r"Nov(?:ember)?|Dec(?:ember)?)\.?"
)
DATE = (
    rf"(?:{MONTH}\s+\d{{1,2}}(?:st|nd|rd|th)?,?\s+\d{{4}}|\d{{1,2}}(?:st|nd|rd|th)?\s+(?:of\s+)?{MONTH},?\s+\d{{4}}|"
    r"\d{1,2}[/.-]\d{1,2}[/.-](?:\d{4}|\d{2})|\d{4}-\d{2}-\d{2})"
)
NUMBER_WORD = r"(?:numbers?|num|no\.?|id|i\.d\.|code|#)"
IS = rf"\s*(?:{NUMBER_WORD}\s*(?:is|was|as|of|:|=|#|-)?|is|was|as|:|=|-)?\s*(?:#\s*)?"
ENDING = r"(?:(?:ending|ends)\s+(?:(?:in|with)\s+)?)?"
NAMED = re.compile(r"(?i)number|no\.|num\b|#|\bid\b|ending|ends|ssn|social|pin|pass|user|login")
ALSO_AMOUNTS = re.compile(r"(?i)(?:loan|mortgage|savings|checking|claim|order|group|member(?:ship)?|case|file|ref)")
A_DATE = re.compile(r"(?:19|20)\d\d(-?)(?:0[1-9]|1[0-2])\1(?:0[1-9]|[12]\d|3[01])|\d\d?-\d\d?-(?:19|20)\d\d")
YEARS = re.compile(r"(?:19|20)\d\d(?:-(?:19|20)\d\d)?")
UNIT_AFTER = re.compile(
    r"(?i)\s*(?:dollars?|usd|euros?|pounds|cents|percent|units|people|households|miles|days|years)\b"
)
MIN_NUMBER = 9
CODE = r"(?P<value>(?=[A-Z0-9-]*\d[A-Z0-9-]*\d[A-Z0-9-]*\d[A-Z0-9-]*\d)[A-Z0-9](?:[A-Z0-9]|-(?=[A-Z0-9])){3,29})\b"


@dataclass(frozen=True)
class Rule:
    """A type of personal data, its pattern, and a check on what the pattern matched."""

    type: str
    pattern: re.Pattern[str]
    check: Check = lambda match: True

    @property
    def needs(self) -> str:
        """Which of the `traits` of a text it must have for the pattern to be worth trying."""
        if self.type in {"url_with_user", "email", "handle"}:
            return "@" if self.type != "url_with_user" else "/"
        return "" if self.type in {"username", "mac_address", "ip_address"} else "number"


def traits(text: str) -> frozenset[str]:
    """Cheap facts of a text: most paragraphs have none of them, so most patterns need not be tried."""
    found = {mark for mark in "@/" if mark in text}
    if "at]" in text or "(at)" in text:
        found.add("@")
    return frozenset(found | {""} | ({"number"} if NUMBER.search(text) else set()))


def luhn(text: str) -> bool:
    """The check digit of payment cards (ISO/IEC 7812-1, annex B)."""
    digits = [int(c) for c in text if c.isdigit()]
    doubled = [d if n % 2 == 0 else sum(divmod(2 * d, 10)) for n, d in enumerate(reversed(digits))]
    return 13 <= len(digits) <= 19 and len(set(digits)) > 1 and sum(doubled) % 10 == 0


def is_iban(text: str) -> bool:
    """The check digits of an IBAN (ISO 13616): the rearranged number is 1 modulo 97."""
    plain = text.replace(" ", "")
    return len(plain) >= 15 and int("".join(str(int(c, 36)) for c in plain[4:] + plain[:4])) % 97 == 1


def is_routing(text: str) -> bool:
    """The check digit of an ABA routing number: weights 3, 7, 1 give a multiple of 10."""
    return sum(int(c) * w for c, w in zip(text, (3, 7, 1) * 3, strict=True)) % 10 == 0


def is_vin(text: str) -> bool:
    """The check digit of a North American vehicle identification number (49 CFR 565.15)."""
    values = dict(
        zip("ABCDEFGHJKLMNPRSTUVWXYZ", (1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 7, 9, *range(2, 10)), strict=True)
    )
    weights = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)
    total = sum((int(c) if c.isdigit() else values[c]) * w for c, w in zip(text, weights, strict=True))
    return text[8] == "0123456789X"[total % 11]


def is_address(text: str) -> bool:
    """A routable IP address; not `0.0.0.0`, loopback or a network mask."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_unspecified or text.startswith("255."))


def not_numbering(match: re.Match[str]) -> bool:
    """Not a section or a version that looks like an IPv4 address."""
    before = match.string[max(0, match.start() - 20) : match.start()]
    return is_address(match["value"]) and not re.search(r"(?i)(?:section|version|chapter|§|\bv|part|rule)\s*$", before)


def is_number(match: re.Match[str]) -> bool:
    """A number of something, not a date, a year, an amount or a court's docket. After words that amounts follow too
    (`a loan of`, `savings`), it needs a word such as `number`, a letter, or nine digits."""
    value, cue = match["value"], match.group()[: match.start("value") - match.start()]
    if A_DATE.fullmatch(value) and "-" in value or UNIT_AFTER.match(match.string[match.end("value") :]):
        return False
    if re.fullmatch(r"\d\d-\d{3,5}", value) and re.match(r"(?i)case", cue):
        return False
    if YEARS.fullmatch(value) and re.search(r"(?i)(?:ending|ends)\s+$", cue) and not re.match(r"(?i)s", cue):
        return False  # `a loan ending 2031`
    if NAMED.search(cue) or not (value.isdigit() or YEARS.fullmatch(value)):
        return True
    return not A_DATE.fullmatch(value) and len(value) >= (MIN_NUMBER if ALSO_AMOUNTS.match(cue) else 6)


def is_british(match: re.Match[str]) -> bool:
    """Ten or eleven digits from 01, 02 or 07 in groups; freephone and business numbers (03, 08) are public."""
    digits = "".join(c for c in match["value"] if c.isdigit())
    return len(digits) in {10, 11} and digits[1] in "127"


def private_phone(match: re.Match[str]) -> bool:
    """Not a public line."""
    digits = "".join(c for c in match["value"] if c.isdigit())
    return not is_public_phone(digits, match.string[max(0, match.start() - 60) : match.start()])


def rule(kind: str, pattern: str, check: Check = lambda match: True) -> Rule:
    """A rule from a verbose-free pattern."""
    return Rule(kind, re.compile(pattern), check)


def cued(kind: str, cue: str, value: str = CODE) -> Rule:
    """A rule whose value follows a cue word."""
    return rule(kind, rf"(?i:\b(?:{cue})\b{IS}{ENDING}){value}", is_number)


RULES: tuple[Rule, ...] = (
    rule("url_with_user", r"\b[a-z][a-z0-9+.-]{1,9}://(?P<value>[^\s/@:]+(?::[^\s/@]*)?)@[\w.-]+"),
    rule(
        "url_with_user",
        r"(?i)\b(?:[\w-]+\.)+[a-z]{2,}/(?:users?/|profiles?/|people/|in/|u/|members?/|account/|~|@)(?P<value>[\w.-]*\w)",
    ),
    rule(
        "url_with_user",
        r"(?i)\b(?:facebook|instagram|twitter|x|tiktok|venmo)\.com/(?!help\b|policies\b|legal\b)(?P<value>[\w.-]*\w)",
    ),
    rule("url_with_user", r"(?i)[?&](?:user(?:name|_?id)?|email|login|uid|customer)=(?P<value>[^\s&#)\]]*[\w])"),
    rule(
        "email", r"(?P<value>[\w.+%'-]*[\w+]\s?(?:@|\[at\]|\(at\))\s?(?:[A-Za-z0-9-]+(?:\.|\[dot\]))+[A-Za-z]{2,24})\b"
    ),
    cued("password", r"password|passcode|passphrase|\bPIN", r"(?P<value>(?=\S*\d)[^\s,;]{4,40}\b)"),
    rule("ssn", r"(?<![\d-])(?P<value>\d{3}-\d{2}-\d{4})(?![\d-])"),
    cued(
        "ssn",
        r"social security|social|ssn|ss#|itin|taxpayer identification|soc\. sec\.",
        r"(?P<value>(?:[\dXx*]{3}[ -]?[\dXx*]{2}[ -]?\d{4}|\d{4}))\b",
    ),
    cued("tax_id", r"ein|employer identification|tax id(?:entification)?|fein", r"(?P<value>\d{2}-?\d{7})\b"),
    rule(
        "iban", r"\b(?P<value>[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?)\b", lambda m: is_iban(m["value"])
    ),
    rule("card_number", r"(?<![\d.-])(?P<value>\d(?:[ -]?\d){12,18})(?![\d.-]\d)", lambda m: luhn(m["value"])),
    rule(
        "medicare_number",
        r"\b(?P<value>[1-9][A-HJ-NP-RT-Y][0-9A-HJ-NP-RT-Y]\d-?[A-HJ-NP-RT-Y][0-9A-HJ-NP-RT-Y]\d-?[A-HJ-NP-RT-Y]{2}\d{2})\b",
    ),
    rule("vin", r"\b(?P<value>[A-HJ-NPR-Z0-9]{17})\b", lambda m: is_vin(m["value"])),
    cued("vin", r"vin|vehicle identification", r"(?P<value>[A-HJ-NPR-Z0-9]{17})\b"),
    rule("mac_address", r"\b(?P<value>(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2})\b"),
    rule("ip_address", r"(?<![\w.])(?P<value>(?:\d{1,3}\.){3}\d{1,3})(?![\w]|\.\d)", not_numbering),
    rule(
        "ip_address",
        r"(?<![\w:])(?P<value>(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{1,4})(?![\w:])",
        lambda m: is_address(m["value"]),
    ),
    rule(
        "date_of_birth",
        rf"(?i)\b(?:born(?: on)?|d\.?o\.?b\.?|date[_ ]of[_ ]birth|birth[ _-]?(?:date|day)|birth)"
        rf"(?: date)?\W{{0,4}}(?:is |was |on |of )?"
        rf"(?P<value>{DATE})",
    ),
    rule(
        "address",
        rf"(?P<value>{HOUSE}{STREET_NAME}{UNIT}{TOWN})",
        lambda match: not is_public_place(match),
    ),
    rule(
        "address",
        r"(?P<value>\b(?i:P\.?\s?O\.? Box|Post Office Box)\s+\d{1,6}\b)",
        lambda match: not is_public_place(match),
    ),
    rule(
        "address",
        rf"(?P<value>\b[A-Z][a-z.'’-]+(?: [A-Z][a-z.'’-]+){{0,2}},? (?:{STATES}) \d{{5}}(?:-\d{{4}})?\b)",
        lambda match: not is_public_place(match),
    ),
    cued("routing_number", r"routing|aba|transit", r"(?P<value>\d{9})\b"),
    rule(
        "phone",
        r"(?<![\w.+-])(?P<value>(?:\+?1[\s.-]?)?(?:\([2-9]\d{2}\)\s?|[2-9]\d{2}[\s.-])[2-9]\d{2}[\s.-]\d{4}(?:\s*(?:x|ext\.?|extension)\s*\d{1,6})?)(?!\d|-\d)",
        private_phone,
    ),
    rule("phone", r"(?<![\w.])(?P<value>\+(?!1\b)(?=(?:\W?\d){8})[1-9]\d{0,2}(?:[\s.-]?\(?\d{1,4}\)?){2,5})(?![\d-])"),
    rule(
        "phone",
        r"(?i)\b(?:cell|phone|tel|telephone|mobile|call|text|fax|reach \w+)\b[^\d\n]{0,25}"
        r"(?P<value>\b(?:[2-9]\d{9}|[2-9]\d{2}[-.]\d{4}))(?![\d-])",
        private_phone,
    ),
    rule(
        "phone",
        r"(?<![\w.+-])(?P<value>(?:\(0\d{2,4}\)[ -]?|0\d{2,4}[ -])\d{3,4}(?:[ -]?\d{3,4}){0,1})(?![\d-])",
        is_british,
    ),
    rule(
        "phone", r"(?i)\b(?:cell|phone|tel|telephone|mobile|call|text|ring)\b[^\d\n]{0,25}(?P<value>\b0[127]\d{8,9})\b"
    ),
    cued("medical_record_number", r"mrn|medical record|patient(?=\s*(?:id|no|num|#))|chart(?=\s*(?:id|no|num|#))"),
    cued("medicare_number", r"medicare(?=\s*(?:id|no|num|#|claim))(?: claim)?|mbi|medicaid(?=\s*(?:id|no|num|#))|hicn"),
    cued("passport_number", r"passport"),
    cued(
        "license_number",
        r"driver['’]?s?[ _]licen[sc]e|licen[sc]e(?=\s*(?:no\.?|number|#|:))|dl(?=\s*(?:no|num|#|:))|state id",
    ),
    cued(
        "license_plate",
        r"(?:license |number )?plate",
        r"(?P<value>(?=[A-Z0-9 -]*\d)(?=[A-Z0-9 -]*[A-Z])[A-Z0-9]{1,4}[ -]?[A-Z0-9]{2,4})\b",
    ),
    cued("policy_number", r"policy|claim|member(?:ship)?|group|subscriber|insurance(?=\s*(?:id|no|num|#))"),
    cued(
        "account_number",
        r"account|acct\.?|a/c|loan|mortgage(?=\s*(?:id|no|num|#))|checking|savings|case|file|reference|ref\.?|"
        r"confirmation|customer|client|employee|borrower(?=\s*(?:id|no|num|#))|order|invoice|"
        r"card|iban|brokerage|escrow account",
        CODE + r"(?![\w,.]*%|,\d)",
    ),
    cued("username", r"user ?name|user id|login(?: name)?|screen name", r"(?P<value>(?=[\w.-]*[\d_.-]\w)[\w.-]*\w)"),
    rule("handle", r"(?<![\w@./])(?P<value>@[A-Za-z_]\w{2,30})\b", is_handle),
)
