"""What a reply says that bears on empathy: counted cues with their phrases, and the measures of its shape.

The cues follow the definitions of EPITOME (Sharma et al. 2020, arXiv 2009.08441). Stock phrases ("I totally understand
your frustration") are counted as such and taken out before anything else is looked for.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path

from judges.sentences import sentences, words

MOST = 3
MOST_SENTENCES = 200
LONGEST_SENTENCE = 1_000

CUES_FILE = Path(__file__).with_name("cues.toml")
DEGREE = r"(?:(?:so|very|really|truly|deeply|totally|completely|absolutely|fully|just|do|can|certainly|such) ){0,3}"
FIRST_PERSON = frozenset(["i", "i'm", "im", "i've", "ive", "i'd", "i'll", "me", "my", "mine", "myself"])
SECOND_PERSON = frozenset(
    ["you", "your", "yours", "yourself", "you're", "you've", "you'd", "you'll", "youre", "u", "ur", "urself", "ya"]
)
THIRD_PERSON = frozenset(["he", "she", "they", "him", "her", "them", "his", "their"])


def compiled(alternatives: str) -> re.Pattern[str]:
    """One expression of lines that are alternatives, matching whole words only."""
    joined = "|".join(line for line in alternatives.strip().splitlines()).replace("{degree}", DEGREE)
    return re.compile(rf"(?<!\w)(?:{joined})(?!\w)")


def cue_patterns(section: str) -> dict[str, re.Pattern[str]]:
    """The patterns of a section of cues.toml by name; those of stock phrases are called `stock_...`."""
    texts = tomllib.loads(CUES_FILE.read_text(encoding="utf-8"))[section]
    prefix = "stock_" if section == "stock" else ""
    return {prefix + name: compiled(text) for name, text in texts.items()}


STOCK = cue_patterns("stock")
CUES = cue_patterns("cues")
PATTERNS = STOCK | CUES
STEP = cue_patterns("sentences")["step"]
WARM = ("named_feeling", "reading", "not_fault", "validation")
ENOUGH_WORDS = 40
OPENING = 3
AXIS_CUES = {
    "emotional_reaction": ("stock_sorry", "sorrow", "wish", "promise", "presence", "praise", "own_emotion"),
    "interpretation": (
        "stock_understanding", "shared_past", "same", "own_people", "reading", "named_feeling", "not_fault",
        "validation",
    ),
    "exploration": ("question", "open_question", "suggesting_question"),
}  # fmt: skip
ASKING = re.compile(
    r"\b(?:what|how|when|where|which|who|why|would|do|does|did|have|has|is|are|was|were|can|could|any|wanna|want)\b"
)
STOP_WORDS = frozenset(
    """a about after again all also am an and any are as at be because been before being but by can can't could did
    do does doesn't doing don't down each for from get gets getting give go going got had has have having he her
    hers him his how i i'd i'll i'm i've if in into is isn't it it's its just know let like make many may me might
    more most much must my need no not now of off on one only or other our out over own put really said same say
    says she should since so some something still such take tell than that that's the their them then there these
    they thing things think this those through to too up us use very want was way we well went were what when
    where which while who why will with without won't would yes you you're your yours""".split()  # noqa: SIM905
)  # fmt: skip


@dataclass(frozen=True)
class Reading:
    """A reply as the head takes it: `measures` by name, the phrases found for each cue, and the sentences that are
    embedded: the first three that are no steps, because a long answer reacts first and then explains."""

    measures: dict[str, float]
    phrases: dict[str, tuple[str, ...]]
    said: tuple[str, ...]

    def evidence(self, axis: str) -> list[str]:
        """The phrases that bear on an axis."""
        return [phrase for name in AXIS_CUES[axis] for phrase in self.phrases.get(name, ())]


def read(post: str, reply: str) -> Reading:
    """The cues and the shape of a reply to a post; stock phrases are counted, and nothing else sees them."""
    spoken = reply_sentences(reply)
    rest = [own for sentence in spoken if (own := without_stock(sentence)) == sentence or words(own)]
    asked = [sentence for sentence in rest if sentence.rstrip("\"')”’ ").endswith("?") and ASKING.search(sentence)]
    phrases = {name: matches(pattern, spoken) for name, pattern in STOCK.items()}
    phrases |= {name: matches(pattern, rest) for name, pattern in CUES.items()} | {"question": tuple(asked)}
    counts = {name: capped(len(phrases[name])) for name in PATTERNS}
    found = {name: texts for name, texts in phrases.items() if texts}
    return Reading(counts | shape(post, rest, asked), found, tuple((not_steps(rest) or rest)[:OPENING]))


def matches(pattern: re.Pattern[str], spoken: Sequence[str]) -> tuple[str, ...]:
    """Every phrase of the sentences that a pattern finds."""
    return tuple(found.group().strip() for sentence in spoken for found in pattern.finditer(sentence))


def without_stock(sentence: str) -> str:
    """A sentence with its stock phrases taken out."""
    for name in STOCK:
        sentence = PATTERNS[name].sub("", sentence)
    return sentence.strip()


def shape(post: str, spoken: Sequence[str], asked: Sequence[str]) -> dict[str, float]:
    """Length (up to 40 words), persons, punctuation, questions, steps, and what is shared with the post."""
    tokens = [set(words(sentence)) for sentence in spoken]
    text = " ".join(spoken)
    every = words(text)
    total = max(1, len(every))
    content, topic = stems(text), stems(post)
    warm = [sentence for sentence in not_steps(spoken) if any(PATTERNS[name].search(sentence) for name in WARM)]
    return {
        "log_words": log(1 + min(len(every), ENOUGH_WORDS)),
        "very_short": float(0 < len(every) <= 5),
        "first_person": sum(token in FIRST_PERSON for token in every) / total,
        "second_person": sum(token in SECOND_PERSON for token in every) / total,
        "speaks_of_self": capped(sum(bool(FIRST_PERSON & found) for found in tokens)),
        "share_impersonal": sum(not (FIRST_PERSON | SECOND_PERSON) & found for found in tokens) / max(1, len(tokens)),
        "speaks_to_reader": float(any(SECOND_PERSON & found for found in tokens)),
        "questions": capped(len(asked)),
        "questions_to_reader": capped(sum(bool((SECOND_PERSON | THIRD_PERSON) & set(words(s))) for s in asked)),
        "long_question": float(any(len(words(sentence)) >= 5 for sentence in asked)),
        "ends_with_question": float(bool(asked) and asked[-1] == spoken[-1]),
        "exclamations": capped(text.count("!")),
        "shared_words": capped(len(content & topic)),
        "shared_share": len(content & topic) / max(1, len(content)),
        "share_of_steps": 1 - len(not_steps(spoken)) / max(1, len(spoken)) if spoken else 0.0,
        "warm_sentences": capped(len(warm)),
        "warm_shared_words": capped(max((len(stems(sentence) & topic) for sentence in warm), default=0)),
    }


def capped(count: int) -> float:
    """A count up to three."""
    return float(min(count, MOST))


def not_steps(spoken: Sequence[str]) -> list[str]:
    """The sentences that do not tell the reader what to do ("Call ...", "Then ask ...")."""
    return [sentence for sentence in spoken if not STEP.match(sentence)]


def reply_sentences(text: str) -> list[str]:
    """Lower-case sentences with straight apostrophes; at most 200 of at most 1,000 characters."""
    plain = text.replace("’", "'").lower().strip()
    found = sentences(plain)[:MOST_SENTENCES] or [plain] * bool(plain)
    return [sentence[:LONGEST_SENTENCE] for sentence in found]


def stems(text: str) -> set[str]:
    """The content words of a text without their endings."""
    found = (word.removesuffix("'s") for word in words(text.replace("’", "'").lower()))
    return {re.sub(r"(?:ing|ed|es|s|e|y|ies)$", "", word) for word in found if word not in STOP_WORDS and len(word) > 2}


NAMES = (*PATTERNS, *shape("", [], []))
