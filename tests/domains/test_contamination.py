"""Leakage between training and test rows: planted copies are found, shared frames and unlike texts are not."""

from __future__ import annotations

import pytest

from domains.contamination import Passage, check_domains, contamination, longest_run, passages
from domains.domain import Domain, shipped_names
from tests.fakes import write_domain

LONG = "the servicer must send the borrower a written escrow analysis once every year before the payment changes again"
OTHER = "a caregiver who has not slept for three nights should ask a neighbour for two quiet hours on a weekday"


def matches(train: list[str], *test: str) -> list:
    found = contamination(
        [Passage("train", f"t{i}", text) for i, text in enumerate(train)],
        [Passage("test", f"q{i}", text) for i, text in enumerate(test)],
    )
    return list(found.matches)


def test_a_copy_is_the_same_text_whatever_its_case_and_punctuation():
    (found,) = matches([OTHER, LONG], f"  {LONG.upper()}!! ")
    assert (found.kind, found.train_id, found.overlap) == ("same text", "t1", 1.0)


def test_a_long_shared_run_inside_other_text():
    """The first 14 words of the training row stand in a longer test row: a run of 14 is 7 shared 8-grams."""
    run = " ".join(LONG.split()[:14])
    (found,) = matches([LONG], f"{OTHER} and then {run} said the letter that nobody had read before")
    assert found.kind == "shared run"
    assert found.shared == run
    assert 0 < found.overlap < 0.5


def test_twelve_equal_words_are_not_enough():
    run = " ".join(LONG.split()[:12])
    assert matches([LONG], f"{OTHER} and then {run} said the letter that nobody had read") == []


def test_a_short_row_matches_by_half_of_its_ngrams():
    """Ten words, three 8-grams, two of them shared (nine equal words)."""
    words = LONG.split()[:9]
    (found,) = matches([LONG], " ".join([*words, "tomorrow"]))
    assert (found.kind, found.overlap) == ("shared n-grams", pytest.approx(2 / 3, abs=1e-3))


def test_a_paraphrase_that_keeps_most_shingles_is_a_near_duplicate():
    """One word of eight changed every time a run could reach eight words: 4-word shingles still agree."""
    train = "my escrow payment went up and nobody told me why it did this year at all"
    test = "my escrow payment went up and somebody told me why it did this year at all"
    (found,) = matches([train], test)
    assert found.kind in ("near-duplicate", "shared n-grams")
    assert found.overlap > 0.3


def test_what_many_training_rows_share_is_template():
    frame = "classify the message of the borrower and answer with one label only please choose among these labels"
    train = [f"{frame} {topic} {topic}" for topic in map(str, range(12))]
    assert matches(train, f"{frame} {OTHER}") == []
    assert matches(train[:5], f"{frame} {OTHER}")[0].kind == "shared run"


def test_unlike_and_tiny_rows_match_nothing():
    assert matches([LONG, "thank you very much"], OTHER, "thank you", "") == []
    assert matches([], LONG) == []


@pytest.mark.parametrize(
    ("starts", "run"), [([], (0, 0)), ([4], (4, 1)), ([0, 1, 5, 6, 7, 9], (5, 3)), ([2, 4, 6], (2, 1))]
)
def test_longest_run(starts, run):
    assert longest_run(starts) == run


def test_a_domain_is_checked_file_by_file(tmp_path):
    """Every file with test rows is listed; a training question copied into the test split is found with both ids."""
    domain = Domain.load(write_domain(tmp_path / "toy"))
    found = check_domains([domain])
    files = ("documents", "classification", "summarization", "questions", "preferences", "routing")
    assert {f"toy/{name}" for name in files} <= set(found.num_test)
    assert found.num_test["toy/questions"] == 20
    content = found.as_dict()
    assert sum(f["flagged"] for f in content["files"]) == len(content["rows"])
    copied = Passage("toy/summarization", "copy", max((p.text for p in passages(domain, "train")), key=len))
    (match,) = contamination(passages(domain, "train"), [copied]).matches
    assert (match.test_id, match.kind) == ("copy", "same text")


@pytest.mark.parametrize("name", shipped_names())
def test_no_shipped_question_or_label_row_was_trained_on(name):
    found = check_domains([Domain.load(name)]).matches
    measured = ("questions", "classification", "summarization", "instructions", "documents")
    assert [match for match in found if match.test_file.rpartition("/")[2] in measured] == []
