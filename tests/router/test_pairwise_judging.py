"""The LLM judge on pairs of answers of the small build: what is asked, what the report makes of it, when it is off."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from experts.build import Build
from judges.endpoint import Endpoint
from judges.fencing import quoted
from judges.probes import load_probes
from judges.report import Report
from judges.scorers.llm_judge import Judge as LlmJudge
from router.evaluation import Evaluation, evaluate
from router.pairwise_judging import compared_arms
from router.route import Router
from router.steps import steps
from tests.fakes_judges import Body, said, scripted_endpoint
from tests.router.conftest import with_settings
from tests.router.test_evaluation import ByPunctuation

pytestmark = pytest.mark.slow

ARMS = ("instruct", "instruct_prompted", "dapt_residual", "conversation")
CLAIMED = {("conversation", other) for other in ARMS[:3]}
BETTER = {quoted(probe.better) for probe in load_probes()}


def by_text(body: Body) -> tuple[int, Body]:
    """Of two answers the better one of a probe, else the later one in the alphabet, on either side; one answer: 5 for
    the better one of a probe, 2 for any other."""
    user = body["messages"][1]["content"]
    if "[ANSWER A " not in user:
        return said(f'{{"reason": "r", "score": {5 if section(user, "ANSWER") in BETTER else 2}}}')
    a, b = (section(user, f"ANSWER {name}") for name in "AB")
    winner = "tie" if a == b else "A" if a in BETTER or (b not in BETTER and a > b) else "B"
    return said(f'{{"reason": "r", "winner": "{winner}"}}')


def by_place(body: Body) -> tuple[int, Body]:
    """The answer that is shown first."""
    is_pair = "[ANSWER A " in body["messages"][1]["content"]
    return said('{"reason": "r", "winner": "A"}' if is_pair else '{"reason": "r", "score": 4}')


def section(user: str, name: str) -> str:
    """What stands in a fence, quoted."""
    return re.search(rf"\[{name} (\w+)\]\n(.*?)\n\[END {name} \1\]", user, re.DOTALL).group(2)  # type: ignore[union-attr]


def value(a: str, b: str) -> float:
    """What `by_text` makes of two answers; an empty one loses without being asked about."""
    if not (a.strip() and b.strip()):
        return 0.5 + 0.5 * (bool(a.strip()) - bool(b.strip()))
    return 0.5 if quoted(a) == quoted(b) else float(quoted(a) > quoted(b))


def run(build: Build, url: str, folder: Path, said_lines: list[str] | None = None, **options: Any) -> Report:
    judge = LlmJudge("overall", url, "m", use_logprobs=False, cache=str(folder / "cache"), retries=0)
    lines = said_lines if said_lines is not None else []
    build = with_settings(build, judge_limit=None)
    plan = Evaluation(build, lines.append, (), ARMS, **({"llm_judge": judge, "llm_judge_name": "m"} | options))
    return evaluate(plan, None, "expertsmith evaluate toy")


def test_the_claimed_arms_are_compared_and_a_second_run_asks_nobody(few_rows: Build, tmp_path: Path):
    with scripted_endpoint(by_text) as endpoint:
        lines: list[str] = []
        report = run(few_rows, endpoint.url, tmp_path, lines)
        num_asked = len(endpoint.requests)
        again = run(few_rows, endpoint.url, tmp_path)
        assert len(endpoint.requests) == num_asked
    assert again.as_dict()["pairs"] == report.as_dict()["pairs"]
    assert {(found.arm_a, found.arm_b) for found in report.pairs} == CLAIMED
    assert any(line.endswith("toy/evaluate/conversation against instruct") for line in lines)
    answers = [sample["answers"] for sample in report.samples]
    for found in report.pairs:
        expected = [value(each[found.arm_a], each[found.arm_b]) for each in answers]
        assert (found.n, found.win_rate) == (3, pytest.approx(sum(expected) / 3))
        assert (found.flip_rate, found.trusted) == (0.0, True)
    assert [judge["judge"] for judge in report.judges] == ["llm_judge", "llm_judge_pairwise"]
    assert report.provenance["judge_digests"].keys() == {"llm_judge", "llm_judge_pairwise"}


def test_a_judge_that_follows_the_order_is_not_trusted(few_rows: Build, tmp_path: Path):
    """It calls every probe a tie, which is no agreement: 0 of 20. And every pair of different answers flips."""
    with scripted_endpoint(by_place) as endpoint:
        report = run(few_rows, endpoint.url, tmp_path)
    calibration = next(judge for judge in report.judges if judge["judge"] == "llm_judge_pairwise")
    assert (calibration["agreement"], calibration["position_flip_rate"], calibration["trusted"]) == (0.0, 1.0, False)
    assert {found.trusted for found in report.pairs} == {False}
    assert {found.win_rate for found in report.pairs if found.flip_rate == 1.0} <= {0.5}


def test_verdicts_that_were_lost_are_asked_for_again_and_only_those(few_rows: Build, tmp_path: Path):
    """The endpoint says nothing readable of one pair; the next run asks for its two orders, then nobody."""
    broken = True

    def script(body: Body) -> tuple[int, Body]:
        user = body["messages"][1]["content"]
        is_of_domain = "[ANSWER A " in user and "What is a" in section(user, "QUESTION")
        return said("?") if broken and is_of_domain else by_text(body)

    with scripted_endpoint(script) as endpoint:
        first = run(few_rows, endpoint.url, tmp_path)
        num_asked, unscored = len(endpoint.requests), sum(found.unscored for found in first.pairs)
        assert unscored > 0
        assert first.provenance["failures"]["worst_metric"].startswith("llm_judge_pairwise.")
        broken = False
        again = run(few_rows, endpoint.url, tmp_path)
        assert num_asked < len(endpoint.requests) <= num_asked + 2 * unscored
    assert sum(found.unscored for found in again.pairs) == 0


def test_another_model_is_compared_with_the_conversation_expert(few_rows: Build, tmp_path: Path):
    with scripted_endpoint(by_text) as endpoint:
        models = {"endpoint:big": Endpoint(endpoint.url, "big", retries=0)}
        plan = Evaluation(few_rows, print, (), ARMS, LlmJudge(base_url=endpoint.url), endpoints=models)
    assert set(compared_arms(plan)) == {*CLAIMED, ("conversation", "endpoint:big")}


@pytest.mark.parametrize(
    ("weak", "setting", "is_on"),
    [(True, None, False), (True, True, True), (True, False, False), (False, None, True), (False, False, False)],
)
def test_our_weak_model_compares_only_where_it_is_asked_to(
    few_rows: Build, weak: bool, setting: bool | None, is_on: bool
):
    build = with_settings(few_rows, pairwise=setting)
    plan = Evaluation(build, print, (), ARMS, LlmJudge(), judge_is_weak=weak)
    assert (set(compared_arms(plan)) == CLAIMED) == is_on
    assert any("against" in step for step in steps(plan, has_router=False)) == is_on
    assert compared_arms(replace(plan, llm_judge=None)) == ()


def test_our_weak_model_decides_nothing_even_if_it_passes_its_probes(few_rows: Build, tmp_path: Path):
    with scripted_endpoint(by_text) as endpoint:
        report = run(with_settings(few_rows, pairwise=True), endpoint.url, tmp_path, judge_is_weak=True)
    assert {judge["trusted"] for judge in report.judges} == {False}
    assert {found.trusted for found in report.pairs} == {False}
    assert report.untrusted == ("llm_judge", "llm_judge_pairwise")


def test_a_judge_of_pairs_that_is_not_trusted_costs_no_other_measurement(few_rows: Build, tmp_path: Path):
    """Nothing but its calibration and the pairs is new when pairs are compared after a report without them."""
    router, lines = Router(ByPunctuation(), "by_punctuation", 0.0), list[str]()
    with scripted_endpoint(by_place) as endpoint:
        judge = LlmJudge("overall", endpoint.url, "m", use_logprobs=False, cache=str(tmp_path / "cache"), retries=0)
        for pairwise in (False, True):
            lines.clear()
            build = with_settings(few_rows, pairwise=pairwise, judge_limit=2)
            report = evaluate(Evaluation(build, lines.append, (), ARMS, judge, "m"), router, "")
    assert "llm_judge_pairwise" in report.untrusted
    assert len(lines) == 1 + len(CLAIMED)
    assert all("against" in line or "llm_judge_pairwise" in line for line in lines)
