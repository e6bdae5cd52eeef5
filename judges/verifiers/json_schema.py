"""JSON by schema: whether an answer is one JSON value and fits the schema of its task (library: jsonschema).

The schema is `facts["schema"]`. A `$ref` is followed inside the schema only; nothing is ever fetched.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft202012Validator, SchemaError, ValidationError
from referencing import Registry
from referencing.exceptions import Unresolvable

from domains.domain import Domain
from domains.errors import UserError
from judges.replies import bare
from judges.verifier import Condition, Critique, Task
from judges.verifiers._findings import Finding, critique, passed

JSON = Condition("json", "Is the answer one JSON value and nothing else?")
WHOLE = Condition("schema", "Does the JSON value as a whole fit the schema?")
FIELD = "field:"
MAX_SHOWN = 160


@dataclass(frozen=True)
class Verifier:
    """A condition for JSON, one for each top-level field of the schema, and one for the rest of it; a code fence around
    the value is passed over."""

    name: str = "json_schema"

    @classmethod
    def for_domain(cls, domain: Domain | None) -> Verifier:
        """The same for every domain: the schema comes with the task."""
        return cls()

    def conditions(self, task: Task) -> tuple[Condition, ...]:
        """What the task's schema asks for."""
        fields = properties(schema_of(task))
        return (
            JSON,
            *(Condition(FIELD + name, f"Is the field {name} as the schema wants it?") for name in fields),
            WHOLE,
        )

    def judge(self, task: Task, conditions: Sequence[Condition], answer: str) -> Critique | None:
        """Every condition; an answer that is no JSON meets none."""
        schema = schema_of(task)
        try:
            value = json.loads(bare(answer), parse_constant=refused, object_pairs_hook=unique)
            errors = problems(schema, value, task.id)
        except (ValueError, RecursionError) as error:
            return critique(conditions, {c.id: Finding(0.0, f"{error}") for c in conditions})
        names = properties(schema)
        by_field = {name: [error for error in errors if name in fields_of(error)] for name in names}
        others = [error for error in errors if not fields_of(error) & set(names)]
        findings = {FIELD + name: judged(found) for name, found in by_field.items()}
        return critique(conditions, {JSON.id: Finding(1.0), WHOLE.id: judged(others), **findings})


def schema_of(task: Task) -> dict[str, Any]:
    """The task's schema, checked."""
    schema = task.facts.get("schema")
    if not isinstance(schema, dict):
        raise UserError(f'The task {task.id} has no JSON schema. Give it facts {{"schema": {{...}}}}.')
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise UserError(f"The schema of the task {task.id} is not valid: {error.message}. Correct it.") from None
    return schema


def properties(schema: dict[str, Any]) -> tuple[str, ...]:
    """The top-level fields that a schema names, those first that must be there."""
    required = [name for name in schema.get("required", []) if isinstance(name, str)]
    return tuple(dict.fromkeys([*required, *schema.get("properties", {})]))


def problems(schema: dict[str, Any], value: Any, task_id: str) -> list[ValidationError]:
    """Where a value does not fit."""
    try:
        return list(Draft202012Validator(schema, registry=Registry()).iter_errors(value))
    except Unresolvable as error:
        raise UserError(
            f"The schema of the task {task_id} refers to {error.ref}, which is not in it. Put it under $defs."
        ) from None


def fields_of(error: ValidationError) -> set[str]:
    """The top-level fields that an error is about; a missing field is one."""
    if error.absolute_path:
        return {str(error.absolute_path[0])}
    if error.validator == "required" and isinstance(error.instance, dict):
        return {name for name in error.validator_value if name not in error.instance}
    return set()


def judged(errors: Sequence[ValidationError]) -> Finding:
    """Met without errors; else their messages."""
    return passed(not errors, "; ".join(error.message[:MAX_SHOWN] for error in errors))


def refused(constant: str) -> Any:
    """NaN and Infinity are no JSON."""
    raise ValueError(f"{constant} is no JSON number")


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; a name that occurs twice is refused."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice in one object")
    return found
