"""The table of preference accuracy by kind of rejected answer: shares with intervals from the rows' parts."""

from __future__ import annotations

from judges.metrics import Row
from judges.stats import wilson_interval
from tests.fakes_report import fake_report
from ui.report_kinds import preference_kinds
from ui.report_page import render

KINDS = ("cold_but_right", "warm_but_wrong")


def rows(arm: str, metric: str, num_warm: int) -> list[Row]:
    """Ten rows: the cold answer is told apart in all, the warm one in the first `num_warm`."""
    parts = [{"by_kind": {KINDS[0]: 1.0, KINDS[1]: float(i < num_warm)}} for i in range(10)]
    return [Row(arm, metric, f"p{i}", 0.5 + 0.5 * (i < num_warm), each) for i, each in enumerate(parts)]


def test_shares_by_hand():
    given = [*rows("instruct", "preference_accuracy", 3), *rows("conversation", "reward_accuracy", 8)]
    found = preference_kinds(fake_report(rows=given))
    low, high = wilson_interval(3, 10).low, wilson_interval(3, 10).high
    assert found.columns == ("Arm", "Metric", "cold but right", "warm but wrong")
    first, second = found.lines
    assert first.cells[0] == "Instruct"
    assert first.cells[2] == "100% (72–100, n=10)"
    assert first.cells[3] == f"30% ({100 * low:.0f}–{100 * high:.0f}, n=10)"
    assert second.arms == ("conversation",)
    assert second.cells[1] == "Preference accuracy, by reward"
    assert second.cells[3].startswith("80% (")


def test_an_arm_without_kinds_has_no_line_and_a_kind_that_it_lacks_is_a_dash():
    alone = [Row("dapt", "preference_accuracy", "p0", 1.0, {"by_kind": {KINDS[0]: 1.0}})]
    plain = [Row("foundation", "preference_accuracy", "p0", 1.0)]
    found = preference_kinds(fake_report(rows=[*rows("instruct", "preference_accuracy", 3), *alone, *plain]))
    assert [line.cells[0] for line in found.lines] == ["Instruct", "DAPT only"]
    assert found.lines[1].cells[2:] == ("100% (n=1)", "–")


def test_it_is_on_the_page_where_there_is_something_to_show():
    caption = "Preference accuracy by kind of rejected answer"
    page = render(fake_report(rows=rows("instruct", "preference_accuracy", 3)))
    assert caption in page
    assert 'href="#kinds"' in page
    assert caption not in render(fake_report())
