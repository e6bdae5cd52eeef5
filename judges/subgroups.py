"""For whom is an arm better? A comparison within groups of items: by kind, by label, by length of the question. An item
of several kinds is in the group of each.

Every row is one more look at the same data, so all rows of the table are one Holm family.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from judges.comparisons import Comparison, compare_measure, decided
from judges.effects import terciles
from judges.metrics import Measure

MIN_ITEMS = 3
Facts = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Subgroup:
    """A comparison over the items whose `key` is `group`."""

    key: str
    group: str
    comparison: Comparison

    def as_dict(self) -> dict[str, Any]:
        """The form in report.json."""
        return {"key": self.key, "group": self.group} | self.comparison.as_dict()


def subgroups(
    looks: Sequence[tuple[Measure, str, str]], items: Facts, untrusted: Collection[str] = ()
) -> list[Subgroup]:
    """Each (measure, arm_a, arm_b) within each group of its items; one Holm family."""
    found = [
        (key, group, compare_measure(measure.only(members.__contains__), arm_a, arm_b))
        for measure, arm_a, arm_b in looks
        for key, group, members in groups_of(common_items(measure, arm_a, arm_b), items)
    ]
    compared = decided([comparison for _, _, comparison in found], untrusted)
    return [Subgroup(key, group, comparison) for (key, group, _), comparison in zip(found, compared, strict=True)]


def common_items(measure: Measure, arm_a: str, arm_b: str) -> list[str]:
    """The items that both arms have scored."""
    return [item for item in measure.features[arm_a] if item in measure.features[arm_b]]


def groups_of(names: Sequence[str], items: Facts) -> Iterator[tuple[str, str, frozenset[str]]]:
    """(key, group, members) of every key that splits the items, for groups of at least MIN_ITEMS."""
    known = [name for name in names if name in items]
    lengths = length_groups({name: items[name].get("words") for name in known})
    for key, groups_by_item in (
        ("kind", {name: kinds_of(items[name]) for name in known}),
        ("label", {name: named(items[name].get("label")) for name in known}),
        ("question length", {name: (group,) for name, group in lengths.items()}),
    ):
        every = dict.fromkeys(group for groups in groups_by_item.values() for group in groups)
        found = {group: frozenset(n for n, groups in groups_by_item.items() if group in groups) for group in every}
        if len(found) > 1:
            split = ((group, members) for group, members in found.items() if MIN_ITEMS <= len(members) < len(known))
            yield from ((key, group, members) for group, members in split)


def kinds_of(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """The kinds of an item, one by one."""
    return tuple(map(str, facts.get("kinds") or named(facts.get("kind"))))


def named(group: Any) -> tuple[str, ...]:
    """A group by its name, none where it has no name."""
    return (str(group),) if group else ()


def length_groups(words: Mapping[str, int | None]) -> dict[str, str]:
    """Short, medium and long by thirds of the lengths that are known; nothing when they are all alike."""
    known = {name: count for name, count in words.items() if count is not None}
    if len(set(known.values())) < 3:
        return {}
    low, high = terciles(list(known.values()))
    names = {True: f"up to {low:.0f} words", False: f"over {high:.0f} words"}
    return {
        name: names[count <= low] if count <= low or count > high else f"{low:.0f} to {high:.0f} words"
        for name, count in sorted(known.items(), key=lambda pair: pair[1])
    }
