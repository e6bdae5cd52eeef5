"""Train, dev and test by a hash of the row id: stable when rows are added, moved or edited."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from domains.example import Split

TRAIN_SHARE = 0.60
DEV_SHARE = 0.15


def split_of(row_id: str) -> Split:
    """The split of a row: 60% train, 15% dev, 25% test."""
    fraction = int.from_bytes(hashlib.sha256(row_id.encode()).digest()[:8], "big") / 2**64
    if fraction < TRAIN_SHARE:
        return "train"
    return "dev" if fraction < TRAIN_SHARE + DEV_SHARE else "test"


def first_in_split_of(row_id: str, names: Iterable[str]) -> str:
    """The first of some names that lies in the split of a row: a row that is made of another one leaks nothing."""
    wanted = split_of(row_id)
    return next(name for name in names if split_of(name) == wanted)
