"""Personal data in the names of files: words stand there without sentences, in any case, parted by any mark."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from domains.pii.allowed import PUBLIC_NAMES, is_common
from domains.pii.detect import Span, find, replaced
from domains.pii.names import is_first, is_last
from domains.pii.surrogates import surrogate

WORD = re.compile(r"[^\W\d_]{2,}")
PARTS = frozenset({" ", "_", "-", "+", ".", ", "})


def safe_file_name(name: str, salt: str, keep: Sequence[str] = ()) -> str:
    """The path of a file with surrogates in the place of personal data."""
    for span in sorted(people(name), key=lambda span: -span.start):
        word = name[span.start : span.end]
        if word not in keep:
            name = name[: span.start] + surrogate("name", word.title(), salt) + name[span.end :]
    spans = find(name, {}, keep)
    return replaced(name, [span for span in spans if span.type != "name"], salt)


def people(name: str) -> Iterator[Span]:
    """The words of first names beside last names, in either order; neither is an ordinary word."""
    found: set[tuple[int, int]] = set()
    for one, other in pairwise(WORD.finditer(name)):
        if name[one.end() : other.start()] not in PARTS or is_common(one.group()) or is_common(other.group()):
            continue
        words = one.group(), other.group()
        is_public = " ".join(words).lower() in PUBLIC_NAMES
        if not is_public and any(is_first(a) and is_last(b) for a, b in (words, words[::-1])):
            found |= {one.span(), other.span()}
    yield from (Span(*place, "name") for place in sorted(found))
