"""What an expert practises on, and what it is measured on: prompts of the domain, never those that are held out.

A prompt that is a near-duplicate of a held-out one is left out and counted; the replay buffer refuses it once more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from domains.calculations import Calculation
from domains.domain import Domain
from domains.errors import UserError, unknown_name
from domains.example import Example, Message, Preference, Split, Utterance
from domains.near_duplicates import has_near_duplicate
from domains.vote_training import held_out_prompts
from judges.verifier import Task

KINDS = ("preferences", "routing", "calculations", "questions")
UNITS = {"dollars": "${:,.2f}", "percent": "{:.2f}%", "months": "{:.0f} months"}


@dataclass(frozen=True)
class Practice:
    """The tasks that may be practised, and how many prompts are too near to held-out ones."""

    tasks: tuple[Task, ...]
    num_near_held_out: int


def practice(domain: Domain, expert: str, kinds: Sequence[str], others: Sequence[Domain] = ()) -> Practice:
    """The training prompts of some kinds. What is held out is that of the domain and of `others`."""
    found = [task_of(row) for kind in kinds for row in rows_of(domain, expert, kind, "train")]
    held_out = [text for each in (domain, *others) for text in held_out_prompts(each)]
    near = has_near_duplicate([asked(task) for task in found], held_out)
    kept = {task.id: task for task, is_near in zip(found, near, strict=True) if not is_near}
    if not kept:
        raise UserError(
            f"There is no training prompt of {', '.join(kinds)} for {expert}. Set improve.tasks to some of: "
            f"{', '.join(KINDS)}; or add rows to the domain."
        )
    return Practice(tuple(kept.values()), sum(near))


def rows_of(
    domain: Domain, expert: str, kind: str, split: Split
) -> Iterator[Preference | Utterance | Calculation | Example]:
    """The rows of a kind that ask this expert for something."""
    if kind not in KINDS:
        raise unknown_name("kind of improve.tasks", kind, KINDS)
    if kind == "preferences":
        yield from domain.preferences(split)
    elif kind == "calculations":
        yield from domain.calculations(split)
    elif kind == "questions":
        yield from domain.examples("questions", split)
    else:
        yield from (row for row in domain.utterances(split) if row.label == expert)


def task_of(row: Preference | Utterance | Calculation | Example) -> Task:
    """A row as a task; a calculation carries the numbers that a verifier computes with."""
    if isinstance(row, Utterance):
        return Task(row.id, (Message("user", row.text),))
    if isinstance(row, Calculation):
        return Task(row.id, row.prompt, {"calculation": {"kind": row.kind, "given": dict(row.given)}})
    return Task(row.id, row.prompt)


def held_out(domain: Domain, expert: str, kinds: Sequence[str], split: Split, limit: int = 0) -> list[Example]:
    """The held-out prompts of a split with their reference answers, for judges; `limit` 0 = all."""
    rows = [row for kind in kinds for row in rows_of(domain, expert, kind, split)]
    return [example_of(row) for row in (rows[:limit] if limit else rows)]


def example_of(row: Preference | Utterance | Calculation | Example) -> Example:
    """A row as a question with its reference: the chosen answer, or the computed result."""
    task = task_of(row)
    if isinstance(row, Calculation):
        return Example(row.id, "questions", task.request, UNITS[row.formula.unit].format(row.expected))
    reference = row.chosen if isinstance(row, Preference) else row.completion if isinstance(row, Example) else ""
    return Example(row.id, "questions", task.request, reference)


def asked(task: Task) -> str:
    """Everything that the person says."""
    return "\n".join(turn.content for turn in task.request if turn.role == "user")
