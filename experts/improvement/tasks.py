"""What an expert practises on, and what it is measured on (`judges/improvement_tasks.py`): never the same prompts.

A prompt that is a near-duplicate of a held-out one is left out; the replay buffer refuses it once more.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from domains.domain import Domain
from domains.errors import UserError
from domains.example import Example, Split, last_user_turn
from domains.near_duplicates import has_near_duplicate
from domains.vote_training import held_out_prompts
from experts.measure import spread
from judges.improvement_tasks import improvement_tasks, structured_answer
from judges.verifier import Task

UNITS = {"dollars": "${:,.2f}", "percent": "{:.2f}%", "months": "{:.0f} months"}


def practice(domain: Domain, kinds: Sequence[str], others: Sequence[Domain] = ()) -> tuple[Task, ...]:
    """The training prompts of some kinds, without those that are near to a held-out prompt of the domain or of
    `others`."""
    found = [task for kind in kinds for task in improvement_tasks(domain, kind, "train")]
    near = has_near_duplicate(
        [asked(task) for task in found], [text for each in (domain, *others) for text in held_out_prompts(each)]
    )
    kept = tuple(task for task, is_near in zip(found, near, strict=True) if not is_near)
    if not kept:
        raise UserError(f"No prompt to practise on is left in {domain.name}: all are near to held-out ones. Add rows.")
    return kept


def held_out(domain: Domain, kinds: Sequence[str], split: Split, limit: int = 0) -> list[Example]:
    """Held-out prompts with their references, for judges: `limit` of them evenly over all kinds, 0 = all."""
    if split == "train":
        raise UserError("Training prompts are not held out. Take dev or test.")
    tasks = [task for kind in kinds for task in improvement_tasks(domain, kind, split)]
    known = dict(references(domain, split))
    found = [Example(task.id, "questions", task.request, known.get(task.id, "")) for task in tasks]
    return spread(found, limit)


def drawn(tasks: Sequence[Task], limit: int, seed: int) -> tuple[Task, ...]:
    """`limit` tasks by a seed, in their own order; all of them when it is 0. The rows of a domain stand in the order of
    their kinds, and the first ones are those that its build has trained on."""
    places = range(len(tasks))
    kept = sorted(random.Random(seed).sample(places, limit)) if 0 < limit < len(tasks) else places
    return tuple(tasks[place] for place in kept)


def references(domain: Domain, split: Split) -> Iterator[tuple[str, str]]:
    """What a good answer is: the chosen one, the computed result, or the label as JSON."""
    for row in domain.preferences(split):
        yield row.id, row.chosen
    for calculation in domain.calculations(split):
        yield calculation.id, UNITS[calculation.formula.unit].format(calculation.expected)
    for example in domain.examples("classification", split):
        yield example.id, structured_answer(example.completion)


def asked(task: Task) -> str:
    """The last thing that the person says."""
    return last_user_turn(task.request)
