"""The report of a domain: every arm measured on held-out data, the residual's scale swept on dev, routing end to end.

Each arm is a journaled stage, so a report that was interrupted goes on, and one after a new expert costs that expert.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from domains.domain import CALLS, GENERAL, Domain
from domains.engine import Engine
from domains.errors import unknown_name
from domains.example import Example
from experts.build import Build, built_domain
from experts.checkpoint import Checkpoint, compose, read_adapter, write_adapter
from experts.device import release_memory
from experts.digests import data_digest, digest_of
from experts.expert import built_experts, versions
from experts.foundation import HOUSE
from experts.journal import Stage, run_stage
from experts.measure import Bench, PreferenceScores, asked_questions, preference_rows, spread
from judges.endpoints import AnyEndpoint
from judges.failures import failures
from judges.labels import Label
from judges.openers import opener_diversity
from judges.report import Report, Row, table
from judges.scoring import load_judges
from judges.verdict import Judge
from router.arms import (
    PREFERENCES,
    ROWS,
    TEXTS,
    answer_arm,
    arm_folder,
    has_likelihoods,
    judge_stage,
    likelihood_folder,
    likelihood_stage,
    subject_of,
)
from router.comparison import TABLE, comparison_stage
from router.items import item_facts
from router.leakage import leakage
from router.llm_judging import llm_judge_stage
from router.pairwise_judging import compared_arms, pair_folder, pairwise_stage
from router.policies import Asked, Policies, end_to_end, route_all
from router.records import read_json, read_rows, write_json, write_rows
from router.route import Router
from router.steps import Numbered, steps
from router.trust import calibrations, counted, distrusted, judge_digests

ARMS = {
    "foundation": "The base model as published.",
    "instruct": "The base model after SFT on the general house instructions.",
    "instruct_prompted": "Instruct with the domain's system prompt.",
    "dapt": "The base model trained on the domain's documents.",
    "dapt_residual": "DAPT plus the instruction residual (instruct - base).",
    "sft_after_dapt": "SFT on the house instructions after DAPT, per domain: what the residual is to save.",
    "conversation": "DPO on preference pairs, starting from DAPT + residual.",
    "structured": "SFT on classification and summaries, starting from DAPT + residual.",
    "multi_task": "SFT, then DPO, in one adapter.",
}
CALL_ARMS = {
    "foundation": ARMS["foundation"],
    "instruct": ARMS["instruct"],
    "calls_sft": "SFT on function calls, starting from instruct.",
    "calls": "SFT on function calls, then preference optimization against wrong calls.",
}
ROUTING = "routing.json"
UNMEASURED = {"judges", "judge_limit", "pairwise", "batch_size", "memorisation_limit", "settings"}


@dataclass(frozen=True)
class Evaluation:
    """The evaluation of one build. `llm_judge` (None: not asked) judges `judge_limit` questions per arm. `endpoints`:
    models of others to compare with, by the name of their arm. `engine`: where local models answer. `remarks`: what the
    caller has to say in the report. `labels`: people's choices, which every judge is held against."""

    build: Build
    report: Callable[[str], None]
    judge_names: tuple[str, ...]
    arm_names: tuple[str, ...] = tuple(ARMS)
    llm_judge: Judge | None = None
    llm_judge_name: str = ""
    judge_is_weak: bool = False
    endpoints: Mapping[str, AnyEndpoint] = field(default_factory=dict)
    engine: Engine = Engine()
    remarks: tuple[str, ...] = ()
    labels: tuple[Label, ...] = ()

    @property
    def arms(self) -> dict[str, str]:
        """What is measured, each with a sentence."""
        others = {arm: f"{e.model_name} at {e.url}, asked as it is." for arm, e in self.endpoints.items()}
        return {arm: arms_of(self.domain)[arm] for arm in self.arm_names} | others

    @property
    def domain(self) -> Domain:
        """The domain."""
        return self.build.domain

    @property
    def folder(self) -> Path:
        """Where the stages of the evaluation are."""
        return self.build.folder / "evaluation"

    @cached_property
    def bench(self) -> Bench:
        """The model under measurement."""
        return Bench.open(self.folder, self.build.recipe.evaluation)

    @cached_property
    def judges(self) -> dict[str, Judge]:
        """The offline judges."""
        settings = self.build.recipe.evaluation.settings
        chosen = {name: values for name, values in settings.items() if name in self.judge_names}
        return load_judges(self.judge_names, self.domain, chosen) if self.judge_names else {}

    @cached_property
    def data(self) -> str:
        """The digest of all data that is measured on."""
        return digest_of([data_digest(domain.folder) for domain in (self.domain, Domain.load(HOUSE))])

    @property
    def is_swept(self) -> bool:
        """Whether the residual's scale is swept: only where it is an adapter, as in the embedded default."""
        dapt = self.build.dapt if "dapt" in self.arm_names else None
        return dapt is not None and dapt.adapter is not None and self.build.instruct.base == dapt.base

    def checkpoint(self, arm: str) -> Checkpoint:
        """The model of an arm."""
        return self.build.arms()[arm.removesuffix("_prompted")]

    def settings(self) -> dict[str, Any]:
        """What every measurement depends on besides the model."""
        chosen = self.build.recipe.evaluation.model_dump(mode="json", exclude=UNMEASURED)
        return {"settings": chosen, "judges": list(self.judge_names), "data": self.data}


def questions(run: Evaluation) -> list[Example]:
    """The held-out questions that are asked."""
    return asked_questions(run.domain, "test", run.build.recipe.evaluation.limit)


def sweep_stage(run: Evaluation, scale: float) -> Stage:
    """Perplexity and instruction following on dev at one scale of the residual."""
    dapt, instruct = run.build.dapt, run.build.instruct

    def measure(folder: Path) -> Mapping[str, Any]:
        parts = [(read_adapter(c.adapter), s) for c, s in ((dapt, 1.0), (instruct, scale)) if c.adapter]
        write_adapter(compose(parts), dapt.base, folder / "adapter")
        subject = run.bench.subject(Checkpoint(dapt.base, folder / "adapter"))
        arm = str(scale)
        house = Domain.load(HOUSE).examples("instructions", "dev")
        rows = subject.document_nll(arm, run.domain, "dev")
        rows += subject.follows(arm, "instruction_following", spread(house, run.build.recipe.evaluation.limit))
        write_rows(folder / ROWS, rows)
        return {"rows": len(rows)}

    inputs = run.settings() | {"dapt": dapt.digest(), "instruct": instruct.digest(), "scale": scale}
    return Stage(f"{run.domain.name}/evaluate/scale {scale}", run.folder / f"scale-{scale}", inputs, measure)


def sweep(run: Evaluation) -> list[dict[str, Any]]:
    """The scale sweep."""
    points = []
    for scale in run.build.recipe.residual.sweep:
        run_reported(run, sweep_stage(run, scale))
        (record,) = table(read_rows(run.folder / f"scale-{scale}" / ROWS), "scale")
        points.append(record | {"scale": scale})
    return points


def run_reported(run: Evaluation, stage: Stage) -> None:
    """Run a stage with a line before it, unless it is done."""
    if not stage.done:
        run.report(stage.name)
        release_memory()
    run_stage(stage)


def evaluate(run: Evaluation, router: Router | None, command: str) -> Report:
    """Measure everything and make the report; the judges are tested first."""
    run = replace(run, report=Numbered(tuple(steps(run, router is not None)), run.report))
    judges = calibrations(run, partial(run_reported, run))
    for arm in run.arms:
        answer_arm(run, arm)
        if has_likelihoods(run, arm):
            run_reported(run, likelihood_stage(run, arm))
    for arm in run.arms:
        run_reported(run, judge_stage(run, arm))
        if run.llm_judge is not None:
            run_reported(run, llm_judge_stage(run, arm, questions(run)))
    for pair in compared_arms(run):
        run_reported(run, pairwise_stage(run, *pair, questions(run)))
    rows = list(all_rows(run))
    untrusted = [name for name in distrusted(judges) if name in run.judge_names]  # the LLM judge is not asked there
    texts = {arm: read_json(arm_folder(run, arm) / TEXTS) for arm in run.arms}
    return Report(
        domain=run.domain.name,
        title=run.domain.title,
        arms=run.arms,
        rows=rows,
        provenance=provenance(run, command) | {"failures": failures(counted(run, rows)).as_dict()},
        samples=samples(run),
        routing=routing(run, router, untrusted) if router and CALLS not in run.domain.tracks else {},
        sweep=sweep(run) if run.is_swept else [],
        notes=notes(run),
        items=item_facts(run.domain, Domain.load(HOUSE)),
        lengths={arm: {item: len(text.split()) for item, text in found.items()} for arm, found in texts.items()},
        openers={arm: openers(list(found.values())) for arm, found in texts.items()},
        leakage=leakage(run, partial(run_reported, run)),
        judges=judges,
    )


def openers(answers: Sequence[str]) -> dict[str, Any]:
    """How differently an arm's answers begin, with a sentence."""
    found = opener_diversity(answers)
    return found.as_dict() | {"sentence": found.sentence()}


def all_rows(run: Evaluation) -> Iterable[Row]:
    """The rows of every arm; preference rows are made here because they need the reference arm."""
    found = {arm: preference_scores(run, arm) for arm in run.arms}
    kinds = {row.id: row.rejected_kinds for row in run.domain.preferences("test")}
    reference = found.get("dapt_residual")
    for arm in run.arms:
        folder = arm_folder(run, arm)
        yield from read_rows(folder / ROWS)
        yield from read_rows(likelihood_folder(run, arm) / ROWS) if has_likelihoods(run, arm) else ()
        yield from preference_rows(arm, found[arm], None if arm == "dapt_residual" else reference, kinds)
        if run.llm_judge is not None:
            yield from read_rows(folder.with_name(f"{folder.name}.llm_judge") / ROWS)
    for pair in compared_arms(run):
        yield from read_rows(pair_folder(run, *pair) / ROWS)


def preference_scores(run: Evaluation, arm: str) -> dict[str, PreferenceScores]:
    """Log-probabilities of an arm's preference rows; none where they are not measured."""
    if not has_likelihoods(run, arm):
        return {}
    scores = read_json(likelihood_folder(run, arm) / PREFERENCES)
    return {k: PreferenceScores(tuple(v["sums"]), tuple(v["means"])) for k, v in scores.items()}


def routing(run: Evaluation, router: Router, untrusted: Sequence[str]) -> dict[str, Any]:
    """Routing on held-out requests, measured once for a router and its experts."""
    stage = routing_stage(run, router, untrusted)
    run_reported(run, stage)
    compared = comparison_stage(run.build.home, router.sources)
    run_reported(run, compared)
    return {**read_json(stage.folder / ROUTING), **read_json(compared.folder / TABLE)}


def routing_stage(run: Evaluation, router: Router, untrusted: Sequence[str]) -> Stage:
    """Route the held-out requests of all built domains; compare answers under several routings."""
    experts = built_experts(run.build.home)
    domains = sorted({name.partition("/")[0] for name in experts if "/" in name} | {run.domain.name})
    rows = [row for name in domains for row in built_domain(run.build.home, name).utterances("test")]

    def measure(folder: Path) -> Mapping[str, Any]:
        labelled = spread(run.domain.examples("classification", "test"), run.build.recipe.evaluation.limit)
        asked = Asked(run.domain, questions(run), labelled)
        found = Policies(run.bench, run.build.dapt_residual.base, experts)
        write_json(folder / ROUTING, route_all(router, rows) | end_to_end(found, router, asked, untrusted))
        return {"rows": len(rows)}

    base = run.build.dapt_residual.base
    inputs = run.settings() | {
        "router": [router.name, router.threshold],
        "tables": ["end_to_end", "reliability", "regret"],
        "experts": {name: expert.checkpoint(base).digest() for name, expert in experts.items()},
        "rows": digest_of([repr(row) for row in rows]),
        "untrusted": list(untrusted),
    }
    return Stage(f"{run.domain.name}/evaluate/routing", run.folder / "routing", inputs, measure)


def samples(run: Evaluation) -> list[dict[str, Any]]:
    """The questions with every arm's answer side by side."""
    texts = {arm: read_json(arm_folder(run, arm) / TEXTS) for arm in run.arms}
    return [
        {
            "id": e.id,
            "question": e.question,
            "reference": e.completion,
            "answers": {arm: found.get(e.id, "") for arm, found in texts.items()},
            "notes": "",
        }
        for e in questions(run)
    ]


def provenance(run: Evaluation, command: str) -> dict[str, Any]:
    """What it takes to get these numbers again."""
    return {
        "command": command,
        "seed": run.build.recipe.seed,
        "recipe": digest_of(run.build.recipe.model_dump(mode="json")),
        "data": run.data,
        "models": {arm: subject_of(run, arm).answer.source.digest for arm in run.arms},
        "judges": [*run.judge_names, *([run.llm_judge_name] if run.llm_judge else [])],
        "judge_digests": judge_digests(run),
        "decoding": {"max_new_tokens": run.build.recipe.evaluation.max_new_tokens},
        "versions": versions(),
        "machine": f"{platform.machine()}, {run.bench.device.name}, {run.bench.device.dtype}",
        "licence": run.domain.licence,
    }


def notes(run: Evaluation) -> list[str]:
    """What a reader must know before believing a number."""
    found = [
        "Intervals are 95% and per metric; comparisons are paired by item and Holm-corrected.",
        "preference_accuracy ranks answers by mean log-probability per token; reward_accuracy by the log-probability "
        "gained over DAPT + residual, which is what DPO trains.",
        "Domain text is held out by section: other sections of the same documents were trained on.",
        "The arm 'instruct with a prompt' is measured on questions only.",
        epochs_note(run),
        *run.remarks,
    ]
    if "safety" in run.judge_names:
        found.append(
            "The safety rules are patterns for red flags, dosing and advice that were written beside the preference "
            "rows: they flag known dangers and are no test of general correctness."
        )
    if run.llm_judge is not None and run.judge_is_weak:
        found.append(
            "The LLM judge here is the 135M general model itself. It is a weak judge: its numbers show that the path "
            "works and decide nothing. For a strong one, set OPENAI_BASE_URL, OPENAI_API_KEY and "
            "EXPERTSMITH_JUDGE_MODEL."
        )
    return found


def passes(epochs: float) -> str:
    """A number of epochs in words."""
    return f"{epochs:g} epoch{'' if epochs == 1 else 's'}"


def epochs_note(run: Evaluation) -> str:
    """How much the two ways to instruction following were trained."""
    recipe = run.build.recipe
    return (
        f"SFT after DAPT trains the house instructions for {passes(recipe.sft_after_dapt.epochs)} in each domain, the "
        f"instruct model (and so the residual) for {passes(recipe.house.epochs)} once."
    )


def arms_of(domain: Domain) -> dict[str, str]:
    """The arms of a domain, each with a sentence."""
    return CALL_ARMS if CALLS in domain.tracks else ARMS


def arm_names(text: Sequence[str], domain: Domain | None = None) -> tuple[str, ...]:
    """Arms by their names or by the names of experts (`mortgage/conversation`), those of a domain where one is given;
    all of them when none is left."""
    names = dict.fromkeys("instruct" if name == GENERAL else name.rpartition("/")[2] for name in text)
    for name in names:
        if name not in ARMS | CALL_ARMS:
            raise unknown_name("arm", name, ARMS | CALL_ARMS)
    own = arms_of(domain) if domain else ARMS
    return tuple(name for name in names if name in own) or tuple(own)
