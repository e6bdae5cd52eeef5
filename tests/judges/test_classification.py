"""Labels in answers and macro-F1."""

from __future__ import annotations

import random

import pytest
from sklearn.metrics import f1_score

from domains.errors import UserError
from judges.classification import label_in, macro_f1

LABELS = ("payment", "late payment", "escrow", "loan_modification")


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("escrow", "escrow"),
        ("The label is **Escrow**.", "escrow"),
        ("It is a LATE PAYMENT", "late payment"),
        ("payment", "payment"),
        ("a loan modification, I think", "loan_modification"),
        ("escrow or payment", None),
        ("a late payment, so payment", None),
        ("escrowed", None),
        ("", None),
    ],
)
def test_label_in(text: str, label: str | None):
    assert label_in(text, LABELS) == label


def test_macro_f1_by_hand():
    """a: 1 hit of 2 named + 1 reference = 2/3; b: 1 hit, 1 named, 2 references = 2/3; mean 2/3."""
    assert macro_f1(["a", "a", "b"], ["a", "b", "b"], ["a", "b"]) == pytest.approx(2 / 3)


def test_macro_f1_is_scikit_learns_when_every_label_occurs():
    draw = random.Random(3)
    references = [*LABELS, *draw.choices(LABELS, k=60)]
    predictions = draw.choices([*LABELS, "other"], k=64)
    expected = f1_score(references, predictions, labels=list(LABELS), average="macro", zero_division=0)
    assert macro_f1(predictions, references, LABELS) == pytest.approx(expected)


def test_a_label_without_rows_does_not_lower_a_perfect_score():
    assert macro_f1(["a", "b"], ["a", "b"], ["a", "b", "never"]) == 1.0


def test_unreadable_predictions_are_misses():
    """a: 2 * 1 / (1 named + 2 references) = 2/3; None belongs to no label."""
    assert macro_f1(["a", None], ["a", "a"], ["a", "b"]) == pytest.approx(2 / 3)


def test_an_unknown_reference_is_a_user_error():
    with pytest.raises(UserError, match="Did you mean 'escrow'"):
        macro_f1(["escrow"], ["escro"], ["escrow"])
