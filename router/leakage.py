"""Leakage: test rows that training has seen, and training documents that the models repeat."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from domains.contamination import check_domains
from domains.domain import Domain
from experts.foundation import HOUSE
from experts.journal import Stage
from experts.memorisation import CONTINUATION_TOKENS, passages, recalls
from experts.tracks import capped
from judges.memorisation import Recall, memorisation
from router.records import read_json, write_json

if TYPE_CHECKING:
    from router.evaluation import Evaluation

ARMS = ("foundation", "dapt", "dapt_residual")
RECALLS = "recalls.json"


def leakage(run: Evaluation, run_stage: Callable[[Stage], None]) -> dict[str, Any]:
    """{"contamination": rows of the test splits that occur in training, "memorisation": one record per probed arm}."""
    found = check_domains([run.domain, Domain.load(HOUSE)]).as_dict()
    return {"contamination": found, "memorisation": memorised(run, run_stage)}


def probed_arms(run: Evaluation) -> list[str]:
    """The arms around domain pretraining, first the one to compare with; none when the probe's limit is 0."""
    arms = [arm for arm in ARMS if arm in run.arm_names]
    return arms if run.build.recipe.evaluation.memorisation_limit and len(arms) > 1 else []


def memorised(run: Evaluation, run_stage: Callable[[Stage], None]) -> list[dict[str, Any]]:
    """The memorisation probe: one record per arm."""
    arms = probed_arms(run)
    if not arms:
        return []
    found = {}
    for arm in arms:
        stage = memorisation_stage(run, arm)
        run_stage(stage)
        found[arm] = [Recall(**row) for row in read_json(stage.folder / RECALLS)]
    return memorisation(found, arms[0], CONTINUATION_TOKENS)


def memorisation_stage(run: Evaluation, arm: str) -> Stage:
    """How one arm continues passages of training and of held-out documents."""
    checkpoint, limit = run.checkpoint(arm), run.build.recipe.evaluation.memorisation_limit
    trained = capped(run.domain.sections("train"), run.build.recipe.pretrain)

    def probe(folder: Path) -> Mapping[str, Any]:
        source = run.bench.subject(checkpoint).local
        found = passages(source.tokenizer, trained, True, limit)
        found += passages(source.tokenizer, run.domain.sections("test"), False, limit)
        rows = [asdict(recall) for recall in recalls(source.model, found)]
        write_json(folder / RECALLS, rows)
        return {"passages": len(rows)}

    inputs = {"model": checkpoint.digest(), "limit": limit, "data": run.data, "trained": len(trained)}
    name = f"{run.domain.name}/evaluate/{arm}/memorisation"
    return Stage(name, run.folder / f"{arm}.memorisation", inputs, probe)
