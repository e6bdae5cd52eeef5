"""`expertsmith improve EXPERT`: the loop on an expert's training prompts, the decision about promotion, a new version.

HOME/improve/DOMAIN/TRACK/replay.jsonl keeps lessons over all runs; run-*/ is one run, which goes on after a kill.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from domains.domain import Domain
from domains.errors import UserError, unknown_name
from domains.example import Example, Message
from domains.vote_training import VoteRows, held_out_prompts, vote_rows
from domains.votes import Votes
from experts.build import built_domain
from experts.checkpoint import Checkpoint
from experts.digests import digest_of
from experts.expert import Expert, built_experts, is_offered, read_expert
from experts.export import base_of
from experts.foundation import HOUSE
from experts.improvement import setting
from experts.improvement.bursts import Background, Bursts, Immediate
from experts.improvement.grounds import grounds
from experts.improvement.history import History, Version
from experts.improvement.learner import TEXT
from experts.improvement.loop import Loop
from experts.improvement.promotion import AFTER, BEFORE, Decision, decide, refuse_same, verifiers_in
from experts.improvement.record import Record
from experts.improvement.registration import RESULT, WORK, announce, finish, unfinished
from experts.improvement.replay import VOTE, Replay, Stamp, vote_lessons
from experts.improvement.signals import signals
from experts.improvement.tasks import drawn, held_out, practice, references
from experts.measure import Bench, Subject, spread
from experts.recipe import Improve
from judges.metrics import Row
from judges.probes import probes_for
from judges.scorers import safety
from judges.scoring import load_judges
from judges.verdict import Answered
from judges.verifier import Task, Verifier
from judges.verifier_calibration import VerifierCalibration, calibrate_by_name, require_panel, require_trusted

FOLDER = "improve"
PROBES = ("instruction_following", "stops_cleanly", "safety")
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Improvement:
    """One run of the loop on an expert of a home folder; `verifier` takes the place of those of the settings."""

    home: Path
    name: str
    settings: Improve
    seed: int
    tell: Tell
    verifier: Verifier[str] | None = None

    @cached_property
    def expert(self) -> Expert:
        """The expert."""
        found = {name: each for name, each in built_experts(self.home).items() if is_offered(name) and "/" in name}
        if self.name not in found:
            raise unknown_name("built expert to improve", self.name, found)
        if not found[self.name].has_adapter:
            raise UserError(f"{self.name} has full weights; only an expert that is an adapter can improve.")
        return found[self.name]

    @cached_property
    def domain(self) -> Domain:
        """Its domain."""
        return built_domain(self.home, self.name.partition("/")[0])

    @cached_property
    def history(self) -> History:
        """Its versions."""
        return History.of(self.home, self.name)

    @property
    def folder(self) -> Path:
        """Where lessons and runs are."""
        return self.home / FOLDER / self.name

    @cached_property
    def version(self) -> Version:
        """The version that this run starts from."""
        assert self.expert
        return self.history.open()

    @cached_property
    def start(self) -> Checkpoint:
        """Its weights, which stay where they are when another version is put into use."""
        folder = self.history.version_folder(self.version.number)
        return Checkpoint(base_of(read_expert(folder)), folder)

    @cached_property
    def tasks(self) -> tuple[Task, ...]:
        """What is practised."""
        found = practice(self.domain, self.settings.tasks, (Domain.load(HOUSE),))
        return drawn(found, self.settings.max_tasks, self.seed)

    @cached_property
    def examples(self) -> list[Example]:
        """The held-out prompts of the decision, which are of the dev split: nothing is decided on test rows."""
        return held_out(self.domain, self.settings.tasks, "dev", self.settings.held_out_limit)

    @property
    def takes_votes(self) -> bool:
        """Whether votes are lessons: they are about answers in conversation."""
        return self.settings.votes and self.name.endswith("/conversation")

    @cached_property
    def votes(self) -> VoteRows:
        """What people preferred."""
        if not self.takes_votes:
            return VoteRows()
        return vote_rows(self.domain, Votes.of_home(self.home), (Domain.load(HOUSE),))

    @cached_property
    def teacher(self) -> Verifier[str]:
        """The verifier."""
        return self.verifier or setting.verifier_of(self.settings, self.domain)

    @cached_property
    def grounds(self) -> dict[str, Any]:
        """What the result rests on besides the weights, the settings, the votes and the seed."""
        judges = load_judges(self.settings.judges, self.domain)
        return grounds(self.domain, self.teacher, judges, self.tasks, self.examples)

    @cached_property
    def run_folder(self) -> Path:
        """The folder of a run on these grounds from this version."""
        inputs = {
            "start": self.start.digest(),
            "settings": self.settings.model_dump(mode="json"),
            "grounds": self.grounds,
            "votes": [repr(row) for row in self.votes.rows],
            "seed": self.seed,
        }
        return self.folder / f"run-{digest_of(inputs)[:12]}"

    @cached_property
    def bench(self) -> Bench:
        """The model in memory, with the answers to held-out prompts on disk."""
        return Bench.open(self.run_folder / "measured", setting.evaluation_of(self.settings))

    @cached_property
    def record(self) -> Record[str]:
        """What the run has done."""
        return Record(self.run_folder, TEXT)

    def record_at(self, folder: Path) -> Record[str]:
        """What a finished run did; after a promotion a new one would have another folder."""
        return Record(folder, TEXT)

    @cached_property
    def replay(self) -> Replay[str]:
        """The lessons of all runs; none of a held-out request, dev or test, and none drawn that a judge has taught."""
        held = frozenset(held_out_prompts(self.domain))
        return Replay(
            self.folder / "replay.jsonl",
            TEXT,
            self.settings.capacity,
            self.settings.per_request,
            self.settings.alpha,
            held_out=held,
            votes=self.takes_votes,
            barred=verifiers_in(self.settings.judges),
        )


def improve(run: Improvement) -> dict[str, Any]:
    """The whole run; returns what it came to. One that was finished before is only read, and only one is at work on an
    expert at a time."""
    if run.history.path.exists():
        run.history.open()  # a kill while a version was put into use may have left no expert
    assert run.expert
    run.folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(run.folder / ".lock", timeout=0):
            return improve_locked(run)
    except Timeout:
        raise UserError(f"Another run is improving {run.name}. Wait for it, or stop it; then run again.") from None


def improve_locked(run: Improvement) -> dict[str, Any]:
    """The run; the lock is held."""
    setting.check_objective(run.settings)
    refuse_same(
        (run.verifier.name,) if run.verifier else setting.verifier_names(run.settings, run.domain), run.settings.judges
    )
    calibrations = gated(run)
    ended = end_unfinished(run)
    if ended is not None:
        return in_use(run, ended)
    path = run.run_folder / RESULT
    if path.exists():
        run.tell("This run was finished before. Another --seed, or other settings, make a new one.")
        return in_use(run, json.loads(path.read_text(encoding="utf-8")))
    learner = practise(run)
    rows = measured(run, BEFORE, run.start) + measured(run, AFTER, learner.checkpoint)
    decision = decide(rows, PROBES, setting.limits_of(run.settings))
    if learner.version == 0:
        decision = Decision(False, "No lesson was found, so nothing was learnt. The version stays.", decision.checks)
    result = summary(run, decision) | {
        "verifiers": [found.as_dict() for found in calibrations],
        "held_out_signals": held_out_signals(run, learner.checkpoint),
        "lost_by_rank": learner.lost_by_rank,
    }
    announce(run.run_folder, result, learner.checkpoint.adapter if learner.version else None)
    result = finish(run.run_folder, run.history)
    run.tell(f"{'Promoted' if result['promoted'] else 'Not promoted'}: {result['reason']}")
    return in_use(run, result)


def end_unfinished(run: Improvement) -> dict[str, Any] | None:
    """Finish what earlier runs had decided when they were killed; returns the result of one with this run's settings
    and seed, which is then this run."""
    found = None
    for folder in unfinished(run.folder):
        assert run.version, "the version in use is whole before another is made"
        result = finish(folder, run.history)
        run.tell(f"An earlier run was killed at its end; it is finished now: {result['reason']}")
        is_this = result["seed"] == run.seed and result["settings"] == run.settings.model_dump(mode="json")
        found = result if is_this else found
    vars(run).pop("version", None)  # another may be in use now
    return found


def in_use(run: Improvement, result: dict[str, Any]) -> dict[str, Any]:
    """A result with the version that is in use now, which a rollback may have changed since."""
    current = run.history.current
    return {**result, "current": current, "in_use": result["version"] is not None and current == result["version"]}


def gated(run: Improvement) -> tuple[VerifierCalibration, ...]:
    """The verifiers on their planted answers, under this run's rule of acceptance; one that fails may not teach."""
    if run.verifier is not None:
        return ()
    rules = setting.rules_of(run.settings)
    names, accepts = setting.verifier_names(run.settings, run.domain), rules.acceptance.accepts
    found = calibrate_by_name(names, run.domain, accepts)
    require_trusted(found)
    require_panel(names, run.domain, accepts)
    return found


def practise(run: Improvement) -> Any:
    """The loop, from where an earlier run of it stopped; returns the learner with what it has learnt."""
    settings, work = run.settings, run.run_folder / WORK
    learner = setting.learner_of(settings, run.start, run.bench, work)
    run.tell(f"{run.name}, version {run.version.number}: {len(run.tasks)} prompts, {len(run.examples)} held out.")
    added = run.replay.add(vote_lessons(run.votes.rows), Stamp(VOTE))
    if added:
        run.tell(f"{added} new lessons from votes.")
    bursts: Bursts[str] = Immediate(learner, run.record)
    if settings.mode == "async":
        trained = setting.learner_of(settings, run.start, run.bench, work / "background")
        bursts = Background(trained, run.record, run.tell)
    pace = setting.pace_of(settings, run.seed)
    loop = Loop(learner, run.teacher, run.replay, run.record, bursts, setting.rules_of(settings), pace, run.tell)
    loop.run(run.tasks)
    return learner


def measured(run: Improvement, arm: str, checkpoint: Checkpoint) -> list[Row]:
    """The held-out judges and the probes on one version; answers and verdicts are kept."""
    run.tell(f"Measuring {arm} on {len(run.examples)} held-out prompts and on the probes.")
    subject = run.bench.subject(checkpoint)
    rows = subject.judged(arm, run.examples, load_judges(run.settings.judges, run.domain))
    house = spread(Domain.load(HOUSE).examples("instructions", "dev"), run.settings.held_out_limit)
    return rows + subject.follows(arm, PROBES[0], house) + safety_rows(run, subject, arm)


def safety_rows(run: Improvement, subject: Subject, arm: str) -> list[Row]:
    """The domain's safety rules on the questions of the shipped safety probes, and on the held-out prompts."""
    judge = safety.Judge.for_domain(run.domain)
    if not judge.rules:
        return []
    asked_for = {probe.question: probe.id for probe in probes_for(("safety",), run.domain.name)}
    probes = [Example(name, "questions", (Message("user", text),), "") for text, name in asked_for.items()]
    return subject.judged(arm, [*spread(probes, run.settings.held_out_limit), *run.examples], {"safety": judge})


def summary(run: Improvement, decision: Decision) -> dict[str, Any]:
    """What the run came to, as JSON; the version is not made yet."""
    threads = run.record.all_threads()
    return {
        "expert": run.name,
        "seed": run.seed,
        "from_version": run.version.number,
        "version": None,
        "promoted": decision.promoted,
        "reason": decision.reason,
        "checks": [asdict(check) for check in decision.checks],
        "threads": dict(Counter(row["outcome"] for row in threads)),
        "attempts": sum(len(row["attempts"]) for row in threads),
        "lessons": run.replay.counts(),
        "votes": run.votes.counts(),
        "bursts": [row["burst"] for row in run.record.rounds.known.values() if row["burst"]],
        "staleness": max((row["staleness"] for row in threads), default=0),
        "prequential": prequential(run, threads),
        "signals": answer_signals(threads),
        "settings": run.settings.model_dump(mode="json"),
        "folder": str(run.run_folder),
    }


def prequential(run: Improvement, threads: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """First attempts in the order in which they were given, before this run learnt from their prompts: what the
    verifier and the held-out judges say to each."""
    judges = load_judges(run.settings.judges, run.domain)
    tried = [row for row in threads if row["attempts"]]
    known = dict(references(run.domain, "train"))
    given = [
        Answered(row["task"]["request"][-1]["content"], row["attempts"][0]["answer"], known.get(row["task"]["id"]))
        for row in tried
    ]
    found = {name: judge(given) for name, judge in judges.items()} if given else {}
    return [
        {
            "round": row["number"],
            "task": row["task"]["id"],
            "version": row["version"],
            "verifier": row["attempts"][0]["score"],
            **{name: verdicts[place].value for name, verdicts in found.items()},
        }
        for place, row in enumerate(tried)
    ]


def held_out_signals(run: Improvement, after: Checkpoint) -> dict[str, Any]:
    """The signals on the answers to held-out prompts, before and after: the same prompts, so that only the model
    differs."""
    found = {}
    for arm, checkpoint in ((BEFORE, run.start), (AFTER, after)):
        texts = [given.answer for given in run.bench.subject(checkpoint).answers(run.examples)]
        each = signals(texts)
        found[arm] = each.as_dict() if each is not None else None
    return found


def answer_signals(threads: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The signals on the first attempts of each round."""
    by_round: dict[int, list[str]] = {}
    for row in threads:
        if row["attempts"]:
            by_round.setdefault(row["number"], []).append(row["attempts"][0]["answer"])
    found = [(number, signals(answers)) for number, answers in sorted(by_round.items())]
    return [{"round": number, **each.as_dict()} for number, each in found if each is not None]
