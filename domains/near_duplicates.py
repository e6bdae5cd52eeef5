"""Near-duplicate search by word shingles: exact Jaccard over candidate pairs that share a shingle."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
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


def has_near_duplicate(texts: Sequence[str], among: Iterable[str], threshold: float = THRESHOLD) -> list[bool]:
    """For each of `texts`, whether its shingle Jaccard similarity with any of `among` reaches `threshold`."""
    sets = [grams for text in among if (grams := shingles(text))]
    holders: dict[str, set[int]] = defaultdict(set)
    for number, grams in enumerate(sets):
        for gram in grams:
            holders[gram].add(number)
    return [is_near(shingles(text), sets, holders, threshold) for text in texts]


def is_near(
    grams: frozenset[str], sets: Sequence[frozenset[str]], holders: Mapping[str, set[int]], threshold: float
) -> bool:
    """Whether one of the sets that share a shingle with `grams` is similar enough."""
    candidates = {number for gram in grams for number in holders.get(gram, ())}
    return any(len(grams & sets[number]) >= threshold * len(grams | sets[number]) for number in candidates)


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
