"""The leaderboard as one number for a function that answers prompts, whatever runs behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from domains.example import Message
from domains.tool_calls import Function, render
from judges.bfcl.overall import Count, summary
from judges.bfcl.rows import AST, read_category, subset
from router.benches._tool_rows import solve

Ask = Callable[[Sequence[Sequence[Message]]], list[str]]


def call_accuracy(ask: Ask, num_rows: int | None) -> dict[str, Any]:
    """The mean accuracy of the single-turn categories that need a call, on about `num_rows` rows (None: all), with its
    interval; the functions are shown in the project's own format. A model that never calls has 0."""

    def answers(prompts: Sequence[tuple[tuple[Message, ...], tuple[Function, ...]]]) -> list[str | None]:
        return list(ask([(Message("system", render(functions)), *messages) for messages, functions in prompts]))

    tasks = subset(num_rows, AST)
    found = solve([task for each in tasks.values() for task in each], answers)
    counts = {
        name: Count(sum(found[task.id].right for task in each), len(each), len(read_category(name)))
        for name, each in tasks.items()
    }
    return summary(counts)["call_accuracy"] | {"n": sum(count.asked for count in counts.values())}
