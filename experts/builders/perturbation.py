"""Good answers made wrong by rule, without a model: a wrong number, a dropped condition, an unsupported claim.

The claim is a sentence of another answer, so that no word gives it away. Among the same rows, the same answer
is always changed in the same way; a row that is made is not made again when others are added. Each row keeps the split
of the row that it is made from.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from domains.errors import UserError
from domains.example import SPLITS, Example, Message, Preference
from domains.splits import split_of
from experts.builders._parts import Item, Material, Skipped, Writers, preference_row
from judges.claims import claims
from judges.samples import key_of
from judges.sentences import sentences

TARGET = "preferences.jsonl"
USES_MODEL = False
NUMBER = re.compile(r"(?<![\w/:.,#-])(\$?)(\d{1,3}(?:,\d{3})+|\d+)(\.\d+)?(?![\w/:]|[.,-]\d)")
NUMBER_WORDS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "twelve", "twenty", "thirty")
NUMBER_WORD = re.compile(rf"\b(?:{'|'.join(NUMBER_WORDS)})\b")
FACTORS = (2.0, 3.0, 0.5)
CONDITION = r"if|unless|when|until|once|only if|as long as|provided(?: that)?"
LEADING = re.compile(rf"(?:(?<=[.!?] )|\A)(?:{CONDITION})\b[^,;.?!]*, *(\w)", re.IGNORECASE)
TRAILING = re.compile(rf",? (?:but )?(?:{CONDITION})\b[^,;.?!]*(?=[.;!?])", re.IGNORECASE)
MADE_HERE = "perturbation-"
POOL = 200
FIRST_YEAR, LAST_YEAR = 1900, 2100


def items(material: Material) -> list[Item]:
    """One per row that was not made here; unsupported claims come from answers of the same split."""
    rows = [row for row in material.rows if good_answer(row) and not row.id.startswith(MADE_HERE)]
    if not rows:
        raise UserError("There are no answers to change. Make pairs of another kind first, or give --rows FILE.")
    pools = {split: pool_of([row for row in rows if split_of(row.id) == split]) for split in SPLITS}
    return [item_of(row, pools[split_of(row.id)]) for row in rows]


def pool_of(rows: Sequence[Preference | Example]) -> list[Preference | Example]:
    """The rows whose answers lend claims, at most `POOL`: their ids choose them, not their order."""
    return sorted(rows, key=lambda row: key_of(row.id))[:POOL]


def item_of(row: Preference | Example, pool: Sequence[Preference | Example]) -> Item:
    """A row with the answer that lends it a claim ("" when there is no other)."""
    others = [other for other in pool if other.id != row.id]
    other = min(others, key=lambda each: key_of(row.id, each.id), default=None)
    data = {
        "prompt": [turn.as_dict() for turn in row.prompt],
        "chosen": good_answer(row),
        "split_of": row.id,
    }
    return Item(row.id, data=data, lent=good_answer(other) if other else "")


def build(item: Item, writers: Writers) -> dict[str, Any]:
    """The answer with every change that it allows."""
    chosen = item.data["chosen"]
    changed = {
        "wrong_number": wrong_number(chosen),
        "dropped_condition": dropped_condition(chosen),
        "unsupported_claim": unsupported_claim(chosen, item.lent),
    }
    rejected = {kind: text for kind, text in changed.items() if text and text != chosen}
    if not rejected:
        raise Skipped("nothing in the answer can be changed by rule.")
    prompt = [Message(turn["role"], turn["content"]) for turn in item.data["prompt"]]
    return preference_row(prompt, chosen, rejected)


def good_answer(row: Preference | Example) -> str:
    """The answer that is right."""
    return row.chosen if isinstance(row, Preference) else row.completion


def offset(text: str, below: int) -> int:
    """A number from 0 to below `below` that depends on a text alone."""
    return int(key_of(text)[:8], 16) % max(1, below)


def wrong_number(text: str) -> str | None:
    """The text with one number doubled, tripled or halved; years, telephone numbers and times are left alone."""
    found = [match for match in NUMBER.finditer(text) if is_amount(match)]
    if found:
        match = found[offset(text, len(found))]
        return text[: match.start()] + other_amount(match, offset(text + "factor", len(FACTORS))) + text[match.end() :]
    word = NUMBER_WORD.search(text)
    if word is None:
        return None
    place = NUMBER_WORDS.index(word.group())
    other = NUMBER_WORDS[(place + 1 + offset(text, len(NUMBER_WORDS) - 1)) % len(NUMBER_WORDS)]
    return text[: word.start()] + other + text[word.end() :]


def is_amount(match: re.Match[str]) -> bool:
    """Whether a number says how much: not 0, no year, no code of five or more digits without commas, no 911 or 988."""
    whole, sign = match[2], match[1]
    if sign or match[3] or "," in whole:
        return float(whole.replace(",", "") + (match[3] or "")) > 0
    value = int(whole)
    return value > 0 and len(whole) < 5 and not FIRST_YEAR <= value <= LAST_YEAR and whole not in {"211", "911", "988"}


def other_amount(match: re.Match[str], choice: int) -> str:
    """Another amount in the same form; a half that is not whole is a double instead."""
    decimals = len(match[3]) - 1 if match[3] else 0
    value = float(match[2].replace(",", "") + (match[3] or ""))
    new = value * FACTORS[choice]
    if round(new, decimals) != new or new == value:
        new = value * FACTORS[0]
    return f"{match[1]}{new:,.{decimals}f}" if "," in match[2] or new >= 10_000 else f"{match[1]}{new:.{decimals}f}"


def dropped_condition(text: str) -> str | None:
    """The text without one "if ...", "unless ...", "until ..." clause."""
    leading = LEADING.search(text)
    if leading:
        return text[: leading.start()] + leading[1].upper() + text[leading.end() :]
    trailing = TRAILING.search(text)
    return text[: trailing.start()] + text[trailing.end() :] if trailing else None


def unsupported_claim(text: str, other: str) -> str | None:
    """The text with one claim of another answer after its second sentence."""
    foreign = [claim for claim in claims(other) if claim not in text]
    own = sentences(text)
    if not foreign or len(own) < 2:
        return None
    return inserted(text, own, foreign[offset(text, len(foreign))])


def inserted(text: str, own: Sequence[str], claim: str) -> str | None:
    """A claim after the second sentence of a text."""
    end = text.find(own[1])
    if end < 0:
        return None
    end += len(own[1])
    return f"{text[:end].rstrip()} {claim.strip()}{text[end:]}"
