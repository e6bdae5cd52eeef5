"""Every judge of an evaluation is calibrated before it judges: one journaled stage a judge, shared by the domains.
Where probes were left unscored for a passing reason the next run tries again.

The weak default LLM judge (our own 135M model) gets few probes, so that this costs seconds; others get more. All
probes: `expertsmith calibrate JUDGE`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from experts.digests import digest_of
from experts.journal import Stage, run_stage
from judges import probes as probes_module
from judges.asking import REFUSED
from judges.pairwise import PairwiseJudge
from judges.probe_sets import ProbeSet, calibrate_set
from judges.probes import DOMAIN_BOUND, Probe, criteria_of, probes_for, subset
from judges.rubrics import load_rubrics
from judges.scorers.llm_judge import Judge as LlmJudge
from judges.verdict import Judge
from router.arms import FAILED_ROWS, discard_failed

FILE = "calibration.json"
JUDGES_FOLDER = Path(probes_module.__file__).parent


@dataclass(frozen=True)
class Effort:
    """How many probes a judge that costs calls gets, and how many of them also as pairs in both orders; 0 = all."""

    num_probes: int = 0
    num_pairs: int = 0


WEAK = Effort(12, 4)
STRONG = Effort(40, 20)


def judge_records(
    home: Path,
    domain: str,
    judges: Mapping[str, Judge | PairwiseJudge],
    effort: Effort,
    say: Callable[[str], None],
    own: Sequence[Probe] = (),
) -> list[dict[str, Any]]:
    """The `judges` of report.json: each judge's calibration, from its stage or measured now. `own`: the domain's own
    probes."""
    stages = [calibration_stage(home, domain, name, judge, effort, own) for name, judge in judges.items()]
    for stage in stages:
        if not stage.done:
            say(stage.name)
        run_stage(stage)
    return [dict(json.loads((stage.folder / FILE).read_text(encoding="utf-8"))) for stage in stages]


def calibration_stage(
    home: Path, domain: str, name: str, judge: Judge | PairwiseJudge, effort: Effort, own: Sequence[Probe] = ()
) -> Stage:
    """Run one judge on its probes; for itself in a domain whose rules it has, or that has probes of its own."""
    chosen = probes_of(name, judge, domain, effort, own)
    num_pairs = effort.num_pairs or len(chosen.all)
    chosen = chosen.first(num_pairs) if isinstance(judge, PairwiseJudge) else chosen

    def run(folder: Path) -> Mapping[str, Any]:
        refused = Refusals()
        found = calibrate_set(name, judge, chosen, num_pairs, refused.seen)
        (folder / FILE).write_text(json.dumps(found, ensure_ascii=False), encoding="utf-8")
        return {"agreement": found["agreement"], "trusted": found["trusted"], FAILED_ROWS: refused.count}

    title = calibration_name(name, domain, bool(own))
    probes = digest_of([[probe.as_dict() for probe in part] for part in (chosen.shipped, chosen.own, chosen.seen)])
    inputs = {"judge": judge_digest(name, judge), "probes": probes, "pairs": num_pairs if is_llm(judge) else 0}
    discard_failed(home / title)
    return Stage(title, home / title, inputs, run)


def is_llm(judge: Judge | PairwiseJudge) -> bool:
    """Whether a judge is a language model, which costs calls."""
    return isinstance(judge, LlmJudge | PairwiseJudge)


def calibration_name(name: str, domain: str, has_own: bool = False) -> str:
    """The stage of a judge's calibration."""
    return f"judges/{name}-{domain}" if has_own or name in DOMAIN_BOUND else f"judges/{name}"


@dataclass
class Refusals:
    """Counts the verdicts that a judge could not give for now: over budget, overloaded, out of reach."""

    count: int = 0

    def seen(self, judge: Any) -> Any:
        """The judge, its verdicts counted; None for none."""
        return partial(self.counted, judge) if judge else None

    def counted(self, judge: Callable[[Any], list[Any]], rows: Any) -> list[Any]:
        """The verdicts of a judge."""
        verdicts = judge(rows)
        self.count += sum(bool(verdict.parts.get(REFUSED)) for verdict in verdicts)
        return verdicts


def probes_of(
    name: str, judge: Judge | PairwiseJudge, domain: str, effort: Effort, own: Sequence[Probe] = ()
) -> ProbeSet:
    """The probes that a judge gets: all for one that costs nothing, a fixed choice for one that costs calls."""
    model = judge.judge if isinstance(judge, PairwiseJudge) else judge
    if isinstance(model, LlmJudge):
        name, limit = "llm_judge", effort.num_probes
        criteria = criteria_of(name, [rubric.name for rubric in load_rubrics(model.rubric)])
    else:
        criteria, limit = criteria_of(name), 0
    fitting = [probe for probe in own if {name, *criteria} & set(probe.applies_to)]
    return ProbeSet.of(name, subset(probes_for(criteria, domain), limit), subset(fitting, limit))


def judge_digest(name: str, judge: Judge | PairwiseJudge) -> str:
    """What a judge's verdicts depend on: its settings and the code of all judges; an LLM judge knows its own."""
    if isinstance(judge, LlmJudge | PairwiseJudge):
        return digest_of([name, judge.digest, code_digest()])
    return digest_of([name, repr(judge), code_digest()])


@lru_cache(maxsize=1)
def code_digest() -> str:
    """The digest of the judges' files: code, word lists, trained heads."""
    files = sorted(
        path for path in JUDGES_FOLDER.rglob("*") if path.is_file() and path.suffix != ".pyc" and path.name != FILE
    )
    return digest_of([(path.relative_to(JUDGES_FOLDER).as_posix(), file_digest(path)) for path in files])


def file_digest(path: Path) -> str:
    """The digest of a file's bytes."""
    return sha256(path.read_bytes()).hexdigest()
