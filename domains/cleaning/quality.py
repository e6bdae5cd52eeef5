"""Quality rules on paragraphs, in the manner of Gopher (Rae et al. 2021, arXiv 2112.11446, table A1) and C4 (Raffel et
al. 2020, arXiv 1910.10683). Headings, tables, code and records only have to hold letters.

Gopher's rules are for whole web pages; the bounds on length are lower here, because domain documents are short.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from domains.blocks import Block
from domains.cleaning import Change, Cleaned, FileContext
from domains.cleaning.language import ENGLISH_WORDS

MIN_LETTER_SHARE = 0.4
WORD_LENGTH = (2.5, 12.0)
MAX_SYMBOL_SHARE = 0.1
MAX_REPEATED_SHARE = 0.3
LONG = 40
SPACE, LETTER = re.compile(r"\s"), re.compile(r"[^\W\d_]")
PLACEHOLDER = re.compile(r"(?i)lorem ipsum|\bjavascript\b.{0,40}\b(?:enable|disabled|required|browser)")


def clean(blocks: Sequence[Block], context: FileContext) -> Cleaned:
    """Remove paragraphs that break a rule."""
    kept, changes = [], []
    for block in blocks:
        reason = fault(block, context.settings.language)
        if reason:
            changes.append(Change("removed", reason, block.text))
        else:
            kept.append(block)
    return Cleaned(tuple(kept), tuple(changes))


def fault(block: Block, language: str) -> str:
    """The first rule that a block breaks, empty when it breaks none."""
    num_visible = len(block.text) - len(SPACE.findall(block.text))
    letters = len(LETTER.findall(block.text))
    if not letters:
        return "no letters"
    if block.kind != "text":
        return ""
    if letters < MIN_LETTER_SHARE * num_visible:
        return f"under {MIN_LETTER_SHARE:.0%} letters"
    return text_fault(block.text, block.text.split(), language)


def text_fault(text: str, words: Sequence[str], language: str) -> str:
    """The rules on words."""
    if PLACEHOLDER.search(text):
        return "placeholder or browser notice"
    if len(words) < 5:
        return ""
    mean = sum(map(len, words)) / len(words)
    if not WORD_LENGTH[0] <= mean <= WORD_LENGTH[1]:
        return f"mean word length outside {WORD_LENGTH[0]:g} to {WORD_LENGTH[1]:g}"
    if symbols(text) > MAX_SYMBOL_SHARE * len(words):
        return f"over {MAX_SYMBOL_SHARE:.0%} symbols (#, …) to words"
    return long_text_fault(words, language) if len(words) >= LONG else ""


def long_text_fault(words: Sequence[str], language: str) -> str:
    """The rules that need many words."""
    if repeated_share(words) > MAX_REPEATED_SHARE:
        return f"over {MAX_REPEATED_SHARE:.0%} of it in repeated three-word sequences"
    plain = {word.strip(".,;:()").lower() for word in words}
    return "fewer than two function words" if language == "en" and len(plain & ENGLISH_WORDS) < 2 else ""


def symbols(text: str) -> int:
    """Hashes and ellipses."""
    return text.count("#") + text.count("…") + text.count("...")


def repeated_share(words: Sequence[str]) -> float:
    """The share of three-word sequences that occurred before."""
    grams = Counter(zip(words, words[1:], words[2:], strict=False))
    return 1 - len(grams) / max(sum(grams.values()), 1)
