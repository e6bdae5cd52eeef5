"""Surrogates: the same value gets the same one in the whole corpus, decided by a keyed hash (HMAC-SHA256) of the salt.

Nothing is stored, so any number of processes agree. Names map word by word: `Maria Lopez`, `Ms. Lopez` and
`Lopez, Maria` stay one person, in one family. Numbers keep their form; telephone, IP and e-mail surrogates come from
ranges reserved for examples (NANP 555-01XX, RFC 5737, RFC 3849, RFC 2606), and SSNs from the never issued 666 area.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

FORM = re.compile(r"\d|[A-Za-z]")
LEADING_ONE = re.compile(r"^1(?=\d{10}(?!\d))")
APOSTROPHES = str.maketrans("‘’ʼ", "'''")
STREETS = (
    "Alder",
    "Birch",
    "Cedar",
    "Dogwood",
    "Elder",
    "Fir",
    "Hazel",
    "Juniper",
    "Larch",
    "Myrtle",
    "Poplar",
    "Willow",
)
CITIES = ("Ashford", "Brookfield", "Clearwater", "Fairview", "Glenwood", "Hartwell", "Kingsley", "Maplewood", "Norwood")
MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]


@dataclass(frozen=True)
class Choice:
    """Repeatable choices for one value: a stream of bytes from a keyed hash."""

    key: bytes

    def number(self, limit: int, place: int = 0) -> int:
        """A number under a limit; each place has its own."""
        return int.from_bytes(hashlib.sha256(self.key + place.to_bytes(4, "big")).digest()[:8], "big") % limit

    def of(self, options: Sequence[str], place: int = 0) -> str:
        """One of the options."""
        return options[self.number(len(options), place)]


def surrogate(kind: str, value: str, salt: str) -> str:
    """What stands for a value. Values that differ only in spaces, punctuation or letter case are the same (in
    names, letter case and the form of the apostrophe), and so is a telephone number with and without its leading 1."""
    if kind == "name":
        return name_surrogate(value, salt)
    key = re.sub(r"[\W_]+", "", value).lower()
    key = LEADING_ONE.sub("", key) if kind == "phone" else key
    return MAKERS.get(kind, same_form)(value, choice(kind, key, salt))


def choice(kind: str, value: str, salt: str) -> Choice:
    """The choices for a value."""
    return Choice(hmac.new(salt.encode(), f"{kind}\0{value}".encode(), hashlib.sha256).digest())


def name_surrogate(value: str, salt: str) -> str:
    """Each word of a name by itself; initials, particles and `Jr.` keep their form, capitals stay capitals."""
    words = re.findall(r"[^\W\d_][\w’'-]*[\w]|[^\W\d_]\b|[^\w]+", value)
    return "".join(name_word(word, salt) for word in words)


def name_word(word: str, salt: str) -> str:
    """One word of a name."""
    end = next((mark for mark in ("'s", "’s") if word.endswith(mark)), "")
    plain = word.removesuffix(end)
    if not plain[:1].isupper() or plain in {"Jr", "Sr", "II", "III", "IV"}:
        return word
    chosen = choice("name", plain.lower().translate(APOSTROPHES), salt)
    if len(plain) == 1:
        return chr(ord("A") + chosen.number(26)) + end
    made = chosen.of(name_words())
    made = name_words()[(name_words().index(made) + 1) % len(name_words())] if made.lower() == plain.lower() else made
    return (made.upper() if plain.isupper() and len(plain) > 2 else made) + end


@cache
def name_words() -> tuple[str, ...]:
    """Last names that also serve as first names, from Faker's list for the United States."""
    from faker.providers.person.en_US import Provider

    from domains.pii.allowed import is_common

    return tuple(
        sorted(name for name in Provider.last_names if name.isalpha() and len(name) > 3 and not is_common(name))
    )


def same_form(value: str, chosen: Choice) -> str:
    """Every digit by a digit, every letter by a letter of the same case."""
    return FORM.sub(lambda match: same_kind(match.group(), chosen, match.start()), value)


def same_kind(character: str, chosen: Choice, place: int) -> str:
    """Another digit for a digit, a letter for a letter."""
    if character.isdigit():
        return str((int(character) + 1 + chosen.number(9, place)) % 10)
    return chr(ord("A" if character.isupper() else "a") + chosen.number(26, place))


def ssn(value: str, chosen: Choice) -> str:
    """In the area 666, which is never issued; a part of a number keeps its form."""
    digits = [c for c in value if c.isdigit()]
    if len(digits) < 9:
        return same_form(value, chosen)
    return f"666-{10 + chosen.number(90):02d}-{1000 + chosen.number(9000, 1)}"


def card(value: str, chosen: Choice) -> str:
    """Begins with 0, which no issuer has; keeps its grouping."""
    return re.sub(r"\d", "0", same_form(value, chosen), count=1)


def phone(value: str, chosen: Choice) -> str:
    """Exchange and line from 555-0100 to 555-0199; the area code is chosen too when there is one; an extension goes."""
    digits = "".join(c for c in re.split(r"(?i)x|ext", value)[0] if c.isdigit())
    if digits.startswith("0"):  # numbers that Ofcom keeps for drama
        return f"{'07700 900' if digits.startswith('07') else '020 7946 0'}{chosen.number(1000):03d}"
    line = f"555-01{chosen.number(100):02d}"
    if value.startswith("+") and not digits.startswith("1") or len(digits) < 7:
        return same_form(value, chosen)
    area = 200 + chosen.number(789, 1)
    return line if len(digits) == 7 else f"({area}) {line}" if "(" in value else f"{area}-{line}"


def email(value: str, chosen: Choice) -> str:
    """An address at a domain reserved for examples."""
    return (
        f"{chosen.of(name_words()).lower()}.{chosen.of(name_words(), 1).lower()}{chosen.number(90, 2) + 10}@example.com"
    )


def ip_address(value: str, chosen: Choice) -> str:
    """From the ranges for documentation."""
    if ":" in value:
        return f"2001:db8::{chosen.number(0xFFFF):x}:{chosen.number(0xFFFF, 1):x}"
    return f"{chosen.of(('192.0.2', '198.51.100', '203.0.113'))}.{1 + chosen.number(254, 1)}"


def address(value: str, chosen: Choice) -> str:
    """Another house, street and town; the state stays, because rules depend on it."""
    if re.match(r"(?i)p", value) and "box" in value.lower():
        return f"P.O. Box {100 + chosen.number(9000)}"
    state = re.search(r"[,\s]([A-Z]{2}|[A-Z][a-z]+(?: [A-Z][a-z]+)?)\.?(,?\s+\d{5}(?:-\d{4})?)?$", value)
    street = f"{100 + chosen.number(9000, 1)} {chosen.of(STREETS, 2)} Street" if value[:1].isdigit() else ""
    if not state or not ("," in value or state.group(2)):
        return street or chosen.of(CITIES, 3)
    town = f"{chosen.of(CITIES, 3)}, {state.group(1)}" + (
        f" {10000 + chosen.number(80000, 4)}" if state.group(2) else ""
    )
    return f"{street}, {town}" if street else town


def date_of_birth(value: str, chosen: Choice) -> str:
    """Another day in a year at most two away, in the same form."""
    day, month = 1 + chosen.number(28), 1 + chosen.number(12, 1)
    year = re.search(r"\d{4}", value)
    if not year:
        return f"{month:02d}/{day:02d}/{30 + chosen.number(60, 2)}"
    new_year = int(year.group()) + (-2, -1, 1, 2)[chosen.number(4, 2)]
    if value.startswith(year.group()):
        return f"{new_year}-{month:02d}-{day:02d}"
    return (
        f"{MONTHS[month - 1]} {day}, {new_year}"
        if re.search("[A-Za-z]", value)
        else f"{month:02d}/{day:02d}/{new_year}"
    )


def user(value: str, chosen: Choice) -> str:
    """A user name; a handle keeps its sign."""
    return ("@" if value.startswith("@") else "") + f"user{1000 + chosen.number(9000)}"


MAKERS: dict[str, Callable[[str, Choice], str]] = {
    "ssn": ssn, "card_number": card, "phone": phone, "email": email, "ip_address": ip_address, "address": address,
    "date_of_birth": date_of_birth, "url_with_user": user, "handle": user, "username": user, "password": user,
}  # fmt: skip
