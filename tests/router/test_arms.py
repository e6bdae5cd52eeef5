"""Evaluating arms of the small build: stages apart, resumable; endpoint arms beside local ones; failed rows counted."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from experts.build import Build
from experts.recipe import load_recipe
from judges.endpoint import Endpoint
from judges.report import Report
from judges.scorers.llm_judge import Judge as LlmJudge
from router.evaluation import Evaluation, evaluate
from router.llm_judging import judge_limit
from tests.fakes_judges import failed, said, scripted_endpoint
from tests.router.conftest import with_settings

ARMS = ("instruct", "instruct_prompted", "conversation")
OFFLINE = ("exact", "readability", "bertscore")


@pytest.fixture
def build(few_rows: Build) -> Build:
    """Without pairs, which have tests of their own."""
    return with_settings(few_rows, pairwise=False)


def run(build: Build, said_lines: list[str] | None = None, **options: Any) -> Report:
    lines = said_lines if said_lines is not None else []
    return evaluate(Evaluation(build, lines.append, OFFLINE, ARMS, **options), None, "expertsmith evaluate toy")


def samples(build: Build, name: str) -> list[dict[str, Any]]:
    path = build.folder / "evaluation" / name
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def measured(report: Report, arm: str) -> set[str]:
    return {row.metric for row in report.rows if row.arm == arm}


def test_answers_and_verdicts_are_rows_with_a_status_and_a_second_run_adds_none(build: Build):
    first = run(build)
    answers, verdicts = samples(build, "answers.jsonl"), samples(build, "verdicts.jsonl")
    for rows in (answers, verdicts):
        assert {row["status"] for row in rows} == {"ok"}
        assert len({row["key"] for row in rows}) == len(rows)
    assert {row["judge"] for row in verdicts} == {*OFFLINE, "instructions"}
    lines: list[str] = []
    again = run(build, lines)
    assert lines == []
    assert (samples(build, "answers.jsonl"), samples(build, "verdicts.jsonl")) == (answers, verdicts)
    assert again.rows == first.rows
    assert {"readability", "classification", "domain_nll", "preference_accuracy", "stops_cleanly"} <= measured(
        first, "conversation"
    )
    assert measured(first, "instruct_prompted") == set(OFFLINE)
    assert first.provenance["failures"]["num_failed"] == 0


def test_another_judge_costs_no_answer(build: Build):
    run(build)
    answers = samples(build, "answers.jsonl")
    lines: list[str] = []
    report = evaluate(Evaluation(build, lines.append, ("exact", "politeness"), ARMS), None, "")
    assert samples(build, "answers.jsonl") == answers
    assert [line for line in lines if "answers" in line] == []
    assert "politeness" in measured(report, "instruct")


def test_verdicts_that_a_kill_lost_are_given_again(build: Build):
    first = run(build)
    path = build.folder / "evaluation" / "verdicts.jsonl"
    shutil.rmtree(build.folder / "evaluation" / "conversation")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    assert run(build).rows == first.rows


def test_an_endpoint_is_an_arm_like_the_others(build: Build):
    with scripted_endpoint(lambda body: said("A thing.")) as endpoint:
        models = {f"endpoint:{name}": Endpoint(endpoint.url, name, retries=0) for name in ("org/big-1", "other")}
        report = run(build, endpoints=models)
    arm = "endpoint:org/big-1"
    assert set(report.arms) == {*ARMS, *models}
    assert {*OFFLINE, "classification", "stops_cleanly", "summary_bertscore"} <= measured(report, arm)
    assert not {"domain_nll", "preference_accuracy"} & measured(report, arm)
    assert any(comparison.arm_a == arm for comparison in report.comparisons)
    assert all(sample["answers"][arm] == "A thing." for sample in report.samples)
    assert {body["model"] for body in endpoint.requests} == {"org/big-1", "other"}


def test_failed_rows_are_unscored_counted_and_tried_again(build: Build):
    """The endpoint refuses the three questions, which begin with "What is a"; then it is well again."""
    broken = True

    def script(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        text = body["messages"][-1]["content"]
        return failed(400, "overloaded") if broken and text.startswith("What is a") else said("A thing.")

    with scripted_endpoint(script) as endpoint:
        models = {"endpoint:m": Endpoint(endpoint.url, "m", retries=0)}
        report = run(build, endpoints=models)
        num_asked = len(endpoint.requests)
        questions = [row for row in report.rows if row.arm == "endpoint:m" and row.metric in OFFLINE]
        assert len(questions) == 3 * len(OFFLINE)
        assert {row.value for row in questions} == {None}
        assert all("overloaded" in row.parts["failure"] for row in questions)
        found = report.provenance["failures"]
        assert (found["worst_arm"], found["num_failed"]) == ("endpoint:m", 3 * len(OFFLINE))
        assert (found["share"], found["worst_metric"]) == (1.0, OFFLINE[0])
        assert {row.as_dict()["status"] for row in questions} == {"failed"}
        broken = False
        again = run(build, endpoints=models)
        assert len(endpoint.requests) == num_asked + 3
    assert again.provenance["failures"]["num_failed"] == 0


def test_a_verdict_that_failed_is_asked_for_again(build: Build):
    """The stage is done and its rows say that a judge failed; the judge is well in the next run."""
    first = run(build)
    folder = build.folder / "evaluation"
    verdicts = samples(build, "verdicts.jsonl")
    lost = next(row for row in verdicts if row["judge"] == "readability")
    broken = [row | {"status": "failed", "reason": "x", "value": None} if row == lost else row for row in verdicts]
    (folder / "verdicts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in broken), encoding="utf-8")
    for arm in ARMS:
        record = json.loads((folder / arm / "stage.json").read_text())
        record["metrics"]["failed_rows"] = 1
        (folder / arm / "stage.json").write_text(json.dumps(record))
    assert run(build).rows == first.rows
    assert samples(build, "verdicts.jsonl")[-1] == lost


def test_what_the_judge_left_unscored_is_asked_again_and_only_that(build: Build, tmp_path: Path):
    """A small budget, of which calibration takes its part, runs out; a judge without one goes on."""
    with scripted_endpoint(lambda body: said('{"reason": "r", "score": 4}')) as endpoint:
        judge = LlmJudge("empathy,politeness", endpoint.url, "m", use_logprobs=False, cache=str(tmp_path / "cache"))
        spent = replace(judge, max_calls=8, concurrency=1)
        asked: dict[str, Any] = {"llm_judge_name": "m", "judge_is_weak": False}
        first = judged(run(build, llm_judge=spent, **asked))
        again = judged(run(build, llm_judge=judge, **asked))
        num_asked = len(endpoint.requests)
        assert judged(run(build, llm_judge=judge, **asked)) == again
        assert len(endpoint.requests) == num_asked
    assert None in first.values()
    assert set(again.values()) == {4.0}
    assert {metric for _, metric, _ in again} == {"llm_judge", "llm_judge.empathy", "llm_judge.politeness"}
    assert len({item for _, _, item in again}) == build.recipe.evaluation.judge_limit


def judged(report: Report) -> dict[tuple[str, str, str], float | None]:
    return {(r.arm, r.metric, r.item): r.value for r in report.rows if r.metric.startswith("llm_judge")}


def test_our_weak_judge_is_asked_less_a_real_one_about_all(build: Build):
    """As a recipe file leaves it: not set. A number holds for both, 0 is all."""
    assert load_recipe(None).evaluation.judge_limit is None
    for given, weak, limit in ((None, True, 3), (None, False, None), (5, True, 5), (5, False, 5), (0, True, None)):
        plan = Evaluation(with_settings(build, judge_limit=given), print, (), ARMS, judge_is_weak=weak)
        assert judge_limit(plan) == limit
