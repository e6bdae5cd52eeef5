"""Separability: how well words alone tell chosen from rejected, without reading what was asked.

Logistic regression on word presence, five folds by row; a pair is right when the chosen answer gets the higher score
(ties count half). From 0.75 it is warned of; a kind from 0.95 is *trivially separable*, and the finding of the set
names it. A set is refused when every kind is: preference accuracy on it then proves nothing about what a model knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from judges.audits._pairs import ALL, Finding, Level, Limits, Pair, Pairs, too_few

FOLDS = 5
MIN_ROWS = 20
ACCURACY = Limits(warn=0.75, refuse=2.0)
TRIVIAL = 0.95


def check(pairs: Pairs) -> list[Finding]:
    """All pairs with one classifier, and each kind with its own."""
    found = [separability(kind, group) for kind, group in pairs.by_kind().items()]
    kinds = [each.value for each in found if each.kind != ALL] or [found[0].value]
    scored = [value for value in kinds if value is not None]
    refused = bool(scored) and all(value >= TRIVIAL for value in scored)
    level: Level = "refuse" if refused else found[0].level
    first = found[0]
    easy = [each.kind for each in found[1:] if each.value is not None and each.value >= TRIVIAL]
    sentence = f" Trivially separable kinds: {', '.join(easy)}." if easy else ""
    sentence = " The set is trivially separable: words alone tell chosen from rejected." if refused else sentence
    level = "warn" if easy and level == "ok" else level
    return [Finding(first.check, first.kind, first.value, first.n, level, first.text + sentence), *found[1:]]


def separability(kind: str, group: Sequence[Pair]) -> Finding:
    """The finding of one kind."""
    num_rows = len({pair.row_id for pair in group})
    if num_rows < MIN_ROWS:
        return too_few("separability", kind, num_rows, MIN_ROWS)
    accuracy = pair_accuracy(group)
    trivial = "; trivially separable" if accuracy >= TRIVIAL and kind != ALL else ""
    text = f"A bag of words picks the chosen answer in {accuracy:.0%} of pairs (five folds){trivial}."
    return Finding("separability", kind, accuracy, len(group), ACCURACY.level(accuracy, kind), text)


def pair_accuracy(group: Sequence[Pair]) -> float:
    """The share of pairs, each in a fold that was not fitted on its row, whose chosen answer gets the higher score."""
    from sklearn.model_selection import GroupKFold

    rows = [pair.row_id for pair in group]
    right: list[float] = []
    for fitted, held_out in GroupKFold(FOLDS).split(rows, groups=rows):
        model = fitted_on([group[place] for place in fitted])
        tested = [group[place] for place in held_out]
        chosen = model.decision_function([pair.chosen for pair in tested])
        rejected = model.decision_function([pair.rejected for pair in tested])
        right += [float(a > b) + 0.5 * float(a == b) for a, b in zip(chosen, rejected, strict=True)]
    return fmean(right)


def fitted_on(group: Sequence[Pair]) -> Any:
    """The classifier of some pairs; each chosen answer counts once for each of its pairs."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    texts = [pair.chosen for pair in group] + [pair.rejected for pair in group]
    words = CountVectorizer(binary=True, token_pattern=r"(?u)\b\w[\w']*\b|[?!]")
    model = make_pipeline(words, LogisticRegression(max_iter=1000))
    return model.fit(texts, [1] * len(group) + [0] * len(group))
