"""The checkable claims of an answer, and the content words of a text."""

from __future__ import annotations

import re
from functools import lru_cache

from judges.sentences import sentences, words

FUNCTION_WORDS = """
a about above after again all also although am an and any are as at away back be because been before being below
between both but by can cannot could did do does doing done down during each either else even ever every few for from
further get gets getting give go goes going got had has have having he her here hers herself him himself his how
however i if in into is it its itself just keep kept let like made make makes many may maybe me might more most much
must my myself need needs neither never no nor not now of off often on once one only onto or other our ours out over
own per put rather really same say says see she should since so some someone something still such take takes than that
the their theirs them themselves then there these they thing things this those though through to too try under until
up upon us usually very want was way we well were what when where whether which while who whom whose why will with
within without would yes yet you your yours yourself don't doesn't didn't isn't aren't wasn't weren't won't wouldn't
can't couldn't shouldn't haven't hasn't hadn't it's that's there's you're you've you'll they're he's she's i'm i've
i'll we're let's what's who's
"""
STOP_WORDS = frozenset(FUNCTION_WORDS.split())
ACKNOWLEDGEMENT = re.compile(
    r"^(?:oh|i(?:'m| am) (?:so |very )?sorry|i (?:hear|see|understand|know|imagine)"
    r"|you(?:'re| are) (?:not alone|doing|right)|thank|that(?:'s| is| must| sounds| feels)"
    r"|it(?:'s| is) (?:kind|okay|ok|fine|hard|normal|natural|understandable)"
    r"|(?:what|how) (?:a|an|hard|awful|kind)\b|hope|good luck|take care|of course|no wonder)"
    r"|\b(?:sounds?|feels?|stings?|hurts?|exhausting|frustrating|frightening|heartbreaking|stressful|overwhelming"
    r"|makes? sense|understandable|must be|must have been|no wonder)\b",
    re.IGNORECASE,
)
MIN_CONTENT_WORDS = 3
LONGEST_FRAGMENT = 6  # content words
NUMBER_WORD = (
    r"(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w+teen|twenty|thirty|forty|fifty|sixty|seventy"
    r"|eighty|ninety|hundred|thousand|half)"
)
NUMBER = re.compile(rf"\d|\b{NUMBER_WORD}\b", re.IGNORECASE)
FRAGMENT = re.compile(
    r"(?:(?:yes|no|normally|usually|generally|typically|about|around|only|just|in (?:most cases|general)|at|within|by"
    r"|on|in|over|after|before|for|from|under|up to|until|(?:no|not) \w+ than|at (?:least|most)|(?:more|less) than)"
    rf"[ ,]+)*(?:the )?(?:\$?\d|{NUMBER_WORD}\b)",
    re.IGNORECASE,
)
POLAR = re.compile(r"(?:yes|no)\b\s*[,:;–—-]", re.IGNORECASE)


def claims(answer: str, question: str = "") -> list[str]:
    """The sentences of an answer that say something about the world or advise something: no questions, no
    acknowledgements of a feeling, nothing of fewer than three content words (two with a number in digits; two where a
    question completes a number or a yes or no: "Six months.", "Yes, they count in full.")."""
    return [each for each in sentences(answer.replace("’", "'")) if is_checkable(each, bool(question.strip()))]


def is_checkable(sentence: str, has_question: bool = False) -> bool:
    """Whether a document could support a sentence."""
    if sentence.rstrip("\"')*”’ ").endswith("?"):
        return False
    completed = has_question and (NUMBER.search(sentence) or POLAR.match(sentence))
    if completed or re.search(r"\d", sentence):
        return len(content_stems(sentence)) >= MIN_CONTENT_WORDS - 1
    return len(content_stems(sentence)) >= MIN_CONTENT_WORDS and not ACKNOWLEDGEMENT.search(sentence)


def is_fragment(claim: str, question: str) -> bool:
    """Whether a claim says little without the question that it answers: it is short, or begins with its number."""
    if not question.strip():
        return False
    num_stems = len(content_stems(claim))
    return num_stems <= MIN_CONTENT_WORDS or (num_stems <= LONGEST_FRAGMENT and bool(FRAGMENT.match(claim)))


def asked(question: str) -> str:
    """The part of a question that asks: its sentences with a question mark, or all of it where there is none."""
    every = sentences(question.replace("’", "'"))
    return " ".join([each for each in every if each.rstrip("\"')*”’ ").endswith("?")] or every)


def content_stems(text: str) -> frozenset[str]:
    """The stems of the words that carry meaning."""
    return frozenset(stem(word) for word in words(text.lower().replace("’", "'")) if word not in STOP_WORDS)


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """A lower-case word without its inflection; crude, but the same for all forms of most words."""
    word = word.removesuffix("'s").removesuffix("'")
    if word.endswith("ies") and len(word) > 4:
        word = word[:-3] + "y"
    for ending in ("ings", "ing", "edly", "ed", "es", "s", "ly"):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            word = word[: -len(ending)]
            break
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "lsz":
        word = word[:-1]
    return word.removesuffix("e") if len(word) > 3 else word
