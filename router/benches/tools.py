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
from experts.encoding import template_digest
from experts.expert import versions
from judges.bfcl.checking import Outcome
from judges.bfcl.official import official
from judges.bfcl.overall import Count, interval, summary
from judges.bfcl.rows import CATEGORIES, IRRELEVANCE, Task, read_category, subset
from judges.stats import paired_test
from router.benches._tool_answers import Answers, Asked
from router.benches._tool_arms import CONSTRAINED, DEFAULT, REQUIRED, Arm, load_models
from router.benches._tool_rows import TOO_LONG, solve
from router.records import write_json

NUM_ROWS, QUICK_ROWS = 200, len(CATEGORIES)
MAX_MISTAKES = 5
PAIRS = (
    ("before", "prompt"),
    ("before", "sft"),
    ("prompt", "sft"),
    ("sft", "sft+preference"),
    ("sft+constrained", "sft+preference+constrained"),
)


def run(
    quick: bool = False,
    home: Path = Path(".expertsmith"),
    rows: int | None = None,
    all_rows: bool = False,
    arms: str | None = None,
) -> dict[str, Any]:
    """A row per arm and category with its interval, the overall scores of each arm by version with their floors, paired
    tests of arms that differ in one thing, apart for rows that need calls and rows that need none, and every outcome
    by the id of its row."""
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
    found = report(outcomes, tasks) | provenance(answers, chosen) | {"notes": notes}
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


def provenance(answers: Answers, arms: Sequence[Arm]) -> dict[str, Any]:
    """What the outcomes depend on: the model of each arm, how many of its answers were free although it is constrained
    (their schemas cannot be followed), the template, versions and token limits."""
    return {
        "arms": [
            {**vars(arm), "digest": answers.digests[arm.expert], "answers": answers.asked[arm.name],
             "unbound": answers.unbound[arm.name]} for arm in arms
        ],
        "template": template_digest(answers.models.tokenizer),
        "versions": versions(),
        "max_context": answers.max_context,
        "max_tokens": answers.max_tokens,
    }  # fmt: skip


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
        too_long = sum(outcome.mistake == TOO_LONG.mistake for outcome in found.values())
        overall.append({"arm": arm, **summary(counts), "too_long": too_long})
    return {
        "rows": rows,
        "overall": overall,
        "comparisons": comparisons(outcomes, tasks),
        "package": f"bfcl-eval {official().version}, data {official().data_version}",
        "num_rows": sum(map(len, tasks.values())),
        "outcomes": {arm: {name: vars(outcome) for name, outcome in found.items()} for arm, found in outcomes.items()},
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
    """Arms that differ in one thing: the difference in accuracy, its interval and p (not adjusted). Rows that need
    calls and rows that need none are two tests: silence would gain in the second what it loses in the first."""
    found = []
    for before, after in pairs(list(outcomes)):
        for kind, ids in kinds(tasks).items():
            a, b = ([float(outcomes[arm][name].right) for name in ids] for arm in (after, before))
            test = paired_test(a, b)
            found.append({"arm": after, "against": before, "kind": kind, "n": test.n, "difference": test.difference,
                          "low": test.low, "high": test.high, "p": test.p})  # fmt: skip
    return found


def pairs(arms: Sequence[str]) -> list[tuple[str, str]]:
    """Which arms are compared, in one thing each: the format of the prompt, a stage of training, or the decoding; an
    arm that is named after an expert is compared with `prompt`."""
    named = {arm for pair in PAIRS for arm in pair} | {"constrained"}
    experts = [arm for arm in arms if arm not in named and not arm.endswith((CONSTRAINED, REQUIRED))]
    decoded = [(plain_of(arm), arm) for arm in arms if arm == "constrained" or arm.endswith((CONSTRAINED, REQUIRED))]
    wanted = [*PAIRS, *decoded, *(("prompt", expert) for expert in experts)]
    return [pair for pair in dict.fromkeys(wanted) if set(pair) <= set(arms)]


def plain_of(arm: str) -> str:
    """The arm that decodes freely."""
    return "prompt" if arm == "constrained" else arm.removesuffix(CONSTRAINED).removesuffix(REQUIRED)


def kinds(tasks: dict[str, tuple[Task, ...]]) -> dict[str, list[str]]:
    """The rows that need calls and those that need none, by their ids; a kind without rows is left out."""
    found: dict[str, list[str]] = {"calls": [], "irrelevance": []}
    for name, each in tasks.items():
        found["irrelevance" if name in IRRELEVANCE else "calls"] += [task.id for task in each]
    return {kind: ids for kind, ids in found.items() if ids}
