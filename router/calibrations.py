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
from judges.calibration import Calibration, calibrate, calibrate_pairwise
from judges.pairwise import PairwiseJudge
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
    home: Path, domain: str, judges: Mapping[str, Judge | PairwiseJudge], effort: Effort, say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """The `judges` of report.json: each judge's calibration, from its stage or measured now."""
    stages = [calibration_stage(home, domain, name, judge, effort) for name, judge in judges.items()]
    for stage in stages:
        if not stage.done:
            say(stage.name)
        run_stage(stage)
    return [dict(json.loads((stage.folder / FILE).read_text(encoding="utf-8"))) for stage in stages]


def calibration_stage(home: Path, domain: str, name: str, judge: Judge | PairwiseJudge, effort: Effort) -> Stage:
    """Run one judge on its probes; a judge with a domain's own rules is calibrated in each domain."""
    chosen = probes_of(name, judge, domain, effort)
    num_pairs = effort.num_pairs or len(chosen)

    def run(folder: Path) -> Mapping[str, Any]:
        refused = Refusals()
        found = calibrated(name, judge, chosen, num_pairs, refused).as_dict()
        (folder / FILE).write_text(json.dumps(found, ensure_ascii=False), encoding="utf-8")
        return {"agreement": found["agreement"], "trusted": found["trusted"], FAILED_ROWS: refused.count}

    title = calibration_name(name, domain)
    probes = digest_of([probe.as_dict() for probe in chosen])
    inputs = {"judge": judge_digest(name, judge), "probes": probes, "pairs": num_pairs if is_llm(judge) else 0}
    discard_failed(home / title)
    return Stage(title, home / title, inputs, run)


def calibrated(
    name: str, judge: Judge | PairwiseJudge, probes: Sequence[Probe], num_pairs: int, refused: Refusals
) -> Calibration:
    """The calibration of a judge of answers, or of one of pairs: on those pairs that show the former's position bias,
    so that they are asked once."""
    if isinstance(judge, PairwiseJudge):
        return calibrate_pairwise(name, refused.seen(judge), probes[:num_pairs])
    pairwise = PairwiseJudge(judge) if isinstance(judge, LlmJudge) else None
    return calibrate(name, refused.seen(judge), probes, refused.seen(pairwise), num_pairs)


def is_llm(judge: Judge | PairwiseJudge) -> bool:
    """Whether a judge is a language model, which costs calls."""
    return isinstance(judge, LlmJudge | PairwiseJudge)


def calibration_name(name: str, domain: str) -> str:
    """The stage of a judge's calibration."""
    return f"judges/{name}-{domain}" if name in DOMAIN_BOUND else f"judges/{name}"


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


def probes_of(name: str, judge: Judge | PairwiseJudge, domain: str, effort: Effort) -> tuple[Probe, ...]:
    """The probes that a judge gets: all for one that costs nothing, a fixed choice for one that costs calls."""
    model = judge.judge if isinstance(judge, PairwiseJudge) else judge
    if not isinstance(model, LlmJudge):
        return probes_for(criteria_of(name), domain)
    rubrics = [rubric.name for rubric in load_rubrics(model.rubric)]
    return subset(probes_for(criteria_of("llm_judge", rubrics), domain), effort.num_probes)


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
