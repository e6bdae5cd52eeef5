"""Labels in answers, and macro-F1 over them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from domains.errors import unknown_name
from judges import stats
from judges.stats import label_counts, statistic_value


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
    """`judges.stats.macro_f1` of predictions: the mean F1 over the labels that have references, 0 without any.

    A prediction of None or of no label is a miss of its reference's label.
    """
    for reference in references:
        if reference not in labels:
            raise unknown_name("label", reference, labels)
    if len(predictions) != len(references):
        raise ValueError(f"{len(predictions)} predictions for {len(references)} references")
    names = [label for label in dict.fromkeys(labels) if label in references]
    return statistic_value(label_counts(predictions, references, names), stats.macro_f1) or 0.0
