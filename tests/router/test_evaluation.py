"""A whole evaluation of the fake build: what the report then holds, and that a second run measures nothing again."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import pytest

from judges.report import Report, load
from router.evaluation import ARMS, Evaluation, evaluate
from router.route import Router
from router.steps import Numbered, steps
from ui.report_page import render

pytestmark = pytest.mark.slow


class ByPunctuation:
    """Questions go to the one expert, everything else to the other; always 80% sure."""

    def __call__(self, texts: Sequence[str]) -> list[dict[str, float]]:
        best = ["conversation" if text.endswith("?") else "structured" for text in texts]
        return [{f"toy/{t}": 0.8 if t == b else 0.2 for t in ("conversation", "structured")} for b in best]


@pytest.fixture(scope="module")
def lines() -> list[str]:
    return []


@pytest.fixture(scope="module")
def run(built, lines) -> Evaluation:
    return Evaluation(built, lines.append, ("readability",))


@pytest.fixture(scope="module")
def report(run) -> Report:
    return evaluate(run, Router(ByPunctuation(), "by_punctuation", 0.0), "expertsmith evaluate toy")


def test_every_line_says_how_far_it_is(run, report, lines):
    """Some steps may be done already, such as calibrations that other tests made; the others come in their order."""
    names, found = list(steps(run, has_router=True)), [re.fullmatch(r"\[(\d+)/(\d+)\] (.+)", line) for line in lines]
    assert all(found), lines
    assert [int(each[1]) for each in found] == sorted({int(each[1]) for each in found})
    assert {int(each[2]) for each in found} == {len(names)}
    told = [each[3].partition(": ")[0] for each in found]
    assert told == [names[int(each[1]) - 1] for each in found]
    assert {"toy/evaluate/dapt/answers", "toy/evaluate/dapt/likelihood", "toy/evaluate/scale 1.0"} <= set(told)


def test_lines_of_no_step_stay_as_they_are():
    said = []
    numbered = Numbered(("a", "a/b"), said.append)
    for line in ("a", "a/b: 3 answers", "a/b/c", "other"):
        numbered(line)
    assert said == ["[1/2] a", "[2/2] a/b: 3 answers", "a/b/c", "other"]


def test_preferences_are_kept_by_kind_of_rejected_answer(run, report):
    """The toy rows have one or two rejected answers, each of its own kind: a row's share is the mean over its kinds."""
    known = {row.id: row.rejected_kinds for row in run.domain.preferences("test")}
    found = [row for row in report.rows if row.metric in ("preference_accuracy", "reward_accuracy")]
    assert {row.metric for row in found} == {"preference_accuracy", "reward_accuracy"}
    for row in found:
        kinds = row.parts["by_kind"]
        assert tuple(kinds) == known[row.item]
        assert row.value == pytest.approx(sum(kinds.values()) / len(kinds))
    assert "Preference accuracy by kind of rejected answer" in render(report)


def test_regret_is_the_oracle_minus_the_policy(report):
    """This router is the oracle: its regret is 0. Each expert of the domain is a policy, and so is the general one."""
    records = {(r["policy"], r["metric"]): r for r in report.routing["regret"]}
    policies = {policy for policy, _ in records}
    assert {"router", "wrong", "always general", "always toy/conversation", "always toy/structured"} <= policies
    for metric in ("bertscore", "labels_right"):
        assert records["router", metric]["regret"] == 0.0
        for policy in policies:
            found = records[policy, metric]
            assert found["regret"] == pytest.approx(found["oracle"] - found["quality"])
            assert found["n"] > 0


def test_the_router_s_confidence_is_compared_with_what_came_true(report):
    """Always 80% sure; the accuracy is the diagonal of the confusion matrix."""
    (only,) = report.routing["reliability"]["bins"]
    assert only["confidence"] == pytest.approx(0.8)
    assert only["accuracy"] == pytest.approx(report.routing["accuracy"]["value"])


def test_leakage_covers_all_files_and_the_arms_around_pretraining(report):
    files = {each["file"] for each in report.leakage["contamination"]["files"]}
    assert {"toy/questions", "toy/documents", "house/instructions"} <= files
    probed = report.leakage["memorisation"]
    assert [record["arm"] for record in probed] == ["foundation", "dapt", "dapt_residual"]
    assert all(record["num_trained"] > 0 and record["num_held_out"] > 0 for record in probed)


def test_forgetting_is_measured_step_by_step(report):
    steps = {(c.arm_b, c.arm_a) for c in report.forgetting if c.metric == "instruction_following"}
    assert {("foundation", "instruct"), ("dapt", "dapt_residual"), ("dapt_residual", "conversation")} <= steps


def test_items_and_lengths_belong_to_the_rows(report):
    asked = {row.item for row in report.rows if row.metric == "readability"}
    assert asked <= report.items.keys()
    assert set(report.lengths) == set(ARMS)
    assert all(set(found) == asked for found in report.lengths.values())
    assert {sample["id"] for sample in report.samples} == asked


def test_it_is_written_read_and_shown(report, tmp_path):
    report.write(tmp_path)
    assert load(tmp_path).as_dict() == json.loads(json.dumps(report.as_dict()))
    assert "Regret: the oracle" in render(report)


def test_a_second_run_measures_nothing_again(report, run, lines):
    lines.clear()
    again = evaluate(run, Router(ByPunctuation(), "by_punctuation", 0.0), "expertsmith evaluate toy")
    assert again.as_dict() == report.as_dict()
    assert lines == []
