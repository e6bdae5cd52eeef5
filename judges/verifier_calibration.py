"""Whether a verifier can be believed: it must pass planted good answers and fail planted bad ones before it may teach.

Rows of our own, written by hand, are in `judges/data/verifier_probes.jsonl`; safety, grounding and the LLM judge are
also shown the probes of the judges (judges/probes.py). That it is better than chance and than 'the longer answer wins'
is decided as for judges (judges/calibration.py).
Run: python -m judges.verifier_calibration mortgage caregiving, for a table of all rule verifiers at the loop's default.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, Generic, TypeVar

from domains.domain import Domain
from domains.errors import UserError
from domains.example import Message
from domains.readers import RowError, read_jsonl, text_field
from judges.calibration import Flips, Outcome, preferred, summary
from judges.probes import criteria_of, probes_for
from judges.verifier import Task, Verifier, load_verifier
from judges.verifiers.panel import Verifier as Panel

FILE = Path(__file__).parent / "data" / "verifier_probes.jsonl"
JUDGES_PROBES = {"safety": "safety", "grounding": "grounding", "llm_judge": "llm_judge"}
RULES = ("arithmetic", "grounding", "json_schema", "reading_level", "safety")
GATE = 0.75
DEFAULT = 0.8  # the recipe's improve.threshold, under improve.accept = all
MET = 0.5

Answer = TypeVar("Answer")
Accepts = Callable[[Sequence[float]], bool]


@dataclass(frozen=True)
class Planted(Generic[Answer]):
    """A task with an answer that must pass and one that must not; `kind` is what is wrong with that one; `domain`
    where the answers rest on the documents of one."""

    id: str
    task: Task
    good: Answer
    bad: Answer
    kind: str = ""
    domain: str = ""

    @property
    def longer_is_good(self) -> bool:
        """Whether the rule 'the longer answer wins' gets this one right; for answers without a length it does not."""
        return isinstance(self.good, str) and isinstance(self.bad, str) and len(self.good) > len(self.bad)


@dataclass(frozen=True)
class VerifierCalibration:
    """`good_passed` of the `n` judged probes and `bad_failed` (None without any), the share on which the good answer
    scored higher, probes that could not be judged, and whether the loop may use the verifier, with the reason."""

    verifier: str
    n: int
    unjudged: int
    good_passed: float | None
    bad_failed: float | None
    agreement: float | None
    trusted: bool
    reason: str

    def as_dict(self) -> dict[str, Any]:
        """The form in files."""
        return asdict(self)


def all_met(scores: Sequence[float]) -> bool:
    """Every condition is met at least half."""
    return bool(scores) and min(scores) >= MET


@dataclass(frozen=True)
class Shown:
    """A verifier's scores of a probe's two answers; None where it could not judge one."""

    longer_is_good: bool
    good: tuple[float, ...] | None
    bad: tuple[float, ...] | None
    outcome: Outcome = field(init=False)

    def __post_init__(self) -> None:
        good, bad = (None if not scores else fmean(scores) for scores in (self.good, self.bad))
        object.__setattr__(self, "outcome", Outcome(self.longer_is_good, preferred(good, bad, 1)))


def calibrate(
    verifier: Verifier[Answer], probes: Sequence[Planted[Answer]], accepts: Accepts = all_met, gate: float = GATE
) -> VerifierCalibration:
    """Show a verifier its probes; `accepts` is the loop's rule of acceptance, `gate` the least share on either side."""
    shown = [show(verifier, probe) for probe in probes]
    judged = [each for each in shown if each.good is not None and each.bad is not None]
    goods = [accepts(each.good) for each in judged if each.good is not None]
    bads = [not accepts(each.bad) for each in judged if each.bad is not None]
    good_passed, bad_failed = (sum(found) / len(found) if found else None for found in (goods, bads))
    compared = summary(verifier.name, [each.outcome for each in shown], Flips())
    problem = refusal(good_passed, bad_failed, gate) or ("" if compared.trusted else compared.reason)
    return VerifierCalibration(
        verifier=verifier.name,
        n=len(judged),
        unjudged=len(shown) - len(judged),
        good_passed=good_passed,
        bad_failed=bad_failed,
        agreement=compared.agreement,
        trusted=not problem,
        reason=problem or compared.reason,
    )


def show(verifier: Verifier[Answer], probe: Planted[Answer]) -> Shown:
    """What a verifier scores the two answers of a probe."""
    conditions = verifier.conditions(probe.task)
    found = [verifier.judge(probe.task, conditions, answer) for answer in (probe.good, probe.bad)]
    good, bad = (None if critique is None else critique.scores for critique in found)
    return Shown(probe.longer_is_good, good, bad)


def refusal(good_passed: float | None, bad_failed: float | None, gate: float) -> str:
    """Why the shares are not enough; empty when they are."""
    if good_passed is None or bad_failed is None:
        return "Not calibrated: no planted answer could be judged."
    if good_passed < gate:
        return f"It passes only {good_passed:.0%} of the planted good answers (the gate is {gate:.0%})."
    if bad_failed < gate:
        return f"It fails only {bad_failed:.0%} of the planted bad answers (the gate is {gate:.0%})."
    return ""


def calibrate_by_name(
    names: Sequence[str], domain: Domain | None, accepts: Accepts = all_met
) -> tuple[VerifierCalibration, ...]:
    """Each verifier on the shipped probes for it."""
    return tuple(calibrate(load_verifier(name, domain), probes_of(name, domain), accepts) for name in names)


def require_trusted(found: Sequence[VerifierCalibration]) -> None:
    """Refuse verifiers that failed: a UserError names each with the reason."""
    failed = [each for each in found if not each.trusted]
    if failed:
        reasons = " ".join(f"{each.verifier}: {each.reason}" for each in failed)
        raise UserError(f"The loop may not use a verifier that its probes do not bear out. {reasons} Take another one.")


def require_panel(names: Sequence[str], domain: Domain | None, accepts: Accepts = all_met, gate: float = GATE) -> None:
    """Refuse verifiers that together let through what one of them alone would not: under a rule of means, the good
    scores of the others make up for a broken condition. The bad answers of each must fail. A UserError."""
    if len(names) < 2:
        return
    members = tuple(load_verifier(name, domain) for name in names)
    for name in names:
        failed = [not accepts(scores) for scores in bad_scores(members, probes_of(name, domain))]
        if not failed:
            raise UserError(
                f"Together, {', '.join(names)} can judge none of the planted bad answers of {name}. Take {name} alone, "
                f"or other improve.verifiers."
            )
        if sum(failed) / len(failed) < gate:
            raise UserError(
                f"Together, {', '.join(names)} fail only {sum(failed) / len(failed):.0%} of the planted bad answers of "
                f"{name} (the gate is {gate:.0%}). Set improve.accept=all, or a higher improve.threshold."
            )


def bad_scores(members: Sequence[Verifier[Any]], probes: Sequence[Planted[Any]]) -> list[tuple[float, ...]]:
    """The scores of the bad answers under those members of a panel that can judge the task, where they could."""
    panels = [Panel(tuple(member for member in members if can_judge(member, probe.task))) for probe in probes]
    shown = [show(panel, probe) for panel, probe in zip(panels, probes, strict=True)]
    return [each.bad for each in shown if each.bad is not None]


def can_judge(verifier: Verifier[Any], task: Task) -> bool:
    """Whether a task has the facts that a verifier reads."""
    try:
        verifier.conditions(task)
    except UserError:
        return False
    return True


def probes_of(name: str, domain: Domain | None) -> tuple[Planted[str], ...]:
    """The shipped probes for a verifier: ours, and the judges' (of the domain, where they rest on it)."""
    where = domain.name if domain else ""
    own = tuple(probe for verifier, probe in read_planted(FILE) if verifier == name and probe.domain in ("", where))
    if name not in JUDGES_PROBES:
        return own
    of_judges = probes_for(criteria_of(JUDGES_PROBES[name]), where)
    return own + tuple(Planted(p.id, task_of(p.id, p.question), p.better, p.worse, p.kind) for p in of_judges)


def task_of(row_id: str, request: str, facts: Mapping[str, Any] | None = None) -> Task:
    """A task of one user turn."""
    return Task(row_id, (Message("user", request),), facts or {})


def read_planted(path: Path) -> tuple[tuple[str, Planted[str]], ...]:
    """The verifier's name and the probe of each row of a file; bad rows are a UserError."""
    reading = read_jsonl(path, parse_planted)
    if reading.problems:
        raise UserError(f"{len(reading.problems)} bad probes, the first: {reading.problems[0]}")
    return reading.records


def parse_planted(row: dict[str, Any]) -> tuple[str, Planted[str]]:
    """One row {id, verifier, request, good, bad, facts?, kind?}; an answer may be empty."""
    facts = row.get("facts", {})
    if not isinstance(facts, dict):
        raise RowError("facts", "must be an object.", "write {} or leave it out.")
    for name in ("good", "bad"):
        if not isinstance(row.get(name), str):
            raise RowError(name, "must be a text.", "write the planted answer.")
    row_id = text_field(row, "id")
    task = task_of(row_id, text_field(row, "request"), facts)
    kind, domain = (str(row.get(name, "")) for name in ("kind", "domain"))
    return text_field(row, "verifier"), Planted(row_id, task, row["good"], row["bad"], kind, domain)


def gate_table(domains: Sequence[str], accepts: Accepts) -> list[str]:
    """Every rule verifier with probes on each domain, as lines of a Markdown table."""
    lines = [
        "| domain | verifier | n | good passed | bad failed | may teach |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for domain in map(Domain.load, domains):
        for found in calibrate_by_name([name for name in RULES if probes_of(name, domain)], domain, accepts):
            shares = ["" if share is None else f"{share:.2f}" for share in (found.good_passed, found.bad_failed)]
            told = "yes" if found.trusted else f"no: {found.reason}"
            lines.append(f"| {domain.name} | {found.verifier} | {found.n} | {' | '.join(shares)} | {told} |")
    return lines


if __name__ == "__main__":
    print("\n".join(gate_table(sys.argv[1:], lambda scores: bool(scores) and min(scores) >= DEFAULT)))
