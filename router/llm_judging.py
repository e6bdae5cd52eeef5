"""The LLM judge as a stage of an evaluation: one row an answer, and one a criterion where it grades several.

What it left unscored (budget, an endpoint that failed, a reply that cannot be read) is asked for again by the next run;
of our own weak model only what it could not be asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from domains.example import Example
from experts.digests import digest_of
from experts.journal import Stage
from judges.asking import REFUSED
from judges.metrics import Row
from judges.verdict import Answered, Verdict
from router.arms import FAILED_ROWS, ROWS, TEXTS, arm_folder, discard_failed
from router.records import read_json, write_rows

if TYPE_CHECKING:
    from router.evaluation import Evaluation

WEAK_LIMIT = 3


def judge_limit(run: Evaluation) -> int | None:
    """How many questions the LLM judge is asked about (None: all that are answered): as the recipe or the command line
    says; where they do not, few for our own weak model, all for any other."""
    given = run.build.recipe.evaluation.judge_limit
    if given is None:
        return WEAK_LIMIT if run.judge_is_weak else None
    return given or None


def llm_judge_stage(run: Evaluation, arm: str, questions: Sequence[Example]) -> Stage:
    """Ask the LLM judge about the first questions of an arm; one without an answer is not asked about."""
    folder = arm_folder(run, arm)
    texts = read_json(folder / TEXTS)
    asked = [e for e in questions[: judge_limit(run)] if e.id in texts]

    def judge(folder: Path) -> Mapping[str, Any]:
        if run.llm_judge is None:
            return {}
        verdicts = run.llm_judge([Answered(e.question, texts[e.id], e.completion) for e in asked])
        pairs = zip(asked, verdicts, strict=True)
        rows = [row for e, v in pairs for row in verdict_rows(arm, e.id, v)]
        write_rows(folder / ROWS, rows)
        failed = [v for v in verdicts if v.value is None and (not run.judge_is_weak or v.parts.get(REFUSED))]
        return {"rows": len(rows), FAILED_ROWS: len(failed)}

    weights = run.build.instruct.digest() if run.judge_is_weak else ""
    inputs = {
        "judge": run.llm_judge_name,
        "digest": getattr(run.llm_judge, "digest", ""),
        "weights": weights,
        "texts": digest_of([(e.id, texts[e.id], e.completion) for e in asked]),
    }
    target = folder.with_name(f"{folder.name}.llm_judge")
    discard_failed(target)
    return Stage(f"{run.domain.name}/evaluate/{arm}/llm_judge", target, inputs, judge)


def verdict_rows(arm: str, item: str, verdict: Verdict) -> list[Row]:
    """The row of a verdict of the LLM judge; where it graded several criteria also one row for each of them."""
    parts = {"why": verdict.explanation} | {k: v for k, v in verdict.parts.items() if k != "probabilities"}
    rows = [Row(arm, "llm_judge", item, verdict.value, parts)]
    for name, each in verdict.parts.get("criteria", {}).items():
        rows.append(Row(arm, f"llm_judge.{name}", item, each["value"], {"why": each["explanation"]}))
    return rows
