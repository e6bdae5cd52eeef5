"""Builds a domain: a list of journaled stages from documents to experts. Running it again goes on where it stopped.

Layout: `<home>/house/instruct` (the general model) and `<home>/<domain>/{pretrain,residual,conversation,structured,
multi_task,sft_after_dapt}`. Every folder is a model over the same base, so every one is an arm of the report.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from domains.atomic import write_text_atomically
from domains.domain import CALLS, GENERAL, Domain
from domains.errors import UserError
from domains.example import Example
from domains.vote_training import VoteRows, vote_rows
from domains.votes import Votes
from experts import house
from experts.checkpoint import CONFIG, Checkpoint
from experts.device import release_memory
from experts.digests import digest_of
from experts.expert import CARD, read_expert, write_expert
from experts.export import base_of
from experts.finish import TRACK_WORK, Finish, card, finish
from experts.foundation import HOUSE, base_checkpoint, instruct_checkpoint
from experts.head import load_head
from experts.journal import RECORD, Stage, read_record, run_stage
from experts.preferences import load_objective
from experts.quantized import check_methods
from experts.ranks import agreed, rank
from experts.recipe import Recipe, Training
from experts.rewards import FROM_HEAD, MODEL
from experts.stages import align, pretrain, residual, reward, sft
from experts.tracks import calls_stages, capped, notes, stage_names, structured_examples, summary, trainable

SOURCE = "source.json"
UNSEEN_SETTINGS = ("checkpoint_steps", "gradient_checkpointing", "compile", "votes")  # the same rows, the same result
REFERENCE_ARMS = ("foundation", "instruct", "dapt", "dapt_residual")
Report = Callable[[str], None]


@dataclass(frozen=True)
class Build:
    """A domain, a recipe and a home folder; its stages know what they depend on."""

    domain: Domain
    recipe: Recipe
    home: Path

    @property
    def folder(self) -> Path:
        """Where this domain's stages are."""
        return self.home / self.domain.name

    @property
    def has_house(self) -> bool:
        """Whether the instruct sibling is made here, from the house instructions."""
        return self.recipe.foundation.instruct == HOUSE

    @property
    def has_reward_model(self) -> bool:
        """Whether the objective takes its rewards from a model that is trained for it."""
        settings = self.recipe.align
        return settings.rewards == MODEL and "scores" in load_objective(settings.objective, settings.settings).needs

    @property
    def house_folder(self) -> Path:
        """Where the general model is."""
        return self.home / HOUSE / "instruct"

    def base_name(self, folder: Path) -> dict[str, str | None]:
        """How a card names the base model in a folder, so that a service finds it again."""
        given = self.recipe.foundation
        if folder == self.base.base:
            return {"base": given.base, "base_revision": given.base_revision}
        if folder == self.instruct.base:
            return {"base": given.instruct, "base_revision": given.instruct_revision}
        return {"base": str(folder), "base_revision": None}

    @cached_property
    def base(self) -> Checkpoint:
        """The base model."""
        return base_checkpoint(self.recipe.foundation)

    @cached_property
    def base_digest(self) -> str:
        """The digest of the base model."""
        return self.base.digest()

    @property
    def instruct(self) -> Checkpoint:
        """The instruct sibling."""
        return instruct_checkpoint(self.recipe.foundation, self.house_folder)

    @property
    def dapt(self) -> Checkpoint:
        """The base model after domain pretraining."""
        folder = self.folder / "pretrain"
        return replace(self.base, **{"adapter" if (folder / CONFIG).exists() else "base": folder})

    @property
    def dapt_residual(self) -> Checkpoint:
        """The domain model with the instruction residual."""
        route = read_record(self.folder / "residual").get("metrics", {}).get("route", "adapters")
        return residual.result(route, self.instruct, self.folder / "residual")

    @cached_property
    def votes(self) -> VoteRows:
        """What people preferred in the chat page, where the recipe trains on it; `max_examples` does not count them."""
        if not self.recipe.align.votes:
            return VoteRows()
        return vote_rows(self.domain, Votes.of_home(self.home), (Domain.load(HOUSE),))

    def track(self, name: str) -> Checkpoint:
        """A model trained on top of the domain model: an adapter, or all weights."""
        folder = self.folder / name
        if (folder / RECORD).exists() and not (folder / CONFIG).exists():
            return Checkpoint(folder)
        return replace(self.dapt if name == "sft_after_dapt" else self.dapt_residual, adapter=folder)

    def expert(self, name: str) -> Checkpoint:
        """A built expert by name, over its own base."""
        folder = self.home / name
        if not all((folder / file).is_file() for file in (RECORD, CARD)):
            raise UserError(f"There is no expert '{name}' in {self.home}. 'expertsmith list' shows what is built.")
        expert = read_expert(folder)
        return expert.checkpoint(base_of(expert))

    def arms(self) -> dict[str, Checkpoint]:
        """The models that a report compares, in order."""
        if CALLS in self.domain.tracks:
            return dict(calls_stages().arms(self))
        return {
            "foundation": self.base,
            "instruct": self.instruct,
            "dapt": self.dapt,
            "dapt_residual": self.dapt_residual,
            **{name: self.track(name) for name in ("sft_after_dapt", "conversation", "structured", "multi_task")},
        }

    @cached_property
    def trainable(self) -> tuple[str, ...]:
        """The tracks that the domain has training rows for."""
        return trainable(self.domain)

    def stages(self) -> Iterator[Stage]:
        """The stages in order; each is made when the ones before it are done."""
        yield house_stage(self) if self.has_house else published_stage(self)
        if CALLS in self.domain.tracks:
            yield from calls_stages().stages(self)
        elif self.domain.name != HOUSE:
            yield pretrain_stage(self)
            yield residual_stage(self)
            if "structured" in self.trainable:
                yield structured_stage(self)
            if "conversation" in self.trainable:
                if self.has_reward_model:
                    yield reward_model_stage(self)
                yield conversation_stage(self)
            if "multi_task" in self.trainable:
                yield multi_task_stage(self)
            yield sft_after_dapt_stage(self)


def run_build(build: Build, report: Report) -> list[dict[str, Any]]:
    """Run every stage that is not done; `report` gets one line per stage."""
    names = stage_names(build)
    check_alignment(build)  # refuse it now, not after an hour
    check_methods(build.recipe)
    _ = build.base_digest, build.instruct.base  # and models that are not there
    if rank() == 0:
        write_text_atomically(build.folder / SOURCE, json.dumps({"domain": str(build.domain.folder.resolve())}))
    records = []
    for text in notes(build):
        report(text)
    for number, stage in enumerate(build.stages(), 1):
        reused = agreed(stage.done)
        label = f"[{number}/{len(names)}] {stage.name}"
        report(f"{label}: {'already done' if reused else 'running'}")
        record = run_stage(stage)
        release_memory()
        records.append({**record, "reused": reused})
        if not reused:
            report(f"{label}: done in {record['seconds']:.0f} s {summary(record['metrics'])}")
    resolved = json.dumps(build.recipe.model_dump(mode="json"), indent=2)
    if rank() == 0:
        write_text_atomically(build.folder / "recipe.json", resolved)
    return records


def check_alignment(build: Build) -> None:
    """Refuse an alignment that can not be, and rewards by a head that can not be loaded."""
    align.check(build.recipe.align)
    align.check(build.recipe.calls_align, "calls_align")
    source = (build.recipe.calls_align if CALLS in build.domain.tracks else build.recipe.align).rewards
    if source.startswith(FROM_HEAD):
        expert = build.expert(source.removeprefix(FROM_HEAD))
        load_head(expert.adapter or expert.base)


def house_stage(build: Build) -> Stage:
    """The general instruct model: SFT of the base on the house instructions."""
    settings = build.recipe.house
    examples = capped(Domain.load(HOUSE).examples("instructions", "train"), settings)
    about = "General instruct model: the foundation after SFT on the house instruction set."
    record = inputs(build, settings, examples)

    def run(folder: Path) -> Mapping[str, Any]:
        work = folder / TRACK_WORK
        metrics = house.shipped_metrics(stage.digest) if build.recipe.foundation.shipped_house else None
        if metrics is None:
            metrics = sft.run(build.base, examples, settings, build.recipe.seed, work)
        elif rank() == 0:
            house.use_shipped(work)
        return finish(build, GENERAL, about, Finish(build.base, examples, metrics), folder)

    stage = Stage("house/instruct", build.house_folder, record, run, trains=True)
    return stage


def published_stage(build: Build) -> Stage:
    """The general model of a published pair: the instruct model as it is."""
    parent = build.instruct.digest()

    def run(folder: Path) -> Mapping[str, Any]:
        parts = Finish(build.instruct, (), {"published": True})
        write_expert(folder, build.instruct.base, card(build, GENERAL, "The published instruct model.", parts))
        return parts.metrics

    return Stage("house/instruct", build.house_folder, {"instruct": parent}, run)


def pretrain_stage(build: Build) -> Stage:
    """Domain pretraining."""
    settings = build.recipe.pretrain
    documents = capped(build.domain.sections("train"), settings)

    def run(folder: Path) -> Mapping[str, Any]:
        return pretrain.run(build.base, documents, settings, build.recipe.seed, folder)

    name, record = f"{build.domain.name}/pretrain", inputs(build, settings, documents)
    return Stage(name, build.folder / "pretrain", record, run, trains=True)


def residual_stage(build: Build) -> Stage:
    """The instruction residual."""
    settings = build.recipe.residual
    parents = {"dapt": build.dapt.digest(), "instruct": build.instruct.digest()}

    def run(folder: Path) -> Mapping[str, Any]:
        metrics = residual.run(build.base, build.instruct, build.dapt, settings, folder)
        start = residual.result(metrics["route"], build.instruct, folder)
        about = f"{build.domain.title}: domain pretraining plus the instruction residual."
        parts = Finish(start, (), metrics)
        write_expert(folder, start.base, card(build, f"{build.domain.name}/residual", about, parts))
        return metrics

    record = {"settings": settings.model_dump(mode="json", exclude={"sweep"}), "base": build.base_digest, **parents}
    return Stage(f"{build.domain.name}/residual", build.folder / "residual", record, run)


def structured_stage(build: Build) -> Stage:
    """The structured expert: SFT on classification and summarization."""
    examples = structured_examples(build.domain)
    about = f"{build.domain.title}: classification and summarization."
    return sft_track(build, "structured", build.dapt_residual, examples, about)


def sft_after_dapt_stage(build: Build) -> Stage:
    """What the residual is to save: the house instructions trained on top of the domain model, in every domain."""
    examples = Domain.load(HOUSE).examples("instructions", "train")
    return sft_track(build, "sft_after_dapt", build.dapt, examples, "Domain model after SFT on the house instructions.")


def sft_track(build: Build, name: str, start: Checkpoint, examples: Sequence[Example], about: str) -> Stage:
    """SFT on top of a checkpoint."""
    own = {"sft_after_dapt": build.recipe.sft_after_dapt, CALLS: build.recipe.calls, "calls_sft": build.recipe.calls}
    settings = own.get(name, build.recipe.sft)
    examples = capped(examples, settings)

    def run(folder: Path) -> Mapping[str, Any]:
        metrics = sft.run(start, examples, settings, build.recipe.seed, folder / TRACK_WORK)
        return finish(build, f"{build.domain.name}/{name}", about, Finish(start, examples, metrics), folder)

    record = inputs(build, settings, examples) | {"start": start.digest()}
    return Stage(f"{build.domain.name}/{name}", build.folder / name, record, run, trains=True)


def conversation_stage(build: Build) -> Stage:
    """The conversation expert: preference optimization with the domain model as the reference."""
    about = f"{build.domain.title}: questions and support in conversation."
    return align_track(build, "conversation", build.dapt_residual, about)


def multi_task_stage(build: Build) -> Stage:
    """One model for both tracks: preference optimization on top of the structured expert, in one adapter."""
    return align_track(
        build, "multi_task", build.track("structured"), f"{build.domain.title}: both tracks in one model."
    )


def align_track(build: Build, name: str, start: Checkpoint, about: str) -> Stage:
    """Preference optimization on top of a checkpoint."""
    settings = build.recipe.calls_align if name == CALLS else build.recipe.align
    votes = build.votes
    rows = (*capped(align.rows_of(build.domain, settings, "train"), settings), *votes.rows)
    arms = {name: model for name, model in build.arms().items() if name in REFERENCE_ARMS}
    parts = align.Parts(build.domain, settings, start, arms, build.expert, build.folder / "reward_model")

    def run(folder: Path) -> Mapping[str, Any]:
        work = folder / TRACK_WORK
        work.mkdir(exist_ok=True)
        metrics = align.run(parts, rows, build.recipe.seed, work) | (votes.counts() if settings.votes else {})
        return finish(build, f"{build.domain.name}/{name}", about, Finish(start, rows, metrics), folder)

    record = inputs(build, settings, rows) | {"start": start.digest()} | parts.inputs()
    return Stage(f"{build.domain.name}/{name}", build.folder / name, record, run, trains=True)


def reward_model_stage(build: Build) -> Stage:
    """The reward model of the domain's preferences, over the domain model."""
    settings = build.recipe.reward_model
    rows = (*capped(align.rows_of(build.domain, build.recipe.align, "train"), settings), *build.votes.rows)

    def run(folder: Path) -> Mapping[str, Any]:
        return reward.run(build.dapt_residual, rows, settings, build.recipe.seed, folder)

    record = inputs(build, settings, rows) | {"start": build.dapt_residual.digest()}
    return Stage(f"{build.domain.name}/reward_model", build.folder / "reward_model", record, run, trains=True)


def inputs(build: Build, settings: Training, data: Sequence[Any]) -> dict[str, Any]:
    """What a training stage depends on."""
    return {
        "settings": settings.model_dump(mode="json", exclude={*UNSEEN_SETTINGS}),
        "seed": build.recipe.seed,
        "base": build.base_digest,
        "data": digest_of([repr(row) for row in data]),
    }


def built_domain(home: Path, name: str) -> Domain:
    """A domain that was built in a home folder, wherever its data lie."""
    try:
        return Domain.load(json.loads((home / name / SOURCE).read_text())["domain"])
    except FileNotFoundError:
        return Domain.load(name)
