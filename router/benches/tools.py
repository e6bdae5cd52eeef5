"""Function calling on the categories of the Berkeley leaderboard, arm by arm, by its own checker (`judges/bfcl`).

`--rows N` takes a fixed random subset (200 unless told), `--all` every row; `--arms` as in `_tool_arms`. Answers are
kept in HOME/benches/tools, so a stopped run goes on. A model that never calls has a score, too: it stands beside each
overall one, and irrelevance beside the accuracy of calls. Run: `expertsmith bench tools --json`.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from domains.errors import UserError
from domains.example import Message
from domains.tool_calls import Function
from judges.bfcl.checking import Outcome
from judges.bfcl.official import official
from judges.bfcl.overall import Count, interval, summary
from judges.bfcl.rows import CATEGORIES, IRRELEVANCE, Task, read_category, subset
from judges.stats import paired_test
from router.benches._tool_answers import Answers, Asked
from router.benches._tool_arms import DEFAULT, Arm, load_models
from router.benches._tool_rows import solve
from router.records import write_json

NUM_ROWS, QUICK_ROWS = 200, len(CATEGORIES)
MAX_MISTAKES = 5


def run(
    quick: bool = False,
    home: Path = Path(".expertsmith"),
    rows: int | None = None,
    all_rows: bool = False,
    arms: str | None = None,
) -> dict[str, Any]:
    """A row per arm and category with its interval, the overall scores of each arm by version with their floors, and
    paired tests of each arm against the one before it, apart for rows that need calls and rows that need none."""
    if all_rows and rows is not None:
        raise UserError("--rows and --all are both given. Give one of them.")
    tasks = subset(None if all_rows else rows or (QUICK_ROWS if quick else NUM_ROWS))
    names = [name.strip() for name in arms.split(",") if name.strip()] if arms else list(DEFAULT)
    models, chosen, notes = load_models(home, names)
    answers = Answers(home / "benches" / "tools" / "answers.jsonl", models)
    outcomes = {}
    for arm in chosen:
        say(f"{arm.name}: {sum(map(len, tasks.values()))} rows")
        outcomes[arm.name] = measured(arm, answers, tasks)
    found = report(outcomes, tasks) | {"arms": [vars(arm) for arm in chosen], "notes": notes}
    write_json(home / "benches" / "tools" / "report.json", found)
    return found


def say(text: str) -> None:
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


def measured(arm: Arm, answers: Answers, tasks: dict[str, tuple[Task, ...]]) -> dict[str, Outcome]:
    """The outcome of each row of an arm."""

    def ask(prompts: Sequence[tuple[tuple[Message, ...], tuple[Function, ...]]]) -> list[str | None]:
        return answers.get(
            [
                Asked(arm, tuple(answers.models.encode(arm, messages, functions)), arm.use(functions))
                for messages, functions in prompts
            ]
        )

    return solve([task for found in tasks.values() for task in found], ask)


def report(outcomes: dict[str, dict[str, Outcome]], tasks: dict[str, tuple[Task, ...]]) -> dict[str, Any]:
    """What is shown of the outcomes."""
    sizes = {name: len(read_category(name)) for name in tasks}
    rows, overall = [], []
    for arm, found in outcomes.items():
        counts = {
            name: Count(sum(found[task.id].right for task in each), len(each), sizes[name])
            for name, each in tasks.items()
        }
        mistakes = {name: [found[task.id].mistake for task in each] for name, each in tasks.items()}
        rows += [category_row(arm, name, counts[name], mistakes[name]) for name in tasks]
        overall.append({"arm": arm, **summary(counts)})
    return {
        "rows": rows,
        "overall": overall,
        "comparisons": comparisons(outcomes, tasks),
        "package": f"bfcl-eval {official().version}, data {official().data_version}",
        "num_rows": sum(map(len, tasks.values())),
    }


def category_row(arm: str, category: str, count: Count, mistakes: Sequence[str]) -> dict[str, Any]:
    """One category of one arm."""
    ends = interval(count)
    common = Counter(mistake for mistake in mistakes if mistake).most_common(MAX_MISTAKES)
    return {
        "arm": arm, "category": category, "accuracy": round(count.share, 4), "low": ends.low, "high": ends.high,
        "n": count.asked, "of": count.size, "mistakes": dict(common),
    }  # fmt: skip


def comparisons(outcomes: dict[str, dict[str, Outcome]], tasks: dict[str, tuple[Task, ...]]) -> list[dict[str, Any]]:
    """Each arm against the one before it: the difference in accuracy, its interval and p (not adjusted). Rows that need
    calls and rows that need none are two tests: silence would gain in the second what it loses in the first."""
    names, found = list(outcomes), []
    for before, after in zip(names, names[1:], strict=False):
        for kind, ids in kinds(tasks).items():
            a, b = ([float(outcomes[arm][name].right) for name in ids] for arm in (after, before))
            test = paired_test(a, b)
            found.append({"arm": after, "against": before, "kind": kind, "n": test.n, "difference": test.difference,
                          "low": test.low, "high": test.high, "p": test.p})  # fmt: skip
    return found


def kinds(tasks: dict[str, tuple[Task, ...]]) -> dict[str, list[str]]:
    """The rows that need calls and those that need none, by their ids; a kind without rows is left out."""
    found: dict[str, list[str]] = {"calls": [], "irrelevance": []}
    for name, each in tasks.items():
        found["irrelevance" if name in IRRELEVANCE else "calls"] += [task.id for task in each]
    return {kind: ids for kind, ids in found.items() if ids}
