"""Rows become metrics, comparisons, headlines and files; nothing else does."""

import json
import math
import time
from dataclasses import replace

import pytest

from domains.errors import UserError
from judges.headlines import format_interval, format_value
from judges.report import (
    Report,
    Row,
    changed_items,
    compare,
    compare_reports,
    load,
    metrics,
    routing_accuracy,
    table,
    unlike_metrics,
)
from judges.stats import holm
from tests.fakes_report import ARMS, FOLLOWS, fake_report, fake_rows


@pytest.fixture(scope="module")
def report() -> Report:
    return fake_report()


def shares(arm: str, values: str, metric: str = "instruction_following") -> list[Row]:
    """'1' and '0' are values, '-' is unscored."""
    return [Row(arm, metric, f"i{place}", None if mark == "-" else float(mark)) for place, mark in enumerate(values)]


def only(found, arm, metric, name="arm"):
    (one,) = [m for m in found if (getattr(m, name), m.metric) == (arm, metric)]
    return one


def test_unscored_is_counted_and_never_averaged():
    """Three of four scored items hold; the two unscored ones would make it 3 / 6."""
    (metric,) = metrics(shares("dapt", "1101--"))
    assert (metric.value, metric.n, metric.unscored) == (0.75, 4, 2)


def test_all_unscored_has_no_value():
    (metric,) = metrics(shares("dapt", "---"))
    assert (metric.value, metric.low, metric.high, metric.n, metric.unscored) == (None, None, None, 0, 3)


def test_one_item_has_a_value_but_no_interval():
    (metric,) = metrics(shares("dapt", "1"))
    assert (metric.value, metric.low, metric.high, metric.n) == (1.0, None, None, 1)


@pytest.mark.parametrize("name", ["instruction_following", "a_new_yes_no_metric"])
def test_shares_have_wilson_intervals(name):
    """8 of 8: a bootstrap would say 1-1; Wilson's lower end is 8 / (8 + 3.8415)."""
    (metric,) = metrics(shares("dapt", "11111111", name))
    assert metric.low == pytest.approx(8 / 11.8415, abs=1e-4)
    assert metric.high == 1.0


def test_a_judge_that_gives_ones_is_no_share():
    (metric,) = metrics(shares("dapt", "1111", "llm_judge"))
    assert (metric.low, metric.high) == (1.0, 1.0)


def test_perplexity_is_derived_from_totals():
    """exp((100 ln 2 + 300 ln 8) / 400) = 2^2.5."""
    rows = [
        Row("dapt", "domain_nll", "a", 100 * math.log(2), {"tokens": 100}),
        Row("dapt", "domain_nll", "b", 300 * math.log(8), {"tokens": 300}),
        Row("dapt", "general_nll", "c", 10 * math.log(3), {"tokens": 10}),
    ]
    found = metrics(rows)
    assert [m.metric for m in found] == ["perplexity", "general_perplexity"]
    assert found[0].value == pytest.approx(2**2.5)
    assert found[0].low == pytest.approx(2.0)
    assert found[0].high == pytest.approx(8.0)


def label_row(item: str, prediction: str | None, label: str) -> Row:
    return Row(
        "structured", "classification", item, float(prediction == label), {"prediction": prediction, "label": label}
    )


def test_classification_by_hand():
    """a: hits 2 of 3 references, 2 predictions: F1 = 4/5. b: 1 of 2, 2 predictions: 2/4. c is nobody's label and None
    is no prediction, so the macro-F1 is (.8 + .5) / 2 and the accuracy 3 / 5."""
    pairs = [("a", "a"), ("a", "a"), ("b", "a"), ("b", "b"), ("c", "b")]
    rows = [label_row(str(place), *pair) for place, pair in enumerate(pairs)]
    rows.append(Row("structured", "classification", "x", None, {"prediction": None, "label": "d"}))
    found = metrics(rows)
    assert only(found, "structured", "classification_accuracy").value == pytest.approx(0.6)
    assert only(found, "structured", "classification_macro_f1").value == pytest.approx(0.65)
    assert {(m.n, m.unscored) for m in found} == {(5, 1)}


def test_an_unreadable_prediction_is_wrong_not_unscored():
    found = metrics([label_row("1", None, "a"), label_row("2", "a", "a")])
    assert only(found, "structured", "classification_accuracy").value == 0.5
    assert only(found, "structured", "classification_macro_f1").value == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("metric", "parts", "higher_means"),
    [
        ("bertscore", {}, "better"),
        ("readability", {}, "worse"),
        ("domain_nll", {"tokens": 9}, "worse"),
        ("new", {}, "better"),
    ],
)
def test_verdicts_follow_the_direction_of_the_metric(metric, parts, higher_means):
    """Twelve items all higher by .5: p = 2 / 2^12, alone in its family."""
    rows = [Row("a", metric, str(i), 10.5 + i, parts) for i in range(12)]
    rows += [Row("b", metric, str(i), 10.0 + i, parts) for i in range(12)]
    (up,), (down,) = compare(rows, "a", "b"), compare(rows, "b", "a")
    opposite = {"better": "worse", "worse": "better"}[higher_means]
    assert (up.verdict, down.verdict) == (higher_means, opposite)
    assert up.p == pytest.approx(2 / 2**12)
    assert up.difference == pytest.approx(-down.difference)


def test_comparison_pairs_only_what_both_scored():
    """Items 2 and 3 lack a partner; on the two common ones a wins once: difference .5."""
    (found,) = compare(shares("a", "11-1") + shares("b", "011-"), "a", "b")
    assert (found.n, found.value_a, found.value_b, found.difference) == (2, 1.0, 0.5, 0.5)
    assert found.verdict == "not enough evidence"


def test_comparison_without_common_items_is_shown_as_such():
    (found,) = compare(shares("a", "1-") + shares("b", "-1"), "a", "b")
    assert (found.n, found.difference, found.p, found.verdict) == (0, None, None, "not enough evidence")


def test_holm_takes_away_what_one_of_many_metrics_shows_by_chance():
    """Six items all better: p = 2 / 2^6 = .031, better alone; with a second metric that is the same: .0625, not."""
    one = [*shares("a", "111111"), *shares("b", "000000")]
    assert compare(one, "a", "b")[0].verdict == "better"
    two = [*one, *shares("a", "101010", "safety"), *shares("b", "101010", "safety")]
    first = compare(two, "a", "b")[0]
    assert (first.p, first.p_holm, first.verdict) == (2 / 64, 4 / 64, "not enough evidence")


def test_unknown_arm_gets_a_suggestion():
    with pytest.raises(UserError, match="Did you mean 'dapt'"):
        compare(shares("dapt", "11"), "dapt", "dpat")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (lambda: Row("a", "bertscore", "1", math.nan), "None means unscored"),
        (lambda: Row("a", "domain_nll", "1", 3.0), "tokens"),
        (lambda: Row("a", "classification", "1", 1.0), "label"),
        (lambda: Row.from_dict({"arm": "a", "metric": "m", "item": "1", "value": True}), "a number or null"),
        (lambda: Row.from_dict({"arm": "a", "metric": "m", "item": "1", "valeu": 1}), "valeu"),
    ],
)
def test_rows_that_no_statistic_can_take(row, reason):
    with pytest.raises(ValueError, match=reason):
        row()


def test_duplicates_and_undescribed_arms_are_refused():
    with pytest.raises(UserError, match="Two rows"):
        Report("d", "D", {"a": ""}, [*shares("a", "1"), *shares("a", "0")])
    with pytest.raises(ValueError, match="does not describe: b"):
        Report("d", "D", {"a": ""}, shares("b", "1"))
    with pytest.raises(ValueError, match="square"):
        Report("d", "D", {}, (), routing={"confusion": {"labels": ["x", "y"], "counts": [[1, 0]]}})


def test_planted_effects_are_found(report):
    """The fake's residual restores instruction following (.62 against .03) and its prompt changes no preference."""
    found = {(c.arm_a, c.arm_b, c.metric): c.verdict for c in report.comparisons}
    assert found["dapt_residual", "dapt", "instruction_following"] == "better"
    assert found["dapt", "instruct", "instruction_following"] == "worse"
    assert found["dapt", "instruct", "perplexity"] == "better"
    assert found["foundation", "instruct", "preference_accuracy"] == "not enough evidence"
    for arm, share in zip(ARMS, FOLLOWS, strict=True):
        metric = only(report.metrics, arm, "instruction_following")
        assert metric.low - 0.05 <= share <= metric.high + 0.05


def test_headlines_are_plain_sentences(report):
    (headline,) = [h for h in report.headlines if (h.arm_a, h.metric) == ("dapt_residual", "instruction_following")]
    metric, other = (only(report.metrics, arm, "instruction_following") for arm in ("dapt_residual", "dapt"))
    assert headline.claim == (
        f"DAPT + residual follows instructions in {100 * metric.value:.0f}% of cases "
        f"(95% CI {100 * metric.low:.0f}–{100 * metric.high:.0f}, n=64), "
        f"DAPT only {100 * other.value:.0f}% ({100 * other.low:.0f}–{100 * other.high:.0f})."
    )
    assert headline.evidence.startswith("Better: difference +")
    undecided = [h for h in report.headlines if h.verdict == "not enough evidence"]
    assert undecided
    assert all(h.evidence.startswith("Not enough evidence: ") for h in undecided)


def test_json_has_the_contract(report):
    content = report.as_dict()
    assert {"domain", "metrics", "comparisons", "provenance", "routing", "sweep", "samples", "notes", "arms"} <= set(
        content
    )
    assert set(content["metrics"][0]) == {"arm", "metric", "value", "low", "high", "n", "unscored"}
    assert len(content["metrics"]) == 9 * 15
    assert {c["arm_b"] for c in content["comparisons"]} >= {"instruct", "dapt", "dapt_residual"}
    assert content["sweep"][0]["intervals"]["instruction_following"]["n"] == 32


def test_a_whole_report_is_quick():
    """Nine arms, fifteen metrics, 100 items: about .3 s of this thread; three seconds are far too many."""
    start = time.thread_time()
    fake_report(100).as_dict()
    assert time.thread_time() - start < 3


def test_round_trip(report, tmp_path):
    report.write(tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["report.json", "rows.jsonl"]
    for path in (tmp_path / "out", tmp_path / "out" / "report.json"):
        assert load(path).as_dict() == json.loads(json.dumps(report.as_dict()))


def test_text_with_line_separators_survives(tmp_path):
    """U+2028 and U+0085 end lines for str.splitlines, not for JSONL."""
    rows = [Row("a", "bertscore", "x\u2028y", 1.0, {"said": "one\u0085two\nthree"})]
    Report("d", "D", {"a": ""}, rows).write(tmp_path)
    assert list(load(tmp_path).rows) == rows


def test_an_empty_report_is_a_report(tmp_path):
    Report("d", "D", {"a": "An arm."}, ()).write(tmp_path)
    assert load(tmp_path).as_dict()["metrics"] == []


def test_a_cut_between_the_files_is_seen(tmp_path):
    """Old report.json beside new rows.jsonl, as a kill between the two renames leaves them."""
    Report("d", "D", {"a": ""}, shares("a", "10")).write(tmp_path)
    with (tmp_path / "rows.jsonl").open("a") as file:
        file.write(json.dumps(Row("a", "safety", "z", 1.0).as_dict()) + "\n")
    with pytest.raises(UserError, match="not the one that"):
        load(tmp_path)


def test_files_that_are_no_report(tmp_path):
    with pytest.raises(UserError, match="expertsmith evaluate"):
        load(tmp_path / "nowhere")
    (tmp_path / "rows.jsonl").write_text("")
    for text in ("not json", "[]", "{}"):
        (tmp_path / "report.json").write_text(text)
        with pytest.raises(UserError, match="is no report"):
            load(tmp_path)


def test_a_value_that_json_lacks_leaves_the_old_files(tmp_path):
    old = Report("d", "D", {"a": ""}, shares("a", "10"))
    old.write(tmp_path)
    with pytest.raises(ValueError, match="JSON"):
        Report("d", "D", {"a": ""}, shares("a", "1"), provenance={"loss": math.inf}).write(tmp_path)
    assert load(tmp_path).as_dict() == old.as_dict()


def test_compare_reports_pairs_by_arm_metric_and_item(report):
    """The second report is the first with every empathy score lower by .2: only empathy is better in the first."""
    lower = [Row(r.arm, r.metric, r.item, r.value - 0.2) if r.metric == "empathy" else r for r in report.rows]
    found = compare_reports(report, fake_report(rows=lower))
    assert {c.metric for c in found if c.verdict == "better"} == {"empathy"}
    assert {c.verdict for c in found if c.metric != "empathy"} == {"not enough evidence"}
    assert [c.arm_a for c in found if c.metric == "empathy"] == list(ARMS)
    assert all(c.arm_a == c.arm_b for c in found)
    assert all(c.difference == pytest.approx(0.2) for c in found if c.metric == "empathy")


def test_compare_reports_leaves_out_items_that_changed(report):
    """One instruction was rewritten between the reports (its length differs): its answers are no pair."""
    item = next(row.item for row in report.rows if row.metric == "instruction_following")
    first, second = (replace(report, items={item: {"task": "instructions", "words": words}}) for words in (12, 30))
    assert changed_items(first, second) == [item]
    assert changed_items(first, first) == changed_items(first, report) == []
    arms = ("dapt", "foundation")
    before = only(compare_reports(first, first, arms), "dapt", "instruction_following", "arm_a")
    after = only(compare_reports(first, second, arms), "dapt", "instruction_following", "arm_a")
    assert after.n == before.n - 1


def test_compare_reports_refuses_what_cannot_be_paired(report):
    with pytest.raises(UserError, match="'mortgage' and 'caregiving'"):
        compare_reports(report, fake_report(domain="caregiving"))
    a, b = (Report("d", "D", {"a": ""}, [Row("a", "safety", item, 1.0)]) for item in "xy")
    with pytest.raises(UserError, match="share no arm, metric and item"):
        compare_reports(a, b)


def test_table_gives_plain_values_with_intervals():
    (record,) = table(shares("router", "1110"), "routing")
    assert (record["routing"], record["instruction_following"]) == ("router", 0.75)
    assert record["intervals"]["instruction_following"]["n"] == 4


def test_routing_accuracy_is_the_diagonal():
    found = routing_accuracy({"labels": ["a", "b"], "counts": [[3, 1], [2, 4]]})
    assert (found.value, found.n) == (0.7, 10)


def test_order_of_arms_and_metrics(report):
    shuffled = fake_report(rows=list(reversed(fake_rows())))
    assert [(m.arm, m.metric) for m in shuffled.metrics] == [(m.arm, m.metric) for m in report.metrics]
    assert [m.arm for m in report.metrics[:9]] == list(ARMS)


@pytest.mark.parametrize(
    ("metric", "value", "signed", "text"),
    [
        ("safety", 0.625, False, "62%"),
        ("safety", -0.19, True, "−19"),
        ("safety", -0.001, True, "0"),
        ("perplexity", 11.66, False, "11.7"),
        ("empathy", 0.5, True, "+0.50"),
        ("empathy", None, False, "–"),
        ("perplexity", 12345.6, False, "12346"),
    ],
)
def test_numbers_as_people_read_them(metric, value, signed, text):
    assert format_value(metric, value, signed) == text


def test_intervals_as_people_read_them():
    assert format_interval("safety", 0.5, 0.72) == "50–72"
    assert format_interval("perplexity", -2.3, -1.92, signed=True) == "−2.30 to −1.92"
    assert format_interval("safety", None, None) == ""


def test_headlines_are_corrected_over_all_claims(report):
    """Holm by hand over the family of claims."""
    found = {(c.arm_a, c.arm_b, c.metric): c.p if c.trusted else None for c in report.comparisons}
    ps = [found[h.arm_a, h.arm_b, h.metric] for h in report.headlines]
    for headline, p in zip(report.headlines, holm(ps), strict=True):
        assert (headline.verdict != "not enough evidence") == (p is not None and p < 0.05)


def test_metrics_of_other_judges_or_decoding_are_not_compared(report):
    def with_provenance(**facts):
        return replace(report, provenance={**report.provenance, **facts})

    a, b = (with_provenance(judge_digests={"bertscore": digest}) for digest in "xy")
    assert "bertscore" in unlike_metrics(a, b)
    assert not {c.metric for c in compare_reports(a, b)} & set(unlike_metrics(a, b))
    assert unlike_metrics(a, a) == unlike_metrics(a, report) == []
    short, long = (with_provenance(decoding={"max_new_tokens": size}) for size in (8, 120))
    left = {c.metric for c in compare_reports(short, long)}
    assert "perplexity" in left
    assert not {"bertscore", "instruction_following"} & left


def test_items_with_other_content_are_left_out(report):
    name = next(iter(report.items), "q1")
    a, b = (replace(report, items={name: {"task": "questions", "digest": digest}}) for digest in "xy")
    assert changed_items(a, b) == [name]
    assert changed_items(a, replace(report, items={name: {"task": "questions"}})) == []
