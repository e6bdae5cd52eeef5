"""What the result of a run rests on besides the weights, the settings and the seed: the folder of a run is named after
all of it, so that no result is read that other rules, another judging model or other rows have given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from domains.domain import Domain
from domains.example import Example
from experts.improvement.learner import task_as_dict
from judges.verifier import Task, Verifier


def grounds(
    domain: Domain,
    verifier: Verifier[Any],
    judges: Mapping[str, Any],
    tasks: Sequence[Task],
    held_out: Sequence[Example],
) -> dict[str, Any]:
    """Tasks with their facts and system prompts, held-out rows, safety rules, verifier and judges, as JSON."""
    return {
        "tasks": [task_as_dict(task) for task in tasks],
        "held_out": [identity(example) for example in held_out],
        "safety": identity(domain.safety_rules()),
        "verifier": identity(verifier),
        "judges": {name: identity(judge) for name, judge in judges.items()},
    }


def identity(part: Any) -> Any:
    """A value as what it decides: of a judging model its digest (model, address, rubric: they may come from the
    environment), of other parts the class and the settings, the same in every process."""
    found = getattr(part, "digest", None)
    if isinstance(found, str):
        return found
    if is_dataclass(part) and not isinstance(part, type):
        return [class_name(part), {field.name: identity(getattr(part, field.name)) for field in fields(part)}]
    if isinstance(part, Mapping):
        return {str(name): identity(value) for name, value in part.items()}
    if isinstance(part, set | frozenset):
        return sorted(map(repr, part))
    if isinstance(part, list | tuple):
        return [identity(value) for value in part]
    return part if part is None or isinstance(part, str | int | float | bool) else described(part)


def described(part: Any) -> str:
    """Anything else: a pattern by its text, a function by its name, an object by its class."""
    pattern = getattr(part, "pattern", None)
    return str(pattern if pattern is not None else getattr(part, "__qualname__", class_name(part)))


def class_name(part: Any) -> str:
    """The full name of a value's class."""
    return f"{type(part).__module__}.{type(part).__qualname__}"
