"""Exact and near duplicates of documents and paragraphs, over the whole corpus, with an index on disk.

MinHash (Broder 1997) by datasketch over five-word shingles; candidates by banding (Leskovec et al., Mining of Massive
Datasets, section 3.4), then the estimated Jaccard similarity decides. The signatures are made file by file, in
parallel. Texts whose numbers differ are kept: another number is another fact. Records and tables: exact only.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from domains.blocks import Block

SHINGLE_WORDS = 5
PERMUTATIONS = 64
BANDS = 16
MIN_WORDS = 20
EXACT_CHARACTERS = 40
WORD = re.compile(r"\w+")
NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Mark:
    """What identifies a text: digests of its words and of its numbers, and a MinHash signature (empty if short)."""

    exact: str
    numbers: str
    signature: str = ""


class Marker:
    """The mark of any number of blocks, in constant memory. `near`: with a signature."""

    def __init__(self, near: bool = True) -> None:
        self.words, self.numbers = hashlib.blake2b(digest_size=16), hashlib.blake2b(digest_size=16)
        self.signature = empty_minhash().copy() if near else None
        self.num_words = 0

    def add(self, block: Block) -> None:
        """Add a block; no shingle reaches from one block into the next."""
        words = WORD.findall(block.text.lower())
        self.num_words += len(words)
        self.words.update("".join(f"{word} " for word in words).encode())
        self.numbers.update("".join(f"{number} " for number in NUMBER.findall(block.text)).encode())
        if self.signature is not None and words:
            places = range(max(1, len(words) - SHINGLE_WORDS + 1))
            shingles = {" ".join(words[place : place + SHINGLE_WORDS]) for place in places}
            self.signature.update_batch([shingle.encode() for shingle in shingles])

    def mark(self) -> Mark:
        """The mark of what was added."""
        signature = ""
        if self.signature is not None and self.num_words >= MIN_WORDS:
            signature = np.asarray(self.signature.hashvalues).astype("<u4").tobytes().hex()
        return Mark(self.words.hexdigest(), self.numbers.hexdigest(), signature)


def mark_of(block: Block) -> Mark:
    """The mark of one block; only prose has near duplicates."""
    marker = Marker(near=block.kind == "text")
    marker.add(block)
    return marker.mark()


@cache
def empty_minhash() -> Any:
    """A signature of nothing, with its permutations made once in a process."""
    from datasketch import MinHash
    from xxhash import xxh32_intdigest

    return MinHash(num_perm=PERMUTATIONS, hashfunc=xxh32_intdigest)


class DuplicateIndex:
    """Marks seen so far, in a database file: a corpus may have more paragraphs than memory. `thresholds`: by level."""

    def __init__(self, path: Path, thresholds: Mapping[str, float]) -> None:
        path.unlink(missing_ok=True)
        self.thresholds = thresholds
        self.database = sqlite3.connect(path, isolation_level=None)
        for statement in (
            "PRAGMA journal_mode=OFF",
            "PRAGMA synchronous=OFF",
            "PRAGMA cache_size=-2000",
            "BEGIN",
            "CREATE TABLE exact (level TEXT, digest TEXT, owner TEXT, PRIMARY KEY (level, digest)) WITHOUT ROWID",
            "CREATE TABLE near (id INTEGER PRIMARY KEY, numbers TEXT, signature BLOB, owner TEXT)",
            "CREATE TABLE band (key TEXT, id INTEGER, PRIMARY KEY (key, id)) WITHOUT ROWID",
        ):
            self.database.execute(statement)

    def __enter__(self) -> DuplicateIndex:
        return self

    def __exit__(self, *_: object) -> None:
        self.database.close()

    def seen(self, level: str, mark: Mark, owner: str) -> tuple[str, str] | None:
        """Why a text is a duplicate (`exact` or `near`) and of whose text; None when it is new, and then it is kept."""
        query = "SELECT owner FROM exact WHERE level=? AND digest=?"
        found = self.database.execute(query, (level, mark.exact)).fetchone()
        if found:
            return "exact", str(found[0])
        near = self.nearest(level, mark)
        if near:
            return "near", near
        self.database.execute("INSERT INTO exact VALUES (?, ?, ?)", (level, mark.exact, owner))
        if mark.signature:
            row = (mark.numbers, bytes.fromhex(mark.signature), owner)
            place = self.database.execute(
                "INSERT INTO near (numbers, signature, owner) VALUES (?, ?, ?)", row
            ).lastrowid
            keys = ((key, place) for key in bands(level, mark.signature))
            self.database.executemany("INSERT OR IGNORE INTO band VALUES (?, ?)", keys)
        return None

    def nearest(self, level: str, mark: Mark) -> str:
        """The owner of the first text at or over the threshold with the same numbers, empty when there is none."""
        if not mark.signature:
            return ""
        keys = list(bands(level, mark.signature))
        query = (
            "SELECT DISTINCT near.id, numbers, signature, owner FROM band JOIN near ON near.id = band.id "
            f"WHERE key IN ({','.join('?' * len(keys))}) ORDER BY near.id"
        )
        own = np.frombuffer(bytes.fromhex(mark.signature), "<u4")
        for _, numbers, signature, owner in islice(self.database.execute(query, keys), 200):
            similar = float(np.mean(own == np.frombuffer(signature, "<u4"))) >= self.thresholds[level]
            if similar and numbers == mark.numbers:
                return str(owner)
        return ""


def bands(level: str, signature: str) -> Iterator[str]:
    """The keys under which a signature is found: a match in any band makes a candidate."""
    width = len(signature) // BANDS
    for number in range(BANDS):
        yield f"{level}{number}:{signature[number * width : (number + 1) * width]}"


def is_compared(block: Block) -> bool:
    """Blocks long enough that a repetition means something; headings and code repeat lawfully."""
    return block.kind in {"text", "row", "table"} and len(block.text) >= EXACT_CHARACTERS
