"""Whether two sentences about the same thing say the opposite: one negates what the other states, or an antonym."""

from __future__ import annotations

import re
from collections.abc import Mapping

from judges.claims import STOP_WORDS, content_stems, stem

NO_NEGATION = re.compile(
    r"\b(?:no|not) (?:later|more|less|fewer|longer|earlier|sooner|higher|lower|greater) than\b|\bnot (?:only|just)\b"
    r"|\bno matter\b|\bwhether or not\b|\bno wonder\b|\bwhy not\b|\bif not\b",
    re.IGNORECASE,
)
NEGATOR = re.compile(
    r"(?:not|never|no|none|nobody|nothing|neither|nor|cannot|without|avoid(?:s|ing)?|prohibit(?:s|ed)?|forbid(?:s|den)?"
    r"|illegal|\w+n't)"
)
CLAUSE_END = {"but", "although", "though", "unless", "because", "if", "when", "while", "until", "so", "except", "since"}
TOKEN = re.compile(r"[a-z]+(?:'[a-z]+)?|[,.;:!?()—–]", re.IGNORECASE)
SCOPE = 4
PAIRS = """
always never, before after, more less, most least, higher lower, increase decrease, raise lower, rise fall,
minimum maximum, required optional, allowed prohibited, allowed forbidden, safe dangerous, fixed adjustable,
shortage surplus, above below, early late, bright dim, loud quiet, quickly slowly, include exclude, accept refuse
"""
ANTONYMS = tuple((stem(one), stem(other)) for one, other in (pair.split() for pair in PAIRS.split(",")))


def negated_stems(sentence: str) -> frozenset[str]:
    """The content stems in the scope of a negation: the next few of its clause."""
    tokens = TOKEN.findall(NO_NEGATION.sub(" ", sentence.lower().replace("’", "'")))
    found: set[str] = set()
    left = 0
    for token in tokens:
        if NEGATOR.fullmatch(token):
            left = SCOPE
        elif token in CLAUSE_END or not token[0].isalpha():
            left = 0
        elif left and token not in STOP_WORDS:
            found.add(stem(token))
            left -= 1
    return frozenset(found)


def is_elliptical(sentence: str) -> bool:
    """A negation that leaves out what it negates ("..., while federal law does not."): nobody can tell by rules."""
    tokens = TOKEN.findall(sentence.lower().replace("’", "'"))
    pairs = zip(tokens, [*tokens[1:], "."], strict=False)
    return any(NEGATOR.fullmatch(token) and not after[0].isalpha() for token, after in pairs)


def opposite(claim: str, passage: str, weights: Mapping[str, float]) -> tuple[str, ...]:
    """The stems on which two sentences contradict each other; none when they agree. `weights`: how much a stem says."""
    return negation_conflict(claim, passage, weights) or antonym_conflict(claim, passage)


def negation_conflict(claim: str, passage: str, weights: Mapping[str, float]) -> tuple[str, ...]:
    """The shared stems that one sentence negates while the other negates nothing, where they say at least a quarter of
    what is shared. When both negate something, or one leaves out what it negates, no rule can tell."""
    shared = content_stems(claim) & content_stems(passage)
    mine, theirs = negated_stems(claim), negated_stems(passage)
    if (mine and theirs) or is_elliptical(claim) or is_elliptical(passage):
        return ()
    differ = (mine | theirs) & shared
    total = sum(weights.get(each, 1.0) for each in shared)
    return tuple(sorted(differ)) if differ and sum(weights.get(each, 1.0) for each in differ) >= total / 4 else ()


def antonym_conflict(claim: str, passage: str) -> tuple[str, ...]:
    """A pair of antonyms of which the claim has only the one and the passage only the other."""
    mine, theirs = all_stems(claim), all_stems(passage)
    for pair in ANTONYMS:
        for one, other in (pair, pair[::-1]):
            if one in mine and other not in mine and other in theirs and one not in theirs:
                return (one, other)
    return ()


def all_stems(text: str) -> frozenset[str]:
    """The stems of all words."""
    return frozenset(stem(token) for token in TOKEN.findall(text.lower().replace("’", "'")) if token[0].isalpha())
