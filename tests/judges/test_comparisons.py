"""Comparisons of arms: clusters, effects, minimum detectable effects, judges that decide nothing, and their line."""

from __future__ import annotations

import numpy as np
import pytest

from domains.errors import UserError
from judges.comparisons import compare_of, judge_of
from judges.forgetting import forgetting
from judges.headlines import comparison_line, detectable, items_needed
from judges.metrics import Row, measures, metrics_of
from judges.regret import regret
from judges.report import Report, compare_reports
from judges.subgroups import length_groups, subgroups


def rows(arm: str, values: list[float | None], metric: str = "empathy") -> list[Row]:
    return [Row(arm, metric, f"i{place}", value) for place, value in enumerate(values)]


def better_and_base(n: int, metric: str = "empathy") -> list[Row]:
    """An arm that is half a point better on every item, give or take."""
    random = np.random.default_rng(n)
    base = random.normal(size=n)
    return rows("a", list(base + 0.5 + 0.1 * random.normal(size=n)), metric) + rows("b", list(base), metric)


def test_items_of_one_conversation_are_one_unit():
    """Twelve items all better: p = 2 / 2^12. As three conversations: 2 / 2^3, which is not enough; n stays 12."""
    given = better_and_base(12)
    clusters = {f"i{place}": f"c{place % 3}" for place in range(12)}
    (alone,), (together,) = compare_of(measures(given), "a", "b"), compare_of(measures(given, clusters), "a", "b")
    assert (alone.p, alone.verdict, alone.n, alone.clusters) == (2 / 2**12, "better", 12, 12)
    assert (together.p, together.verdict, together.n, together.clusters) == (2 / 2**3, "not enough evidence", 12, 3)
    assert together.difference == pytest.approx(alone.difference)


def test_clustered_shares_have_wider_intervals():
    """Ten conversations of six equal answers say as much as ten items: Wilson of 5 in 10, not of 30 in 60."""
    given = [Row("a", "safety", f"i{place}", float(place // 6 % 2)) for place in range(60)]
    clusters = {f"i{place}": f"c{place // 6}" for place in range(60)}
    (together,) = metrics_of(measures(given, clusters))
    (alone,) = metrics_of(measures(given))
    (ten,) = metrics_of(measures([Row("a", "safety", str(place), float(place % 2)) for place in range(10)]))
    assert (together.low, together.high) == pytest.approx((ten.low, ten.high))
    assert together.high - together.low > 2 * (alone.high - alone.low)
    assert (together.n, together.value) == (60, 0.5)


def test_shares_of_equal_clusters_are_never_certain():
    given = [Row("a", "safety", f"i{place}", 1.0) for place in range(12)]
    (found,) = metrics_of(measures(given, {f"i{place}": f"c{place % 4}" for place in range(12)}))
    assert found.low == pytest.approx(4 / 7.8415, abs=1e-3)


def test_the_minimum_detectable_effect_grows_with_the_family():
    """More metrics, stricter alpha; the number of a family of one is (1.96 + .8416) standard errors."""
    (one,) = compare_of(measures(better_and_base(30)), "a", "b")
    many = compare_of(measures([r for m in ("empathy", "politeness", "new") for r in better_and_base(30, m)]), "a", "b")
    assert one.mde == pytest.approx((1.959964 + 0.841621) * one.standard_error, rel=1e-5)
    assert many[0].mde > one.mde


def test_too_few_items_can_detect_nothing():
    """Five items: the smallest p is 2 / 32 = .0625."""
    (found,) = compare_of(measures(better_and_base(5)), "a", "b")
    assert (found.mde, found.verdict) == (None, "not enough evidence")
    assert detectable(found) == "With n=5 no difference could have been shown."


def test_items_needed_is_quadratic():
    """mde twice the difference that was seen: four times the items."""
    random = np.random.default_rng(0)
    (found,) = compare_of(measures(rows("a", list(random.normal(0.1, 1, 40))) + rows("b", [0.0] * 40)), "a", "b")
    assert found.verdict == "not enough evidence"
    assert items_needed(found) == pytest.approx(40 * (found.mde / found.difference) ** 2, abs=1)
    assert f"about {items_needed(found):,} items" in detectable(found)


def test_wins_and_effects_follow_the_metric():
    given = rows("a", [9.0, 8, 7], "readability") + rows("b", [10.0, 7, 7], "readability")
    (found,) = compare_of(measures(given), "a", "b")
    assert (found.wins, found.losses, found.ties) == (1, 1, 1)
    nll = [Row(arm, "domain_nll", "x", nats, {"tokens": 100}) for arm, nats in (("a", 200.0), ("b", 300.0))]
    (ratio,) = compare_of(measures(nll), "a", "b")
    assert (ratio.effect_kind, ratio.wins) == ("ratio", 1)
    assert ratio.effect == pytest.approx(np.exp(2) / np.exp(3))


def test_an_untrusted_judge_decides_nothing_and_costs_the_others_nothing():
    given = better_and_base(12, "llm_judge") + better_and_base(12, "politeness")
    judge, other = sorted(compare_of(measures(given), "a", "b", ["llm_judge"]), key=lambda c: c.metric)
    assert (judge.verdict, judge.p_holm, judge.trusted) == ("not enough evidence", None, False)
    assert judge.difference > 0
    assert (other.verdict, other.p_holm) == ("better", other.p)


@pytest.mark.parametrize(
    ("metric", "judge"),
    [("llm_judge", "llm_judge"), ("llm_judge.helpfulness", "llm_judge"), ("summary_bertscore", "bertscore"),
     ("empathy", None), ("bertscores", None)],
)  # fmt: skip
def test_which_judge_a_metric_comes_from(metric, judge):
    assert judge_of(metric, ["llm_judge", "bertscore"]) == judge


def report_of(given: list[Row], **more: object) -> Report:
    return Report("d", "D", {row.arm: "" for row in given}, given, **more)


def test_a_report_keeps_untrusted_judges_out_of_its_headlines():
    """The baseline is the first arm; the judge alone would make the other one better."""
    given = better_and_base(14, "instruction_following")[::-1]
    trusted = report_of(given)
    judge = {"judge": "instruction_following", "trusted": False}
    untrusted = report_of(given, judges=[judge])
    assert [h.verdict for h in trusted.headlines] == ["better"]
    assert [h.verdict for h in untrusted.headlines] == ["not enough evidence"]
    assert "not trusted" in untrusted.headlines[0].evidence


def test_two_arms_of_one_report_or_of_two():
    given = better_and_base(12)
    both = report_of(given)
    (found,) = compare_reports(both, both, ("a", "b"))
    assert (found.arm_a, found.arm_b, found.verdict) == ("a", "b", "better")
    (back,) = compare_reports(both, report_of(rows("c", [0.0] * 12)), ("b", "c"))
    assert back.n == 12
    with pytest.raises(UserError, match="Did you mean"):
        compare_reports(both, both, ("a", "bb"))


def test_a_comparison_as_a_line_has_all_it_takes_to_believe_it():
    (found,) = compare_of(measures(better_and_base(12)), "a", "b")
    line = comparison_line(found)
    for part in ("a against b", "empathy", "better", "95% CI", "adjusted p", "n=12", "MDE 0."):
        assert part in line


def test_forgetting_is_after_minus_before():
    """Foundation 12 of 12, instruct 0 of 12: forgotten. The step to dapt changes nothing; other steps have no rows."""
    metric = "instruction_following"
    given = rows("foundation", [1.0] * 12, metric) + rows("instruct", [0.0] * 12, metric)
    found = forgetting(measures(given + rows("dapt", [1.0] * 12, metric)))
    assert [(c.arm_b, c.arm_a, c.difference, c.verdict) for c in found] == [
        ("foundation", "instruct", -1.0, "worse"),
        ("foundation", "dapt", 0.0, "not enough evidence"),
    ]
    assert found[0].p_holm == 2 * 2 / 2**12


def test_regret_is_what_a_policy_costs_against_the_oracle():
    """The wrong expert answers half a point worse on each of ten requests; always the same as the oracle costs 0."""
    level = [0.1 * place for place in range(10)]
    given = rows("oracle", level, "bertscore") + rows("wrong", [v - 0.5 for v in level], "bertscore")
    wrong, same = regret(given + rows("always x", level, "bertscore"))
    assert (wrong["policy"], wrong["regret"], wrong["verdict"]) == ("wrong", pytest.approx(0.5), "worse")
    assert (wrong["low"], wrong["high"]) == pytest.approx((0.5, 0.5))
    assert (same["policy"], same["regret"], same["verdict"]) == ("always x", 0.0, "not enough evidence")
    assert wrong["oracle"] - wrong["quality"] == pytest.approx(wrong["regret"])


def test_a_policy_that_beats_the_oracle_has_negative_regret():
    (found,) = regret(
        rows("oracle", [0.0] * 8, "bertscore") + rows("router", [float(i) for i in range(1, 9)], "bertscore")
    )
    assert found["regret"] == -4.5
    assert found["low"] < -4.5 < found["high"] < 0
    assert found["verdict"] == "better"


def test_subgroups_find_for_whom():
    """Better on the ten 'open' items, worse on the ten 'json' items, equal over all."""
    gain = [0.5 + 0.01 * place for place in range(10)]
    given = rows("a", [*gain, *(-g for g in gain)]) + rows("b", [0.0] * 20)
    items = {f"i{place}": {"kind": "open" if place < 10 else "json", "words": 7} for place in range(20)}
    (measure,) = measures(given)
    found = {s.group: s.comparison for s in subgroups([(measure, "a", "b")], items)}
    assert {group: c.verdict for group, c in found.items()} == {"open": "better", "json": "worse"}
    assert found["open"].p_holm == 2 * found["open"].p
    assert compare_of([measure], "a", "b")[0].difference == pytest.approx(0)


def test_small_groups_and_single_groups_are_no_looks():
    items = {f"i{place}": {"kind": "open" if place else "json"} for place in range(12)}
    (measure,) = measures(better_and_base(12))
    assert [s.group for s in subgroups([(measure, "a", "b")], items)] == ["open"]
    assert subgroups([(measure, "a", "b")], {f"i{place}": {"kind": "open"} for place in range(12)}) == []
    assert subgroups([(measure, "a", "b")], {}) == []


def test_an_item_of_several_kinds_is_in_the_group_of_each():
    """Items 0-3 are cold, 4-7 cold and short, 8-11 short: eight items of each kind, four of them in both. a - b is 3 in
    the first third, 1 in the second and -1 in the last: 2 over the cold ones and 0 over the short ones."""
    kinds = [["cold"]] * 4 + [["cold", "short"]] * 4 + [["short"]] * 4
    items = {f"i{place}": {"kind": ", ".join(each), "kinds": each} for place, each in enumerate(kinds)}
    (measure,) = measures(rows("a", [3.0] * 4 + [1.0] * 4 + [-1.0] * 4) + rows("b", [0.0] * 12))
    found = {s.group: s.comparison for s in subgroups([(measure, "a", "b")], items)}
    assert {group: (c.n, c.difference) for group, c in found.items()} == {"cold": (8, 2.0), "short": (8, 0.0)}


def test_a_kind_of_every_item_is_no_look():
    """It would be the comparison over all items once more."""
    items = {f"i{place}": {"kinds": ["cold", "short"] if place % 2 else ["cold"]} for place in range(12)}
    (measure,) = measures(better_and_base(12))
    assert [s.group for s in subgroups([(measure, "a", "b")], items)] == ["short"]


def test_length_groups_are_thirds():
    found = length_groups({str(words): words for words in (1, 2, 3, 10, 11, 12, 50, 60, 70)})
    assert [list(found.values()).count(group) for group in dict.fromkeys(found.values())] == [3, 3, 3]
    assert length_groups({"a": 5, "b": 5, "c": None}) == {}
