"""Measuring one arm: its answers are generated, then judged, each resumable for itself; a local model's
log-probabilities are a third stage. An arm is a local checkpoint, or a model behind an endpoint.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experts.digests import digest_of
from experts.journal import Stage, discard, read_record
from experts.measure import Held, Subject, arm_prompts, generate_arm, judge_arm, spread
from experts.remote import RemoteModel
from experts.spread import SpreadModel
from judges.failures import FAILURE
from judges.judging import judge_digest
from router.records import write_json, write_rows

if TYPE_CHECKING:
    from router.evaluation import Evaluation

FAILED_ROWS = "failed_rows"
ROWS, TEXTS, PREFERENCES = "rows.jsonl", "texts.json", "preferences.json"


def subject_of(run: Evaluation, arm: str) -> Subject:
    """The model of an arm."""
    if arm in run.endpoints:
        return run.bench.subject_of(RemoteModel(run.endpoints[arm]))
    checkpoint = run.checkpoint(arm)
    if run.engine.elsewhere:
        return run.bench.subject_of(SpreadModel(checkpoint, run.engine))
    return run.bench.subject(checkpoint)


def system_prompt(run: Evaluation, arm: str) -> str | None:
    """The system prompt that an arm answers under."""
    return run.domain.system_prompt if arm.endswith("_prompted") and arm not in run.endpoints else None


def has_likelihoods(run: Evaluation, arm: str) -> bool:
    """Whether the arm's log-probabilities are measured."""
    return arm not in run.endpoints and not arm.endswith("_prompted")


def arm_folder(run: Evaluation, arm: str) -> Path:
    """Where an arm's judged rows are; an endpoint's model may have a name that is no file name."""
    name = re.sub(r"[^\w.-]", "_", arm)
    return run.folder / (arm if name == arm else f"{name}-{digest_of(arm)[:8]}")


def likelihood_folder(run: Evaluation, arm: str) -> Path:
    """Where an arm's log-probabilities are."""
    folder = arm_folder(run, arm)
    return folder.with_name(f"{folder.name}.likelihood")


def answer_step(run: Evaluation, arm: str) -> str:
    """The name of an arm's first step, which is no stage: answers are kept one by one."""
    return f"{run.domain.name}/evaluate/{arm}/answers"


def answer_arm(run: Evaluation, arm: str) -> None:
    """Generate what is missing; every answer is on disk as soon as it has ended."""
    subject, system = subject_of(run, arm), system_prompt(run, arm)
    held = Held.of(run.domain, subject.settings)
    missing = sum(subject.answer.num_missing(*each) for each in arm_prompts(subject, held, system))
    if missing:
        run.report(f"{answer_step(run, arm)}: {missing} answers")
        generate_arm(subject, held, system)


def judge_stage(run: Evaluation, arm: str) -> Stage:
    """Judge the answers of an arm, which are there; the model is not needed any more."""
    subject, system = subject_of(run, arm), system_prompt(run, arm)
    held = Held.of(run.domain, subject.settings)
    answers = [subject.answer(*each) for each in arm_prompts(subject, held, system)]

    def judge(folder: Path) -> Mapping[str, Any]:
        if system:
            rows = subject.judged(arm, held.questions, run.judges, system)
        else:
            rows = judge_arm(subject, arm, held, run.judges, run.domain.labels)
        write_rows(folder / ROWS, rows)
        given = subject.given(held.questions, system)
        write_json(folder / TEXTS, {each.example.id: each.generated.text for each in given if not each.failure})
        return {"rows": len(rows), FAILED_ROWS: sum(FAILURE in row.parts for row in rows)}

    judges = {name: judge_digest(name, judge) for name, judge in run.judges.items()}
    inputs = run.settings() | {"judges": judges, "answers": digest_of([repr(each) for each in answers]), "arm": arm}
    discard_failed(arm_folder(run, arm))
    return Stage(f"{run.domain.name}/evaluate/{arm}", arm_folder(run, arm), inputs, judge)


def discard_failed(folder: Path) -> None:
    """Remove a finished stage some of whose rows failed, so that these are tried again; the others are kept apart."""
    if read_record(folder).get("metrics", {}).get(FAILED_ROWS):
        discard(folder)


def likelihood_stage(run: Evaluation, arm: str) -> Stage:
    """Log-probabilities of the held-out documents and of the preference rows."""
    checkpoint = run.checkpoint(arm)

    def measure(folder: Path) -> Mapping[str, Any]:
        subject = run.bench.subject(checkpoint)
        write_rows(folder / ROWS, subject.document_nll(arm, run.domain, "test"))
        preferences = spread(run.domain.preferences("test"), run.build.recipe.evaluation.preference_limit)
        scores = subject.preference_logprobs(preferences)
        write_json(folder / PREFERENCES, {k: {"sums": v.sums, "means": v.means} for k, v in scores.items()})
        return {"preferences": len(preferences)}

    settings = {key: value for key, value in run.settings().items() if key != "judges"}
    inputs = settings | {"model": checkpoint.digest(), "arm": arm}
    return Stage(f"{run.domain.name}/evaluate/{arm}/likelihood", likelihood_folder(run, arm), inputs, measure)
