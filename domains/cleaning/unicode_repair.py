"""Unicode repair with ftfy: mojibake, ligatures, wide forms, control characters, line ends, soft hyphens."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import replace

from ftfy import TextFixerConfig, fix_text

from domains.blocks import Block
from domains.cleaning import Change, Cleaned, FileContext

CONFIG = TextFixerConfig(unescape_html=True, uncurl_quotes=False, normalization="NFC")
CLEAN_ASCII = re.compile(r"[\t\n -%'-~]*")  # printable, no ampersand (it may start an HTML entity)
JOINED = (  # Arabic, Indic and like scripts, and emoji, are written with joiners
    "\u0600-\u08ff\u0900-\u0dff\u0f00-\u109f\u1780-\u18af\ufb50-\ufdff\ufe0f\ufe70-\ufefc"
    "\u2600-\u27bf\U0001f000-\U0001faff"
)
JOINERS = re.compile(f"(?<![{JOINED}])[\u200c\u200d]")
INVISIBLE = re.compile("[\u00ad\u200b\u2060\ufeff\ufffd\ufffe\uffff]")
SPACES = re.compile("[\u00a0\u2000-\u200a\u202f\u205f\u3000]")


def clean(blocks: Sequence[Block], context: FileContext) -> Cleaned:
    """Repair each block; one that is empty afterwards is removed."""
    kept, changes = [], []
    for block in blocks:
        text = repaired(block.text)
        if text.strip():
            kept.append(block if text == block.text else replace(block, text=text))
        if text != block.text:
            reason = "repaired" if text.strip() else "nothing left"
            changes.append(Change("changed" if text.strip() else "removed", reason, *around(block.text, text)))
    return Cleaned(tuple(kept), tuple(changes))


def repaired(text: str) -> str:
    """The text as its author meant it; plain ASCII costs nothing."""
    if CLEAN_ASCII.fullmatch(text):
        return text
    fixed = SPACES.sub(" ", JOINERS.sub("", INVISIBLE.sub("", fix_text(text, CONFIG))))
    return "".join(c for c in fixed if c in "\n\t" or unicodedata.category(c) not in {"Cc", "Co", "Cs"})


def around(before: str, after: str) -> tuple[str, str]:
    """The neighbourhood of the first difference, before and after."""
    place = next((n for n, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), len(after))
    start = max(0, place - 30)
    return before[start : place + 50], after[start : place + 50]
