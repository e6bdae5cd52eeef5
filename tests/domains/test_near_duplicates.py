"""Shingle similarity against a count by hand and against brute force."""

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domains.near_duplicates import has_near_duplicate, near_duplicates, shingles


def test_shingles_by_hand():
    assert shingles("The cat, the DOG and I") == {"the cat the dog", "cat the dog and", "the dog and i"}
    assert shingles("Two words") == {"two words"}
    assert shingles(" ... ") == frozenset()


def test_similarity_by_hand():
    """Six words have 3 shingles each; one word changed at the end leaves 2 in common: 2 / (3 + 3 - 2) = 0.5."""
    texts = {
        "a": "one two three four five six",
        "b": "one two three four five seven",
        "c": "nothing like the others here",
    }
    (found,) = near_duplicates(texts, 0.5)
    assert (found.first, found.second, found.similarity) == ("a", "b", 0.5)
    assert near_duplicates(texts, 0.51) == []


def test_equal_texts_are_found_whatever_their_case_and_punctuation():
    (found,) = near_duplicates({"a": "Is it late?", "b": "is it  LATE"})
    assert found.similarity == 1.0


def test_empty_texts_are_not_alike():
    assert near_duplicates({"a": "", "b": "..."}) == []


words = st.lists(st.sampled_from(["a", "b", "c", "d"]), min_size=1, max_size=8).map(" ".join)


@settings(deadline=None)
@given(st.lists(words, max_size=6), st.sampled_from([0.2, 0.5, 0.8]))
def test_equals_brute_force(texts, threshold):
    by_id = {str(i): text for i, text in enumerate(texts)}
    expected = {}
    for a, b in combinations(by_id, 2):
        one, two = shingles(by_id[a]), shingles(by_id[b])
        if len(one & two) / len(one | two) >= threshold:
            expected[a, b] = len(one & two) / len(one | two)
    found = {(d.first, d.second): d.similarity for d in near_duplicates(by_id, threshold)}
    assert found == pytest.approx(expected)


@settings(max_examples=50)
@given(st.lists(words, max_size=4), st.lists(words, max_size=4))
def test_near_one_of_others_is_near_in_a_pair(texts, others):
    """Brute force: a text is near when any pair with it reaches the threshold."""
    expected = [bool([1 for other in others if near_duplicates({"a": text, "b": other})]) for text in texts]
    assert has_near_duplicate(texts, others) == expected
