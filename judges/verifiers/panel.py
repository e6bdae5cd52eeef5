"""Several verifiers as one: their conditions one after another, each named `verifier/condition`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from domains.domain import Domain
from domains.errors import UserError
from judges.verifier import Condition, Critique, Task
from judges.verifier import Verifier as AnyVerifier
from judges.verifiers import reading_level, safety


@dataclass(frozen=True)
class Verifier:
    """The members judge alone; where one cannot judge an answer, the panel cannot."""

    members: tuple[AnyVerifier[Any], ...] = (reading_level.Verifier(),)
    name: str = "panel"

    def __post_init__(self) -> None:
        names = [member.name for member in self.members]
        if not names or len(set(names)) < len(names):
            raise UserError(f"A panel needs verifiers of different names, got {', '.join(names) or 'none'}.")

    @classmethod
    def for_domain(cls, domain: Domain | None) -> Verifier:
        """Plain language, and the domain's safety rules where it has some."""
        rules = safety.Verifier.for_domain(domain)
        return cls((rules, reading_level.Verifier()) if rules.rules else (reading_level.Verifier(),))

    def conditions(self, task: Task) -> tuple[Condition, ...]:
        """All conditions of all members."""
        return tuple(
            replace(condition, id=f"{member.name}/{condition.id}")
            for member in self.members
            for condition in member.conditions(task)
        )

    def judge(self, task: Task, conditions: Sequence[Condition], answer: Any) -> Critique | None:
        """The members' critiques, joined in the order of the conditions."""
        scores: list[float] = []
        advice: list[str] = []
        for member in self.members:
            found = member.judge(task, own(member.name, conditions), answer)
            if found is None:
                return None
            scores += found.scores
            advice += [found.advice] if found.advice else []
        return Critique(tuple(scores), "\n".join(advice))


def own(name: str, conditions: Sequence[Condition]) -> tuple[Condition, ...]:
    """A member's conditions under their own names."""
    prefix = f"{name}/"
    return tuple(replace(c, id=c.id.removeprefix(prefix)) for c in conditions if c.id.startswith(prefix))
