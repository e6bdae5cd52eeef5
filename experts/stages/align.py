"""Preference optimization with any objective of `experts/objectives`, any references and any rewards."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from domains.domain import Domain
from domains.errors import UserError
from domains.example import Preference, Split
from experts import rewards
from experts.alignment import Alignment, check_method, train_preferences
from experts.checkpoint import Checkpoint
from experts.digests import data_digest
from experts.foundation import model_folder
from experts.mixing import Mixing
from experts.preferences import load_objective
from experts.recipe import Align
from experts.settings import key, section
from experts.stages import reward

START = "start"
REWARDS = "rewards.json"


@dataclass(frozen=True)
class Parts:
    """What an alignment is made of. `arms` are models that references can name; `expert` finds a built expert by name;
    `reward_model` is the folder of the domain's reward model."""

    domain: Domain
    settings: Align
    start: Checkpoint
    arms: Mapping[str, Checkpoint]
    expert: Callable[[str], Checkpoint]
    reward_model: Path

    def references(self) -> tuple[Checkpoint, ...]:
        """The frozen references, in the order of the recipe."""
        found = {START: self.start, **self.arms}
        return tuple(found.get(name) or Checkpoint(model_folder(name, None)) for name in self.settings.references)

    def inputs(self) -> dict[str, Any]:
        """What the stage depends on besides its settings and rows."""
        found: dict[str, Any] = {"references": [reference.digest() for reference in self.references()]}
        if self.mixing.needs_held_out:
            found["held_out"] = [repr(row) for row in rows_of(self.domain, self.settings, "dev")]
        if self.needs_rewards and self.settings.rewards == rewards.MODEL:
            found["reward_model"] = Checkpoint(self.start.base, self.reward_model).digest()
        if self.needs_rewards and self.settings.rewards.startswith(rewards.FROM_HEAD):
            found["head"] = self.head.digest()
        if self.needs_rewards and self.settings.rewards.startswith(rewards.JUDGES):
            found["judges"] = data_digest(self.domain.folder)  # the rules and documents that judges read
        return found

    @property
    def needs_rewards(self) -> bool:
        """Whether the objective reads rewards."""
        return "scores" in load_objective(self.settings.objective, self.settings.settings).needs

    @property
    def mixing(self) -> Mixing:
        """The mixture of references."""
        return mixing_of(self.settings.mixing)

    @property
    def head(self) -> Checkpoint:
        """The expert whose head gives the rewards."""
        return self.expert(self.settings.rewards.removeprefix(rewards.FROM_HEAD))

    def alignment(self, rows: Sequence[Preference], work: Path) -> Alignment:
        """All of it, with the rewards computed or read."""
        scores = rewards.cached(work / REWARDS, lambda: self.scores(rows)) if self.needs_rewards else {}
        return Alignment(
            load_objective(self.settings.objective, self.settings.settings),
            self.mixing,
            self.references(),
            rows_of(self.domain, self.settings, "dev") if self.mixing.needs_held_out else (),
            scores,
        )

    def scores(self, rows: Sequence[Preference]) -> rewards.Rewards:
        """The rewards of all answers, from where the recipe says."""
        source = self.settings.rewards
        if source == rewards.MODEL:
            return reward.rewards(self.arms["dapt_residual"], self.reward_model, rows)
        if source.startswith(rewards.JUDGES):
            return rewards.by_judges(self.domain, source.removeprefix(rewards.JUDGES).split(","), rows)
        if source.startswith(rewards.FROM_HEAD):
            return rewards.by_head(self.head, rows)
        return {}


def rows_of(domain: Domain, settings: Align, split: Split) -> tuple[Preference, ...]:
    """Rows of a split that preference optimization is about: answers of a conversation, or titles to recommend."""
    if settings.rows == "preferences":
        return domain.preferences(split)
    rows = domain.recommendations(split)
    if not rows and split == "train":
        raise UserError(
            f"align.rows is recommendations, and domain '{domain.name}' has none to train on. "
            "Add recommendations.jsonl to it, or set align.rows=preferences."
        )
    return rows


def check(settings: Align, name: str = "align") -> None:
    """Refuse an objective, a mixture or a source of rewards that does not exist, and settings that do not fit or that
    nothing reads. `name`: the recipe's section."""
    with section(name):
        objective = load_objective(settings.objective, settings.settings)
        check_method(objective, settings.method)
        rewards.check_source(settings.rewards)
        check_read(settings, objective.needs, mixing_of(settings.mixing) != Mixing())
    if name != "align" and settings.rewards == rewards.MODEL:
        raise UserError(
            f"{name}.rewards is {rewards.MODEL}, and no reward model is trained for function calls. "
            f"Set it to {rewards.GIVEN}, {rewards.JUDGES}NAME or {rewards.FROM_HEAD}DOMAIN/EXPERT."
        )


def check_read(settings: Align, needs: frozenset[str], is_mixed: bool) -> None:
    """Refuse what the objective, or a single reference, would leave unread."""
    unread = f"the objective '{settings.objective}' with its settings"
    if "reference" not in needs and (settings.references != (START,) or is_mixed):
        which = "mixing" if settings.references == (START,) else "references"
        raise UserError(f"{key(which, of='')} is set, but {unread} reads no reference. Leave it out.")
    if is_mixed and len(settings.references) == 1:
        raise UserError(f"{key('mixing', of='')} is set, but {key('references', of='')} has one model. Name several.")
    if "scores" not in needs and settings.rewards != rewards.GIVEN:
        raise UserError(f"{key('rewards', of='')} is {settings.rewards}, but {unread} reads no rewards. Leave it out.")


def mixing_of(settings: Mapping[str, Any]) -> Mixing:
    """A mixture from the recipe's settings."""
    try:
        return Mixing(**settings)
    except TypeError as error:
        allowed = ", ".join(each.name for each in fields(Mixing) if each.init)
        raise UserError(
            f"{key('mixing', of='')} {dict(settings)} does not fit ({error}). Allowed: {allowed}."
        ) from None


def run(parts: Parts, rows: Sequence[Preference], seed: int, folder: Path) -> dict[str, Any]:
    """Train; the adapter is written to `folder`."""
    alignment = parts.alignment(rows, folder)
    return train_preferences(parts.start, rows, alignment, parts.settings, seed, folder) | {"rows": len(rows)}
