"""Labels in answers, and macro-F1 over them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from domains.errors import unknown_name


def label_in(text: str, labels: Sequence[str]) -> str | None:
    """The label that a text names if it names exactly one, else None.

    Case is ignored, a label must stand as whole words, `_` and `-` count as spaces, and a label inside a longer one
    ("payment" in "late payment") does not count.
    """
    rest = spaced(text)
    named = []
    for label in sorted(labels, key=len, reverse=True):
        rest, hits = re.subn(rf"(?<!\w){re.escape(spaced(label))}(?!\w)", "\0", rest)
        if hits:
            named.append(label)
    return named[0] if len(named) == 1 else None


def spaced(text: str) -> str:
    """Lower case, with underscores, hyphens and runs of blanks as single spaces."""
    return " ".join(re.sub(r"[_\-]", " ", text.casefold()).split())


def macro_f1(predictions: Sequence[str | None], references: Sequence[str], labels: Sequence[str]) -> float:
    """The mean F1 over the labels; a prediction of None or of no label is a miss of its reference's label.

    A label that is neither a reference nor predicted has no F1 and is left out, so perfect predictions give 1.0.
    """
    for reference in references:
        if reference not in labels:
            raise unknown_name("label", reference, labels)
    pairs = list(zip(predictions, references, strict=True))
    scores = [f1(label, pairs) for label in dict.fromkeys(labels) if any(label in pair for pair in pairs)]
    return sum(scores) / len(scores) if scores else 0.0


def f1(label: str, pairs: Sequence[tuple[str | None, str]]) -> float:
    """F1 of one label over (prediction, reference) pairs, one of which names it."""
    hits = sum(prediction == reference == label for prediction, reference in pairs)
    named = sum((prediction == label) + (reference == label) for prediction, reference in pairs)
    return 2 * hits / named
