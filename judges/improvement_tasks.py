"""The tasks that an expert improves on, from rows of one split of a domain: prompts that a person would send.

A loop takes the train split only; dev and test are for those who measure. Held-out files (`held_out` in domain.toml)
are test rows, so that none of theirs is ever trained on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from domains.calculations import Calculation
from domains.domain import Domain
from domains.errors import UserError, unknown_name
from domains.example import Example, Message, Split
from domains.near_duplicates import has_near_duplicate, near_duplicates
from domains.vote_training import held_out_prompts
from judges.verifier import Task

STRUCTURED = (
    "Sort the message. Reply with one JSON object and nothing else, as in {example}. The label is one of: {labels}."
)
CALCULATE = (
    "You help US mortgage borrowers with their numbers. Work the result out step by step, each as an equation, and "
    "end with one line: Answer: and the result, {form}."
)
FORMS = {
    "dollars": "in dollars and cents with a $ sign",
    "percent": "in percent to two decimals with a % sign",
    "months": "in months",
}


def improvement_tasks(domain: Domain, kind: str, split: Split = "train") -> tuple[Task, ...]:
    """The tasks of a kind in a split, in the order of the files, each request once."""
    if kind not in KINDS:
        raise unknown_name("kind of task", kind, KINDS)
    found = KINDS[kind](domain, split)
    if not found:
        raise UserError(f"The domain {domain.name} has no {kind} rows in its {split} split. Choose another kind.")
    return without_held_out(found, domain) if split == "train" else found


def conversation(domain: Domain, split: Split) -> tuple[Task, ...]:
    """What people ask the conversation expert, as it is served: prompts of preference rows, and routing rows of
    its label."""
    rows = [(row.id, row.prompt) for row in domain.preferences(split)]
    label = f"{domain.name}/conversation"
    rows += [(row.id, (Message("user", row.text),)) for row in domain.utterances(split) if row.label == label]
    tasks = [Task(row_id, prompt) for row_id, prompt in rows]
    repeated = {pair.second for pair in near_duplicates({task.id: task.question for task in tasks})}
    return tuple(task for task in tasks if task.id not in repeated)


def without_held_out(tasks: Sequence[Task], domain: Domain) -> tuple[Task, ...]:
    """The tasks that ask nothing which a dev or test row asks in nearly the same words."""
    near = has_near_duplicate([task.question for task in tasks], held_out_prompts(domain))
    return tuple(task for task, leaks in zip(tasks, near, strict=True) if not leaks)


def calculations(domain: Domain, split: Split) -> tuple[Task, ...]:
    """Requests for one number; the facts have what the arithmetic verifier needs."""
    return tuple(calculation_task(row) for row in domain.calculations(split))


def calculation_task(row: Calculation) -> Task:
    """One calculation as a task: it is told how the result is to be written."""
    system = Message("system", CALCULATE.replace("{form}", FORMS[row.formula.unit]))
    given: dict[str, Any] = {name: list(v) if isinstance(v, tuple) else v for name, v in row.given.items()}
    return Task(row.id, (system, *row.prompt), {"calculation": {"kind": row.kind, "given": given}})


def structured(domain: Domain, split: Split) -> tuple[Task, ...]:
    """The domain's messages to sort, each to be answered as JSON; the facts have the schema."""
    return tuple(structured_task(row, domain.labels) for row in domain.examples("classification", split))


def structured_task(row: Example, labels: Sequence[str]) -> Task:
    """One message as a task: any label in the right form fits the schema, whether it is the right one or not."""
    example = structured_answer(labels[0])
    text = STRUCTURED.replace("{example}", example).replace("{labels}", ", ".join(labels))
    said = tuple(turn for turn in row.prompt if turn.role != "system")
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {"label": {"enum": list(labels)}},
        "required": ["label"],
        "additionalProperties": False,
    }
    return Task(row.id, (Message("system", text), *said), {"schema": schema})


def structured_answer(label: str) -> str:
    """The right answer for a label."""
    return json.dumps({"label": label})


KINDS: dict[str, Callable[[Domain, Split], tuple[Task, ...]]] = {
    "conversation": conversation,
    "calculations": calculations,
    "structured": structured,
}
