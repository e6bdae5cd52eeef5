"""Sentences that say the opposite of each other, and pairs that only look so."""

from __future__ import annotations

import pytest

from judges.negation import negated_stems, opposite


@pytest.mark.parametrize(
    ("claim", "passage"),
    [
        ("The servicer can demand a lump sum.", "The servicer cannot demand a lump sum."),
        ("Leave her alone in the tub.", "Don't leave her alone in the tub."),
        ("A cushion is a fee.", "A cushion is not a fee."),
        ("Never lock the door.", "Always lock the door."),
        ("You may charge before closing.", "You may charge after closing."),
        ("The maximum deposit is small.", "The minimum deposit is small."),
    ],
)
def test_opposites_both_ways(claim: str, passage: str):
    assert opposite(claim, passage, {})
    assert opposite(passage, claim, {})


@pytest.mark.parametrize(
    ("claim", "passage"),
    [
        ("The servicer cannot demand a lump sum.", "The servicer may not demand a lump sum."),
        ("Don't argue with her.", "Never argue with her."),
        ("It must arrive no later than Friday.", "It must arrive by Friday."),
        ("Bring not only the letter, but the list.", "Bring the letter and the list."),
        ("Federal law does not require interest.", "Some states require interest, while federal law does not."),
        ("Call the servicer.", "Call the servicer."),
        ("", "Nothing."),
    ],
)
def test_no_opposites(claim: str, passage: str):
    assert opposite(claim, passage, {}) == ()


def test_the_scope_of_a_negation_ends_with_its_clause():
    assert negated_stems("Do not argue, but answer calmly.") == {"argu"}
    assert negated_stems("Without a lender's letter you wait.") >= {"lender", "letter"}
