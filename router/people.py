"""The judges of an evaluation held against people's choices (`expertsmith label`): one journaled stage a judge.

People can take trust away, not give it: a judge that agrees with them on clearly fewer than half of the pairs of which
they prefer one answer is not trusted, whatever the probes say. As on the probes a tie is no agreement.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experts.digests import digest_of
from experts.journal import Stage
from judges.calibration import CHANCE
from judges.pairwise import PairwiseJudge
from judges.people import against_people
from router.arms import FAILED_ROWS, discard_failed
from router.calibrations import FILE, Refusals, judge_digest

if TYPE_CHECKING:
    from router.evaluation import Evaluation


def people_step(run: Evaluation, name: str) -> str:
    """The name of a judge's stage."""
    return f"{run.domain.name}/evaluate/people/{name}"


def people_stage(run: Evaluation, name: str, judge: Any) -> Stage:
    """A judge on the pairs that people labelled."""

    def compare(folder: Path) -> Mapping[str, Any]:
        refused = Refusals()
        pairwise = refused.seen(judge) if isinstance(judge, PairwiseJudge) else None
        found = against_people(name, refused.seen(judge), run.labels, pairwise).as_dict()
        (folder / FILE).write_text(json.dumps(found, ensure_ascii=False), encoding="utf-8")
        return {"kappa": found["kappa"]["value"], FAILED_ROWS: refused.count}

    target = run.folder / f"people.{name}"
    inputs = {"judge": judge_digest(name, judge), "labels": digest_of([asdict(label) for label in run.labels])}
    discard_failed(target)
    return Stage(people_step(run, name), target, inputs, compare)


def with_people(
    run: Evaluation, record: Mapping[str, Any], judge: Any, run_stage: Callable[[Stage], None]
) -> dict[str, Any]:
    """A judge's calibration with what people's labels say of it, under `people`; as it is where there are none."""
    if not run.labels:
        return dict(record)
    stage = people_stage(run, str(record["judge"]), judge)
    run_stage(stage)
    found = json.loads((stage.folder / FILE).read_text(encoding="utf-8"))
    joined = {**record, "people": found}
    if found["high"] is None or found["high"] >= CHANCE:
        return joined
    share = f"{found['agreement']:.0%} of {found['n']}"
    reason = f"It agrees with people on fewer than half of the labelled pairs ({share}). {record['reason']}"
    return joined | {"trusted": False, "reason": reason}
