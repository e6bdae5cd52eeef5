"""The LLM judge on pairs of answers, as a stage of an evaluation: the arms that are claimed to answer better, each
against the one that it is claimed to be better than, and against models of others.

As with single answers (`router/llm_judging.py`) each verdict is kept when it is given, and what was left unscored is
asked for again. It costs two requests a pair, so our own weak model is only asked where the recipe says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from domains.example import Example
from experts.digests import digest_of
from experts.journal import Stage
from judges.asking import REFUSED
from judges.headlines import answer_pairs
from judges.metrics import Row, pair_metric
from judges.pairwise import Pair, PairVerdict, PairwiseJudge
from judges.scorers.llm_judge import Judge as LlmJudge
from router.arms import FAILED_ROWS, ROWS, TEXTS, arm_folder, discard_failed
from router.llm_judging import judge_limit
from router.records import read_json, write_rows

if TYPE_CHECKING:
    from router.evaluation import Evaluation

BEST = "conversation"
VALUES = {"a": 1.0, "b": 0.0, "tie": 0.5}


def pairwise_judge(run: Evaluation) -> PairwiseJudge | None:
    """The LLM judge as one of pairs; None where it is not to compare any."""
    wanted = run.build.recipe.evaluation.pairwise
    is_asked = not run.judge_is_weak if wanted is None else wanted
    return PairwiseJudge(run.llm_judge) if is_asked and isinstance(run.llm_judge, LlmJudge) else None


def compared_arms(run: Evaluation) -> tuple[tuple[str, str], ...]:
    """The pairs of arms, first the one that is claimed to be better; none without a judge of pairs."""
    if pairwise_judge(run) is None:
        return ()
    others = tuple((BEST, arm) for arm in run.endpoints if BEST in run.arms)
    return (*answer_pairs(run.arms), *others)


def pair_step(run: Evaluation, arm_a: str, arm_b: str) -> str:
    """The name of the stage of a pair."""
    return f"{run.domain.name}/evaluate/{arm_a} against {arm_b}"


def pair_folder(run: Evaluation, arm_a: str, arm_b: str) -> Path:
    """Where the verdicts on a pair of arms are."""
    folder = arm_folder(run, arm_a)
    return folder.with_name(f"{folder.name}.against.{arm_folder(run, arm_b).name}")


def pairwise_stage(run: Evaluation, arm_a: str, arm_b: str, questions: Sequence[Example]) -> Stage:
    """Compare the answers of two arms to the first questions; one that an arm did not answer is not asked about."""
    texts_a, texts_b = (read_json(arm_folder(run, arm) / TEXTS) for arm in (arm_a, arm_b))
    asked = [e for e in questions[: judge_limit(run)] if e.id in texts_a and e.id in texts_b]
    pairs = [Pair(e.question, texts_a[e.id], texts_b[e.id], e.completion) for e in asked]
    judge = pairwise_judge(run)

    def compare(folder: Path) -> Mapping[str, Any]:
        verdicts = judge(pairs) if judge else []
        rows = [pair_row(arm_a, arm_b, e.id, v) for e, v in zip(asked, verdicts, strict=True)]
        write_rows(folder / ROWS, rows)
        failed = [r for r in rows if r.value is None and (not run.judge_is_weak or r.parts.get(REFUSED))]
        return {"rows": len(rows), FAILED_ROWS: len(failed)}

    inputs = {
        "judge": run.llm_judge_name,
        "digest": judge.digest if judge else "",
        "weights": run.build.instruct.digest() if run.judge_is_weak else "",
        "texts": digest_of([(e.id, repr(pair)) for e, pair in zip(asked, pairs, strict=True)]),
    }
    target = pair_folder(run, arm_a, arm_b)
    discard_failed(target)
    return Stage(pair_step(run, arm_a, arm_b), target, inputs, compare)


def pair_row(arm_a: str, arm_b: str, item: str, verdict: PairVerdict) -> Row:
    """The row of a verdict on a pair, with the value that each order gave to the answer shown first."""
    parts: dict[str, Any] = {"winner": verdict.winner, "flipped": verdict.flipped, "why": verdict.explanation}
    parts |= {name: verdict.parts[name]["value"] for name in ("a_first", "b_first") if name in verdict.parts}
    parts |= {REFUSED: True} if verdict.parts.get(REFUSED) else {}
    value = None if verdict.winner is None else VALUES[verdict.winner]
    return Row(arm_a, pair_metric(arm_b), item, value, parts)
