"""Does an expert that improves by itself get better on what it never saw? Against best-of-T and SFT on accepted ones.

Two experts of a home folder (caregiving conversation under plain language and red-flag rules; mortgage calculations),
three seeds, the test split, a judge that is not the verifier. HOME/bench/improve keeps everything; a run goes on there.
Run: `expertsmith bench improve --json`.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from domains.atomic import write_text_atomically
from domains.errors import UserError
from domains.example import Example
from experts.build import SOURCE
from experts.checkpoint import Checkpoint
from experts.digests import digest_of
from experts.expert import built_experts
from experts.export import base_of
from experts.improvement import setting
from experts.improvement.baselines import (
    DRAW_SEEDS,
    Chosen,
    Tuned,
    accepted,
    attempt_compute,
    best_of,
    sft_on_accepted,
    training_compute,
)
from experts.improvement.learner import task_as_dict
from experts.improvement.learners.text import TextLearner
from experts.improvement.registration import RESULT
from experts.improvement.run import Improvement, improve
from experts.improvement.tasks import held_out
from experts.recipe import Improve
from judges.comparisons import compare_measure, decided
from judges.metrics import Row, measures
from judges.scoring import load_judges
from judges.stats import wilson_interval
from judges.verdict import Answered
from judges.verifier import Task, Verifier
from ui.benches._improve_page import page

SEEDS = (1, 2, 3)
ARMS = ("before", "after", "best_of", "sft")
RATES = (1e-4, 5e-4)  # the loop's own, and the recipe's for supervised training
VERIFIER = "verifier"
PASS = "_pass"


@dataclass(frozen=True)
class Case:
    """An expert with what it practises and how it is judged; at most `limit` test prompts. `verifier` takes the place
    of that of the settings."""

    name: str
    expert: str
    settings: Improve
    limit: int = 0
    verifier: Verifier[str] | None = None

    @property
    def judge(self) -> str:
        """The held-out judge."""
        return self.settings.judges[0]


CASES = (
    Case("caregiving", "caregiving/conversation", Improve(max_tasks=48, held_out_limit=16)),
    Case(
        "calculations",
        "mortgage/conversation",
        Improve(
            verifiers=("arithmetic",), judges=("amount",), tasks=("calculations",), max_tasks=48, held_out_limit=16
        ),
    ),
)


def quicker(case: Case) -> Case:
    """A few prompts and one short burst, to see that it works."""
    few = {"max_tasks": 4, "prompts": 4, "steps": 2, "max_attempts": 2, "held_out_limit": 3, "max_new_tokens": 24}
    return replace(case, settings=case.settings.model_copy(update=few), limit=4)


def run(quick: bool = False, home: Path = Path()) -> dict[str, Any]:
    """All cases and seeds; returns pass rates with intervals and what each arm cost."""
    return measure([quicker(case) for case in CASES] if quick else CASES, SEEDS[:1] if quick else SEEDS, home)


def measure(cases: Sequence[Case], seeds: Sequence[int], home: Path) -> dict[str, Any]:
    """The cases whose expert is built."""
    built = built_experts(home)
    there = [case for case in cases if case.expert in built]
    if not there:
        names = ", ".join(case.expert for case in cases)
        raise UserError(f"None of {names} is built in {home}. 'expertsmith build mortgage caregiving' does it.")
    folder = home / "bench" / "improve"
    rows = []
    for case in there:
        found = [outcome for seed in seeds for outcome in one_seed(case, seed, home, folder)]
        rows += table(case, found)
    result = {"rows": rows, "seeds": list(seeds)}
    write_text_atomically(folder / "improve.json", json.dumps(result, indent=2))
    write_text_atomically(folder / "improve.html", page(rows))
    return result | {"json": str(folder / "improve.json"), "html": str(folder / "improve.html")}


@dataclass(frozen=True)
class Measured:
    """One arm of a seed: pass (1) or fail (0) of each test prompt, by the held-out judge and by the verifier; the
    units of compute for training, for the answers given while practising and for those to the test prompts, and the
    tokens that an answer took. `rates`: pass rates on dev by learning rate, where one was chosen."""

    arm: str
    seed: int
    passes: dict[str, dict[str, float | None]]
    compute: int
    tokens_per_answer: float
    attempt_compute: int
    answer_compute: int
    result: dict[str, Any]
    rates: dict[str, float] = field(default_factory=dict)


def one_seed(case: Case, seed: int, home: Path, folder: Path) -> Iterator[Measured]:
    """The four arms of a seed; what was measured before is read."""
    expert = built_experts(home)[case.expert]
    start = expert.checkpoint(base_of(expert)).digest()
    key = digest_of([case.name, start, case.settings.model_dump(mode="json"), case.limit, seed, basis(case, home)])[:12]
    for arm in ARMS:
        path = folder / case.name / f"{arm}-{seed}-{key}.json"
        if not path.exists():
            tell(f"{case.name}, seed {seed}: {arm}")
            found = vars(Arms(case, seed, home, folder / case.name / f"seed-{seed}-{key}").measured(arm))
            write_text_atomically(path, json.dumps(found))
        yield Measured(**json.loads(path.read_text(encoding="utf-8")))


def basis(case: Case, home: Path) -> list[Any]:
    """What the numbers of a case rest on besides weights and settings: its rows, rules, verifier and judge, and how
    draws and rates are chosen."""
    run = Improvement(home, case.expert, case.settings.model_copy(update={"votes": False}), 0, tell, case.verifier)
    return [run.grounds, [task_as_dict(task) for task in test_tasks(run, case)], DRAW_SEEDS, RATES]


@dataclass(frozen=True)
class Answers:
    """An arm's answers to the test prompts and what they cost: training, practising, answering."""

    chosen: Chosen
    compute: int = 0
    attempt_compute: int = 0
    rates: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Arms:
    """The models of a seed, in a home folder of their own: nothing changes the one that is measured."""

    case: Case
    seed: int
    home: Path
    folder: Path

    def measured(self, arm: str) -> Measured:
        """One arm on the test prompts."""
        run = self.improvement()
        result = self.result(run)
        examples = held_out(run.domain, self.case.settings.tasks, "test", self.case.limit)
        tasks = {task.id: task for task in test_tasks(run, self.case)}
        found = self.answers(arm, run, result, [tasks[e.id] for e in examples])
        return Measured(
            arm,
            self.seed,
            self.passes(run, examples, tasks, found.chosen.answers),
            found.compute,
            found.chosen.num_tokens / len(examples),
            found.attempt_compute,
            found.chosen.compute,
            result,
            found.rates,
        )

    def result(self, run: Improvement) -> dict[str, Any]:
        """What the loop came to, from version 0: a promotion of this seed is not the start of another arm."""
        path = self.folder / RESULT
        if not path.exists():
            run.history.open()
            run.history.use(0)
            write_text_atomically(path, json.dumps(improve(run)))
        return dict(json.loads(path.read_text(encoding="utf-8")))

    def improvement(self) -> Improvement:
        """The run of the loop, over a copy of the expert."""
        own = self.folder / "home"
        for name in (self.case.expert, f"{self.case.expert.partition('/')[0]}/{SOURCE}"):
            if (self.home / name).exists() and not (own / name).exists():
                copy_linked(self.home / name, own / name)
        return Improvement(own, self.case.expert, self.case.settings, self.seed, tell, self.case.verifier)

    def answers(self, arm: str, run: Improvement, result: dict[str, Any], tasks: Sequence[Task]) -> Answers:
        """The arm's answers, and what they cost."""
        start = Checkpoint(run.start.base, run.history.version_folder(result["from_version"]))
        if arm == "best_of":
            drawn = best_of(learner_at(run, start), run.teacher, tasks, self.case.settings.max_attempts, self.seed)
            return Answers(drawn)
        checkpoint, compute = start, 0
        rates: dict[str, float] = {}
        record = run.record_at(Path(result["folder"]))
        if arm == "after" and result["version"] is not None:
            checkpoint = Checkpoint(start.base, run.history.version_folder(result["version"]))
            compute = training_compute(result["bursts"])
        if arm == "sft":
            tuned, rates = self.tuned(run, start, accepted(record), training_compute(result["bursts"]))
            checkpoint, compute = tuned.checkpoint, tuned.compute
        learner = learner_at(run, checkpoint)
        practised = attempt_compute(learner, record) if arm in ("after", "sft") else 0
        return Answers(best_of(learner, run.teacher, tasks, 1, self.seed), compute, practised, rates)

    def tuned(
        self, run: Improvement, start: Checkpoint, examples: Sequence[Example], compute: int
    ) -> tuple[Tuned, dict[str, float]]:
        """SFT at the learning rate that passes most dev prompts, the lower one of equals; each may use all of the
        compute, and the others are not counted."""
        training, found, passed = setting.training_of(self.case.settings), {}, {}
        judge = load_judges([self.case.judge], run.domain)
        for rate in RATES:
            settings, folder = training.model_copy(update={"learning_rate": rate}), self.folder / f"sft-{rate:g}"
            found[rate] = sft_on_accepted(start, examples, settings, compute, self.seed, folder)
            rows = run.bench.subject(found[rate].checkpoint).judged("sft", run.examples, judge)
            values = [row.value for row in rows if row.value is not None]
            passed[f"{rate:g}"] = sum(values) / len(values) if values else 0.0
        best = max(RATES, key=lambda rate: passed[f"{rate:g}"])
        return found[best], passed

    def passes(
        self, run: Improvement, examples: Sequence[Example], tasks: dict[str, Task], answers: Sequence[str]
    ) -> dict[str, dict[str, float | None]]:
        """Pass or fail by the held-out judge and by the verifier."""
        judge = load_judges([self.case.judge], run.domain)[self.case.judge]
        given = [Answered(e.question, text, e.completion) for e, text in zip(examples, answers, strict=True)]
        found = {e.id: verdict.value for e, verdict in zip(examples, judge(given), strict=True)}
        verifier, accepts = run.teacher, setting.rules_of(self.case.settings).acceptance.accepts
        own: dict[str, float | None] = {}
        for example, text in zip(examples, answers, strict=True):
            task = tasks[example.id]
            critique = verifier.judge(task, verifier.conditions(task), text)
            own[example.id] = None if critique is None else float(accepts(critique.scores))
        return {self.case.judge: found, VERIFIER: own}


def test_tasks(run: Improvement, case: Case) -> list[Task]:
    """The tasks of the test split, with the facts that the verifier needs."""
    from judges.improvement_tasks import improvement_tasks

    return [task for kind in case.settings.tasks for task in improvement_tasks(run.domain, kind, "test")]


def learner_at(run: Improvement, checkpoint: Checkpoint) -> TextLearner:
    """A learner that only answers."""
    learner = setting.learner_of(run.settings.model_copy(update={"workers": 1}), checkpoint, run.bench, run.folder)
    assert isinstance(learner, TextLearner)
    return learner


def copy_linked(source: Path, target: Path) -> None:
    """Copy a file or a folder, which is whole when it is there; large files are linked, since nothing writes into
    them."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    if source.is_file():
        shutil.copy(source, part)
    else:
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(source, part, copy_function=link)
    part.rename(target)


def link(source: str, target: str) -> None:
    """A hard link, or a copy where the file system has none."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy(source, target)


def tell(line: str) -> None:
    """Progress on standard error."""
    print(line, file=sys.stderr, flush=True)


def table(case: Case, found: Sequence[Measured]) -> list[dict[str, Any]]:
    """A line an arm and judge: the pass rate over prompts (each the mean of its seeds, which counts as one trial), its
    gain over `before`, paired by prompt, and what it cost. The intervals are over prompts, for these seeds; `by_seed`
    shows how far the seeds differ."""
    rows = [row for name in (case.judge, VERIFIER) for row in item_rows(name, found)]
    lines = []
    for measure in measures(rows):
        others = [arm for arm in ARMS[1:] if arm in measure.features]
        gains = {c.arm_a: c for c in decided([compare_measure(measure, arm, ARMS[0]) for arm in others])}
        for arm in ARMS:
            values = [row.value for row in rows if row.metric == measure.metric and row.arm == arm]
            scored = [value for value in values if value is not None]
            interval, gain = wilson_interval(sum(scored), len(scored)), gains.get(arm)
            its = [each for each in found if each.arm == arm]
            lines.append(
                {"case": case.name, "judge": measure.metric, "arm": arm, "n": len(scored), "seeds": len(its),
                 "pass_rate": round(sum(scored) / len(scored), 4) if scored else None,
                 "low": interval.low, "high": interval.high,
                 "gain": gain.difference if gain else None, "gain_low": gain.low if gain else None,
                 "gain_high": gain.high if gain else None, "p_holm": gain.p_holm if gain else None,
                 "verdict": gain.verdict if gain else "",
                 "by_seed": [rate(each, measure.metric) for each in its],
                 **costs(its),
                 "tokens_per_answer": round(sum(each.tokens_per_answer for each in its) / len(its), 1)}
            )  # fmt: skip
    return lines + [loop_line(case, found)]


def costs(found: Sequence[Measured]) -> dict[str, int]:
    """The mean units of the seeds: training, answers while practising, answers to the test prompts, all of them."""
    parts = {"train": "compute", "attempt": "attempt_compute", "answer": "answer_compute"}
    each = {f"{name}_units": round(sum(getattr(m, key) for m in found) / len(found)) for name, key in parts.items()}
    return each | {"total_units": sum(each.values())}


def rate(found: Measured, metric: str) -> float | None:
    """The pass rate of one seed; `metric` is that of `item_rows`."""
    values = [value for value in found.passes[metric.removesuffix(PASS)].values() if value is not None]
    return round(sum(values) / len(values), 4) if values else None


def item_rows(judge: str, found: Sequence[Measured]) -> list[Row]:
    """A row an arm and prompt: the mean over seeds of pass or fail."""
    rows = []
    for arm in ARMS:
        runs = [each.passes[judge] for each in found if each.arm == arm]
        for item in runs[0]:
            values = [value for each in runs if (value := each[item]) is not None]
            rows.append(Row(arm, f"{judge}{PASS}", item, sum(values) / len(values) if values else None))
    return rows


def loop_line(case: Case, found: Sequence[Measured]) -> dict[str, Any]:
    """What the loop did, seed by seed."""
    results = [each.result for each in found if each.arm == "after"]
    kept = ("threads", "attempts", "promoted", "reason", "prequential", "signals")
    runs = [
        {"seed": result["seed"], **{name: result[name] for name in kept}, "bursts": len(result["bursts"])}
        for result in results
    ]
    return {"case": case.name, "arm": "loop", "runs": runs}
