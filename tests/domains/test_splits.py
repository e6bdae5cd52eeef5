"""Splits by hash of the id."""

import hashlib
from collections import Counter

import pytest

from domains.splits import DEV_SHARE, TRAIN_SHARE, first_in_split_of, split_of


def test_shares():
    """10,000 ids: the standard error of a share is at most 0.005, so 0.02 is four of them."""
    counts = Counter(split_of(f"row-{i}") for i in range(10_000))
    shares = {name: count / 10_000 for name, count in counts.items()}
    assert shares == pytest.approx({"train": TRAIN_SHARE, "dev": DEV_SHARE, "test": 0.25}, abs=0.02)


def test_the_rule_by_hand():
    """The first 8 bytes of SHA-256 as a fraction: below .6 train, below .75 dev, else test."""
    for row_id in ("a", "mortgage-qa-001", "", "é"):
        fraction = int(hashlib.sha256(row_id.encode()).hexdigest()[:16], 16) / 16**16
        expected = "train" if fraction < 0.6 else "dev" if fraction < 0.75 else "test"
        assert split_of(row_id) == expected


def test_a_name_in_the_split_of_a_row():
    names = [f"n{i}" for i in range(99)]
    for row_id in ("a", "b", "c", "d", "e", "f"):
        found = first_in_split_of(row_id, iter(names))
        assert found == next(name for name in names if split_of(name) == split_of(row_id))
    assert first_in_split_of("a", ["a", "b"]) == "a"
