"""Word lists: insults, which give a rejected answer away, and stock phrases of sympathy, which train a formula.

Insults in rejected answers: warned of from 5% of the pairs, refused from 50%; in chosen answers from the first, refused
from 5%. Stock phrases in chosen answers: warned of from 20%, refused from 50%. In the published caregiving pairs
(arXiv 2512.06097) 80% of the rejected answers insult and 84% of the chosen ones open with a formula.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from judges.audits._pairs import ALL, Finding, Limits, Pair, Pairs, per_kind, plain, too_few
from judges.heads.cues import STOCK, compiled

LEXICONS = tomllib.loads(Path(__file__).with_name("lexicons.toml").read_text(encoding="utf-8"))
INSULT = compiled(LEXICONS["insults"])
REJECTED = Limits(warn=0.05, refuse=0.50)
CHOSEN = Limits(warn=1e-9, refuse=0.05)
FORMULA = Limits(warn=0.20, refuse=0.50)


def check(pairs: Pairs) -> list[Finding]:
    """Insults of each kind, then insults and formulas of the chosen answers."""
    chosen = [row.chosen for row in pairs.rows]
    if not chosen:
        return [too_few("formulas", ALL, 0)]
    rude, formula = fmean(map(insults, chosen)), fmean(map(is_formula, chosen))
    return [
        *per_kind(pairs, rejected_insults, "insults"),
        Finding("insults", "chosen", rude, len(chosen), CHOSEN.level(rude), f"{rude:.0%} of chosen answers insult."),
        Finding(
            "formulas", "chosen", formula, len(chosen), FORMULA.level(formula),
            f"{formula:.0%} of chosen answers have a stock phrase of sympathy.",
        ),
    ]  # fmt: skip


def rejected_insults(kind: str, group: Sequence[Pair]) -> Finding:
    """The share of rejected answers of a kind that insult."""
    share = fmean(insults(pair.rejected) for pair in group)
    return Finding(
        "insults", kind, share, len(group), REJECTED.level(share, kind), f"{share:.0%} of rejected answers insult."
    )


def insults(text: str) -> bool:
    """Whether a text has a word of contempt."""
    return bool(INSULT.search(plain(text)))


def is_formula(text: str) -> bool:
    """Whether a text has a stock phrase."""
    return any(pattern.search(plain(text)) for pattern in STOCK.values())
