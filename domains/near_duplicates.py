"""Near-duplicate search by word shingles: exact Jaccard over candidate pairs that share a shingle."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

SHINGLE_WORDS = 4
THRESHOLD = 0.5


@dataclass(frozen=True)
class NearDuplicate:
    """Two texts and the share of their word shingles that they have in common (0..1)."""

    first: str
    second: str
    similarity: float


def shingles(text: str, size: int = SHINGLE_WORDS) -> frozenset[str]:
    """Lower-case word n-grams; a text shorter than n words is one shingle."""
    words = re.findall(r"[a-z0-9']+", text.lower())
    if len(words) <= size:
        return frozenset([" ".join(words)]) if words else frozenset()
    return frozenset(" ".join(words[i : i + size]) for i in range(len(words) - size + 1))


def near_duplicates(texts: Mapping[str, str], threshold: float = THRESHOLD) -> list[NearDuplicate]:
    """All pairs of ids whose shingle Jaccard similarity reaches `threshold`, most similar first."""
    sets = {key: shingles(text) for key, text in texts.items()}
    holders: dict[str, list[str]] = defaultdict(list)
    shared: Counter[tuple[str, str]] = Counter()
    for key, grams in sets.items():
        for gram in grams:
            shared.update((other, key) for other in holders[gram])
            holders[gram].append(key)
    found = [NearDuplicate(a, b, common / (len(sets[a]) + len(sets[b]) - common)) for (a, b), common in shared.items()]
    return sorted((d for d in found if d.similarity >= threshold), key=lambda d: -d.similarity)
