"""What the checks of pairs share: pairs by kind, findings, levels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from domains.example import Preference, Split

Level = Literal["ok", "warn", "refuse"]
LEVELS: tuple[Level, ...] = ("ok", "warn", "refuse")
ALL = "all"
UNNAMED = "rejected"
MIN_PAIRS = 10


@dataclass(frozen=True)
class Pair:
    """A chosen answer and one rejected one of a row; `kind` is what the row calls this rejected answer."""

    row_id: str
    kind: str
    chosen: str
    rejected: str


@dataclass(frozen=True)
class Pairs:
    """The rows of a set, their pairs, and the split of each row."""

    rows: tuple[Preference, ...]
    split: Mapping[str, Split]

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """One pair per rejected answer."""
        return tuple(pair for row in self.rows for pair in pairs_of(row))

    def by_kind(self) -> dict[str, tuple[Pair, ...]]:
        """All pairs under "all", then those of each kind when there are several."""
        groups: dict[str, list[Pair]] = defaultdict(list)
        for pair in self.pairs:
            groups[pair.kind].append(pair)
        kinds = {kind: tuple(groups[kind]) for kind in sorted(groups)} if len(groups) > 1 else {}
        return {ALL: self.pairs, **kinds}


@dataclass(frozen=True)
class Finding:
    """What a check found for a kind of rejected answer, over `n` pairs or rows. None: too few to say."""

    check: str
    kind: str
    value: float | None
    n: int
    level: Level
    text: str

    def as_dict(self) -> dict[str, Any]:
        """The form for programs."""
        return asdict(self)


@dataclass(frozen=True)
class Limits:
    """Where a value is warned of and where it is refused; `low` means that small values are the bad ones."""

    warn: float
    refuse: float
    low: bool = False

    def level(self, value: float | None, kind: str = ALL) -> Level:
        """The level of a value. One kind among several may differ by design: it is never more than warned of."""
        if value is None:
            return "ok"
        if self.reached(value, self.refuse) and kind == ALL:
            return "refuse"
        return "warn" if self.reached(value, self.warn) else "ok"

    def reached(self, value: float, limit: float) -> bool:
        """Whether a value is as bad as a limit."""
        return value <= limit if self.low else value >= limit


def pairs_of(row: Preference) -> Iterator[Pair]:
    """The pairs of one row."""
    for place, text in enumerate(row.rejected):
        kind = row.rejected_kinds[place] if row.rejected_kinds else UNNAMED
        yield Pair(row.id, kind, row.chosen, text)


def per_kind(pairs: Pairs, check: Callable[[str, Sequence[Pair]], Finding], name: str) -> list[Finding]:
    """A check on all pairs and on each kind; fewer than ten pairs are too few."""
    return [
        check(kind, group) if len(group) >= MIN_PAIRS else too_few(name, kind, len(group))
        for kind, group in pairs.by_kind().items()
    ]


def too_few(name: str, kind: str, n: int, least: int = MIN_PAIRS) -> Finding:
    """The finding when there is too little to judge."""
    return Finding(name, kind, None, n, "ok", f"Too few to say: {n}, of at least {least}.")


def worst(levels: Sequence[Level]) -> Level:
    """The most serious level."""
    return max(levels, key=LEVELS.index, default="ok")


def plain(text: str) -> str:
    """Lower case with straight apostrophes, for word lists."""
    return text.lower().replace("’", "'")
