"""People's names: by cue words (titles, labels, `my name is`, relations), and by pairs of a listed first and last name.

A first name alone is replaced only where the same file gives it with a last name, or after a cue.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache

from domains.pii.allowed import EPONYM_AFTER, PUBLIC_NAMES, WORDS, is_common

LOCALES = (
    "en_US", "en_GB", "en_IE", "en_IN", "en_KE", "en_NG", "en_NZ", "en_PK", "es_ES", "es_MX", "fr_FR", "de_DE",
    "it_IT", "nl_NL", "pt_BR", "yo_NG", "ig_NG", "ha_NG", "zu_ZA", "sv_SE", "no_NO", "da_DK", "hr_HR",
)  # fmt: skip
MORE_LAST = frozenset(WORDS["last_names"].split())
MORE_FIRST = frozenset(WORDS["first_names"].split())
AMBIGUOUS_FIRST = frozenset(WORDS["ambiguous_first_names"].split())
WORD = r"[A-ZÀ-ÖØ-Þ][\w’']*[\w](?:-[A-ZÀ-ÖØ-Þ]\w+)?"
PARTICLES = frozenset(WORDS["particles"].split())
PARTICLE = (
    r"(?:de la|de los|della|de|del|da|dos|di|du|van der|van den|van de|van|von der|von|zu|ter|ten|bin|ibn|al|el|la|le|"
    r"St\.)"
)
LEADING = (
    r"(?:(?:[Dd]e(?: la| los)?|[Dd]el(?:la)?|[Dd][aiu]|[Vv]an(?: der| den| de| het)?|[Vv]on(?: der)?|[Tt]e[rn]|[Zz]u|"
    r"[Bb]in|[Ii]bn|[Aa]l|[Ee]l|L[ae])[ \t]+)?"
)
NAME = rf"(?:{WORD}|[A-Z]\.?(?=\s))(?:[ \t]+(?:{PARTICLE}[ \t]+)?(?:{WORD}|[A-Z]\.(?=\s)|[A-Z](?=\s[A-Z]))){{0,3}}"
CAPITALIZED = re.compile(rf"\b{WORD}")
SEQUENCE = re.compile(rf"\b{NAME}(?:,?\s(?:Jr|Sr|III|II|IV)\b\.?)?")
REVERSED = re.compile(rf"\b(?P<last>{WORD}),[ \t]+(?P<first>{WORD})(?:[ \t]+[A-Z]\b\.?)?")
TITLED = re.compile(
    rf"\b(?:Mr|Mrs|Ms|Mx|Miss|Dr|Prof|Rev|Fr|Sr|Sgt|Capt|Lt|Col|Hon|Judge|Nurse|Pastor|Rabbi|Imam|Sister)"
    rf"\b\.?[ \t]+(?P<name>{LEADING}{NAME})"
)
LABEL = (
    r"(?:full |first |last |middle |maiden |legal |given |sur|customer |client |patient |borrower |co-?borrower |"
    r"account |card)?"
    r"(?:holder(?:'s)? )?names?|(?:co-?)?borrowers?|(?:co-?)?applicants?|patients?|clients?|customers?|members?|"
    r"contacts?|"
    r"(?:emergency|primary) contact|attn|attention|caregivers?|signed(?: by)?|signature|from|to|cc|prepared (?:by|for)|"
    r"loan officer|(?:listing )?agent|beneficiary|spouse|owners?|tenants?|insured|employee|guardian|account holder|"
    r"cardholder|witness|trustor|grantor|grantee|seller|buyer|next of kin|author|reported by|"
    r"submitted by|daughter|son|wife|husband"
)
LABELED = re.compile(
    rf"(?i:(?:(?<=^)|(?<=[\s(|;,>*])){{0}}\b(?:{LABEL})(?:[ _]?name)?\**\s*[:=]\**\s*)(?P<name>{LEADING}{NAME})"
)
FIELD = re.compile(
    r"(?i:\b\w*(?:first|last|full|middle|borrower|customer|client|patient|contact|owner|given|sur|user)"
    rf"[ _]?name\s*[:=]\s*)(?P<name>{NAME})"
)
SPOKEN = re.compile(
    rf"\b(?i:my name is|my name's|name is|named|i am called|this is|i am|i'm|i’m|signed by|"
    rf"spoke (?:with|to)|speaking (?:with|to)|"
    rf"ask for|met with|on behalf of|care of|c/o|payable to|belongs? to|guardian of|estate of|contact|dear|hi|"
    rf"hello|thanks,|"
    rf"sincerely,|regards,|respectfully,|yours truly,|love,|cheers,|thank you,)[ \t]*\n?[ \t]*(?P<name>{NAME})"
)
RELATION = re.compile(
    r"\b(?i:my|his|her|their|our|the patient's|the borrower's)\s+(?i:late |older |younger |elderly |little |big |step)?"
    r"(?i:mother|father|mom|dad|"
    r"husband|wife|spouse|partner|sister|brother|son|daughter|aunt|uncle|cousin|niece|nephew|grand(?:mother|father|ma|pa|son|daughter)|"
    rf"neighbor|friend|boss|landlord|tenant|client|patient|nurse|doctor|aide|caregiver|boyfriend|girlfriend|fianc[eé]e?),?\s+(?P<name>{NAME})"
)
ROLE = re.compile(
    r"\b(?i:(?:co-)?borrower|(?:co-)?applicant|tenant|client|patient|agent|seller|buyer|trustee|executor|landlord|"
    r"homeowner|notary|"
    r"counselor|nurse|aide|caregiver|resident|(?:policy|account) ?holder|beneficiary|veteran|widow|owner|witness|"
    rf"attorney|manager|processor|underwriter|appraiser),?\s+(?i:(?:is|was|named)\s+)?(?P<name>{WORD}[ \t]+{NAME})"
)
PERSON = (
    r"(?:co-?)?borrowers?|(?:co-?)?applicants?|patients?|clients?|customers?|members?|residents?|tenants?|caregivers?|"
    r"employee|spouse|guardian|beneficiary|witness|veteran|insured|"
    r"(?:full |last |patient |borrower |client |customer )?names?|"
    r"mother|father|daughter|son|wife|husband|nurse|aide|doctor|buyer|seller|landlord|homeowner|trustee|executor"
)
TOLD_REVERSED = re.compile(
    rf"\b(?i:{PERSON})(?P<told>\**\s*[:=]\**|,?[ \t]+(?:is|was|named))?[ \t]+"
    rf"(?P<name>(?P<last>{LEADING}{WORD}),[ \t]+(?P<first>{WORD})(?:[ \t]+[A-Z]\b\.?)?)"
)
COUPLE = re.compile(rf"\b(?P<name>{WORD})(?=,? (?:and|&) (?P<other>{WORD})[ \t]+(?P<last>{WORD}))")
STRONG = (ROLE, TITLED, LABELED, FIELD, SPOKEN, RELATION)
SUFFIXES = frozenset(["Jr", "Sr", "II", "III", "IV"])
SUFFIX = re.compile(r",?\s(?:Jr|Sr|III|II|IV)\b\.?$")


@dataclass(frozen=True)
class Lists:
    """Listed names, in lower case."""

    first: frozenset[str]
    last: frozenset[str]


@cache
def lists() -> Lists:
    """First and last names of Faker's locales in Latin letters, and ours."""
    people = [importlib.import_module(f"faker.providers.person.{name}").Provider for name in LOCALES]
    keys = ("first_names", "first_names_male", "first_names_female")
    first = {name for person in people for key in keys for name in getattr(person, key, ())} | MORE_FIRST
    last = {name for person in people for name in getattr(person, "last_names", ())} | MORE_LAST
    return Lists(frozenset(n.lower() for n in first if len(n) > 1), frozenset(n.lower() for n in last if len(n) > 1))


def learn_names(text: str, known: dict[str, str]) -> list[tuple[int, int]]:
    """Places of names (start, end) that the text itself shows; their words are added to `known`."""
    found = [*strong_names(text), *listed_names(text), *reversed_names(text), *told_reversed(text), *couples(text)]
    for start, end in found:
        remember(text[start:end], known)
    return found


def known_names(text: str, known: dict[str, str]) -> Iterator[tuple[int, int]]:
    """Places of words of names that were given in full elsewhere."""
    for match in CAPITALIZED.finditer(text):
        word = match.group().removesuffix("'s").removesuffix("’s")
        if word.replace("’", "'") in known and not EPONYM_AFTER.match(text[match.end() : match.end() + 40]):
            yield match.start(), match.start() + len(word)


def strong_names(text: str) -> Iterator[tuple[int, int]]:
    """Names after a cue: nothing has to be listed, but no word may be an ordinary one."""
    for pattern in STRONG:
        if pattern in (LABELED, FIELD) and ":" not in text and "=" not in text:
            continue
        for match in pattern.finditer(text):
            start, end = trimmed(text, *match.span("name"))
            words = text[start:end].split()
            if (
                words
                and not is_weak(pattern, words, end < match.end("name"))
                and not refused(text, start, end, titled=pattern is TITLED)
            ):
                yield start, end


def is_weak(pattern: re.Pattern[str], words: list[str], cut: bool) -> bool:
    """One word after a cue of speech has to be a listed first name, and no ordinary word such as in `Grace Period`."""
    if len(words) > 1:
        return False
    return pattern is ROLE or pattern is SPOKEN and (not is_first(words[0]) or cut and words[0] in AMBIGUOUS_FIRST)


def trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """The leading words of a sequence up to the first ordinary one."""
    position = start
    for word in re.finditer(r"\S+", text[start:end]):
        plain = word.group().strip(".,;:")
        listed = plain.lower() in lists().last and word.start() > 0 or plain in AMBIGUOUS_FIRST
        if is_common(plain) and not listed and plain.lower() not in {"de", "la", "el", "los"}:
            break
        position = start + word.end()
    return start, position


def listed_names(text: str) -> Iterator[tuple[int, int]]:
    """Within a capitalized sequence: a listed first name before a listed last name, or before a word that is no
    ordinary one."""
    for match in SEQUENCE.finditer(text):
        if not any(c.isspace() for c in match.group()):
            continue
        words = [(match.start() + w.start(), match.start() + w.end()) for w in re.finditer(r"\S+", match.group())]
        number = 0
        while number < len(words) - 1:
            end = full_name(text, words[number:])
            if end:
                start = words[number][0]
                if not refused(text, start, end):
                    yield start, end
                number = next((n for n, w in enumerate(words) if w[0] >= end), len(words))
            else:
                number += 1


def full_name(text: str, words: list[tuple[int, int]]) -> int:
    """The end of a full name that begins with the first word, 0 when none does."""
    texts = [text[a:b].rstrip(".,;:") for a, b in words]
    first = texts[0]
    if not is_first(first):
        sure = len(texts) > 1 and is_last(texts[1]) and not is_first(texts[1]) and not is_common(texts[1])
        return (
            words[1][0] + len(texts[1])
            if sure and len(first) > 2 and first[1:].islower() and not is_common(first)
            else 0
        )
    for number in range(1, min(len(texts), 5)):
        word = texts[number]
        if word in SUFFIXES:
            return 0
        if (
            len(word) == 1
            or number + 1 < len(texts)
            and is_first(word)
            and not is_common(texts[number + 1])
            or word.lower() in {"de", "la", "del", "van", "von", "der", "bin", "al", "los", "da"}
        ):
            continue
        listed = is_last(word)
        weak = first in AMBIGUOUS_FIRST or is_common(first)
        if listed and (not is_common(word) or not weak) or not listed and not weak and not is_common(word):
            more = number + 1 < len(texts) and is_last(texts[number + 1]) and not is_common(texts[number + 1])
            return words[number + more][0] + len(texts[number + more])
        if not is_first(word):
            return 0
    return 0


def couples(text: str) -> Iterator[tuple[int, int]]:
    """The first of two people with one last name, such as `Gail and Robert Henson`."""
    for match in COUPLE.finditer(text):
        people = [match["name"], match["other"]]
        sure = all(is_first(word) and not is_common(word) for word in people) and not is_common(match["last"])
        if sure and match["name"] not in AMBIGUOUS_FIRST:
            yield match.span("name")


def reversed_names(text: str) -> Iterator[tuple[int, int]]:
    """`Last, First` with both listed and neither ordinary."""
    for match in REVERSED.finditer(text):
        last, first = match["last"], match["first"]
        sure = is_last(last) and is_first(first) and not is_common(last) and first not in AMBIGUOUS_FIRST
        if sure and not refused(text, *match.span()):
            yield match.span()


def told_reversed(text: str) -> Iterator[tuple[int, int]]:
    """`Last, First` after a word for a person. Neither has to be listed after a colon or `is`; else one of them has."""
    for match in TOLD_REVERSED.finditer(text) if "," in text else ():
        words = [*match["last"].split(), match["first"]]
        plain = [word for word in words if word.lower() not in PARTICLES]
        listed = match["told"] or is_first(match["first"]) or is_last(words[-2])
        if listed and not any(map(is_common, plain)) and not refused(text, *match.span("name")):
            yield match.span("name")


def refused(text: str, start: int, end: int, titled: bool = False) -> bool:
    """A public name, an eponym before a word such as Act or Hospital, or a part of a longer such name."""
    name = " ".join(re.sub(r"[^\w\s]", " ", text[start:end]).lower().split())
    if not name or name in PUBLIC_NAMES or name.removesuffix(" s") in PUBLIC_NAMES:
        return True
    if EPONYM_AFTER.match(text[end : end + 40]) and not titled:
        return True
    before = text[max(0, start - 12) : start]
    return bool(re.search(r"(?:St\.|Saint|Fort|Mount|Lake|Port|&)\s$", before))


@lru_cache(maxsize=65536)
def is_first(word: str) -> bool:
    """A listed first name."""
    return any(part.lower() in lists().first for part in (word, word.split("-", maxsplit=1)[0]))


@lru_cache(maxsize=65536)
def is_last(word: str) -> bool:
    """A listed last name; of a double name, one half is enough."""
    plain = word.removesuffix("'s").removesuffix("’s")
    return any(part.lower() in lists().last for part in (plain, *plain.split("-")))


def remember(name: str, known: dict[str, str]) -> None:
    """Keep the words of a name that mean nobody else."""
    for word in re.findall(WORD, SUFFIX.sub("", name)):
        plain = word.removesuffix("'s").removesuffix("’s")
        if len(plain) > 2 and not is_common(plain) and plain not in AMBIGUOUS_FIRST and plain.lower() not in PARTICLES:
            known[plain.replace("’", "'")] = plain
