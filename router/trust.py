"""What the judges of an evaluation are worth: what probes and people say of them, and whose rows count."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from experts.journal import Stage
from judges.comparisons import is_of_llm
from judges.judging import judge_digest
from judges.metrics import PAIRWISE, Row
from judges.probes import own_probes
from router.calibrations import STRONG, WEAK, judge_records
from router.pairwise_judging import compared_arms, pairwise_judge
from router.people import with_people

if TYPE_CHECKING:
    from router.evaluation import Evaluation

WEAK_JUDGE = "Our own general model is a weak judge, so it decides nothing whatever a few probes say."


def calibrations(run: Evaluation, run_stage: Callable[[Stage], None]) -> list[dict[str, Any]]:
    """What the probes, and people's labels where there are some, say of every judge of this evaluation."""
    effort, judges = WEAK if run.judge_is_weak else STRONG, judges_of(run)
    found = judge_records(run.build.home, run.domain.name, judges, effort, run.report, own_probes(run.domain))
    found = [with_people(run, record, judges[record["judge"]], run_stage) for record in found]
    return [weakened(record) if run.judge_is_weak and is_of_llm(record["judge"]) else record for record in found]


def judges_of(run: Evaluation) -> dict[str, Any]:
    """Every judge of this evaluation, the LLM judge also in its form for pairs where that is asked."""
    asked = {"llm_judge": run.llm_judge} if run.llm_judge else {}
    pairs = {PAIRWISE: pairwise_judge(run)} if compared_arms(run) else {}
    return run.judges | asked | pairs


def weakened(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record of our own weak model: not trusted."""
    if not record["trusted"]:
        return dict(record)
    return {**record, "trusted": False, "reason": f"{WEAK_JUDGE} {record['reason']}"}


def counted(run: Evaluation, rows: Sequence[Row]) -> list[Row]:
    """The rows whose failures matter: what our own weak model could not judge decides nothing."""
    return [row for row in rows if not (run.judge_is_weak and is_of_llm(row.metric))]


def distrusted(judges: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The judges that failed their calibration."""
    return tuple(str(judge["judge"]) for judge in judges if not judge["trusted"])


def judge_digests(run: Evaluation) -> dict[str, str]:
    """What each judge's numbers depend on besides the answers."""
    found = {name: judge_digest(name, judge) for name, judge in run.judges.items()}
    asked = {name: judge for name, judge in judges_of(run).items() if name not in found}
    return found | {name: str(getattr(judge, "digest", "")) for name, judge in asked.items()}
