"""Judged text is data: it is cleaned, quoted line by line and put between markers that nobody can know beforehand.

The random mark keeps a text from closing its own fence; quoting each line (a form of spotlighting, arXiv 2403.14720)
keeps its lines from passing for turns or rules; control tokens of chat templates are broken, so that no tokenizer reads
them as such.
"""

from __future__ import annotations

import re
import secrets
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

MarkSource = Callable[[], str]

QUOTE = "> "
MARK_BYTES = 8
MAX_MARKS = 100

# Brackets and bars with their look-alikes: full-width, angle quotation marks, mathematical and box-drawing ones.
_OPEN = "<\uff1c\u2039\u276e\u3008\u2329\u27e8\u02c2"
_CLOSE = ">\uff1e\u203a\u276f\u3009\u232a\u27e9\u02c3"
_BAR = "|\uff5c\u2223\u01c0\u2502\u00a6"
SPECIAL_TOKEN = re.compile(
    rf"[{_OPEN}](?=[{_BAR}/\u2044\u2215\uff0f]?[\w\u2581.=-]*[{_BAR}]?[{_CLOSE}]|[{_BAR}]|/?[{_OPEN}])"
    r"|[\[\uff3b](?=[/\uff0f]?[A-Z_\uff21-\uff3a]{3,}[\]\uff3d])"
)
HIDDEN_LETTERS = "\u115f\u1160\u3164\uffa0\u034f\u17b4\u17b5"
VARIATION_SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")


@dataclass(frozen=True)
class Section:
    """A named part of what is judged: QUESTION, REFERENCE, ANSWER, ANSWER A ..."""

    name: str
    text: str


def new_mark() -> str:
    """A mark that nobody can guess: 64 random bits in hexadecimal."""
    return secrets.token_hex(MARK_BYTES)


def free_mark(texts: Iterable[str], source: MarkSource = new_mark) -> str:
    """A mark that occurs in none of the texts."""
    told = "\n".join(texts)
    for _ in range(MAX_MARKS):
        mark = source()
        if mark and mark not in told:
            return mark
    raise ValueError(f"the source of marks gave {MAX_MARKS} marks that stand in the judged text already")


def fenced(sections: Sequence[Section], mark: str) -> str:
    """The sections between markers; only the markers' lines do not begin with the quote sign."""
    return "\n\n".join(f"[{s.name} {mark}]\n{quoted(s.text)}\n[END {s.name} {mark}]" for s in sections)


def quoted(text: str) -> str:
    """The cleaned text with each of its lines quoted; every kind of line break counts."""
    return "\n".join(QUOTE + line for line in neutralised(text).splitlines()) or QUOTE.rstrip()


def neutralised(text: str) -> str:
    """The text without invisible characters, and with the control tokens of chat templates broken by a space."""
    return SPECIAL_TOKEN.sub(lambda found: found.group() + " ", visible(text)).strip()


def visible(text: str) -> str:
    """The text without control, format and other characters that are not seen; line breaks and tabs stay."""
    return "".join(shown(character) for character in VARIATION_SELECTORS.sub("", text))


def shown(character: str) -> str:
    """The character itself, nothing when it is invisible, the replacement sign when it is half of a surrogate pair."""
    if character in "\n\t" or " " <= character <= "~":
        return character
    category = unicodedata.category(character)
    if category == "Cs":
        return "\ufffd"
    if category == "Cc":
        return "\n" if character in "\r\x0b\x0c\x85" else ""
    return "" if category == "Cf" or character in HIDDEN_LETTERS else character
