"""Language by py3langid (Lui and Baldwin 2012); paragraphs clearly in another language are removed.

Short paragraphs are kept, because nothing can be said of them. English with its function words skips the model.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from domains.blocks import Block
from domains.cleaning import Change, Cleaned, FileContext

MIN_LETTERS = 60
MAX_CHARACTERS = 600
MIN_PROBABILITY = 0.9
ENGLISH_WORDS = frozenset(
    [
        "the",
        "of",
        "and",
        "to",
        "in",
        "is",
        "that",
        "for",
        "it",
        "with",
        "as",
        "was",
        "on",
        "be",
        "at",
        "by",
        "this",
        "are",
        "from",
        "or",
        "an",
        "have",
        "not",
        "you",
        "your",
        "if",
        "they",
        "their",
        "which",
        "will",
        "can",
        "may",
        "must",
        "when",
    ]
)
ENGLISH_SHARE = 0.2


def clean(blocks: Sequence[Block], context: FileContext) -> Cleaned:
    """Keep the blocks in the chosen language; with no language chosen, all of them."""
    wanted = context.settings.language
    if not wanted:
        return Cleaned(tuple(blocks))
    kept, changes = [], []
    for block in blocks:
        found = wanted if block.kind in {"code", "heading"} else language_of(block.text, wanted)
        if found == wanted:
            kept.append(block)
        else:
            changes.append(Change("removed", f"language {found}", block.text))
    return Cleaned(tuple(kept), tuple(changes))


def language_of(text: str, wanted: str) -> str:
    """The ISO 639-1 code of a text; `wanted` when there is too little of it or the model is not sure."""
    if wanted == "en" and looks_english(text) or sum(map(str.isalpha, text[:MAX_CHARACTERS])) < MIN_LETTERS:
        return wanted
    language, probability = identifier().classify(text[:MAX_CHARACTERS])
    return str(language) if probability >= MIN_PROBABILITY else wanted


def looks_english(text: str) -> bool:
    """Whether enough of the first words are English function words."""
    words = re.findall(r"[^\W\d_]+", text[:MAX_CHARACTERS].lower())
    return sum(word in ENGLISH_WORDS for word in words) >= ENGLISH_SHARE * max(len(words), 1)


@cache
def identifier() -> Any:
    """The model, loaded once in a process; it gives probabilities."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def known_languages() -> frozenset[str]:
    """The codes that can be chosen."""
    return frozenset(identifier().labels)
