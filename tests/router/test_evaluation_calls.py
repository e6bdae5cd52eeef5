"""A whole evaluation of a domain of function calls: its own arms and metrics, nothing of what it does not have."""

from __future__ import annotations

import pytest

from domains.errors import UserError
from experts.build import run_build
from judges.report import Report
from router.engine import Engine
from router.evaluation import ARMS, CALL_ARMS, Evaluation, arm_names, evaluate
from router.fit import requests
from tests.fakes_tools import tiny_tools_build
from ui.report_page import render

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    made = tiny_tools_build(tmp_path_factory.mktemp("calls"))
    run_build(made, lambda line: None)
    return made


@pytest.fixture(scope="module")
def report(built) -> Report:
    run = Evaluation(built, lambda line: None, (), arm_names((), built.domain))
    return evaluate(run, None, "expertsmith evaluate kit")


def test_the_arms_are_the_stages_of_the_build(report, built):
    assert tuple(report.arms) == tuple(CALL_ARMS) == tuple(built.arms())
    assert {row.arm for row in report.rows} == set(CALL_ARMS)


def test_right_calls_and_no_needless_ones_are_told_apart(report):
    """Untrained or nearly so, no arm writes a call: 0 of all that need one, 1 of all that need none."""
    found = {(m.arm, m.metric): m.value for m in report.metrics}
    assert found["foundation", "call_accuracy"] == 0
    assert found["foundation", "no_call_accuracy"] == 1
    assert ("calls", "preference_accuracy") in found


def test_the_claims_compare_the_stages(report):
    claims = {(h.arm_a, h.arm_b, h.metric) for h in report.headlines}
    assert {("calls_sft", "instruct", "call_accuracy"), ("calls", "calls_sft", "call_accuracy")} <= claims


def test_the_report_is_shown(report):
    page = render(report)
    assert "Right calls" in page
    assert "No needless call" in page


def test_arms_of_one_kind_of_domain_are_left_out_of_the_other(built):
    assert arm_names(()) == tuple(ARMS)
    assert arm_names(("kit/calls", "toy/conversation"), built.domain) == ("calls",)
    assert arm_names(("toy/conversation",), built.domain) == tuple(CALL_ARMS)
    with pytest.raises(UserError, match="calls"):
        arm_names(("kit/cals",))


def test_the_router_knows_the_expert_once_it_is_built(built):
    engine = Engine(built.home)
    assert set(engine.experts) == {"general", "kit/calls"}
    assert {row.label for row in requests(engine, "train")} == {"general", "kit/calls"}
