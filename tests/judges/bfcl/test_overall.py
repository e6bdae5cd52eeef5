"""The overall scores by hand, their floors, and the subsets."""

from __future__ import annotations

import pytest

pytest.importorskip("bfcl_eval")

from domains.errors import UserError  # noqa: E402
from judges.bfcl.overall import Count, interval, overall_v3, overall_v4, summary  # noqa: E402
from judges.bfcl.rows import CATEGORIES, IRRELEVANCE, MULTI_TURN, drawn, quotas, read_category, subset  # noqa: E402
from tests.judges.bfcl.test_checking import SIZES  # noqa: E402


def counts(shares: dict[str, float]) -> dict[str, Count]:
    return {name: Count(round(shares.get(name, 0.0) * size), size, size) for name, size in SIZES.items()}


def test_a_model_that_never_calls_is_at_the_published_floor():
    """v3: non-live 1 of 5 kinds = 0.2, live 884 of 2251 = 0.3927, multi-turn 0; their mean is 0.1976. v4: 10% for
    irrelevance alone. Neither is an accuracy of calls."""
    found = summary(counts(dict.fromkeys(IRRELEVANCE, 1.0)))
    assert found["overall_v3"]["value"] == pytest.approx((0.2 + 884 / 2251) / 3, abs=1e-4)
    assert found["overall_v4_without_agentic"]["value"] == 0.1
    assert found["call_accuracy"]["value"] == 0.0
    assert all(row["value"] == row["never_calling"] for row in found.values())


def test_a_perfect_model():
    """v4 ends at 0.6 because the agentic categories, 40 percent, are not run."""
    found = summary(counts(dict.fromkeys(SIZES, 1.0)))
    assert (found["overall_v3"]["value"], found["overall_v4_without_agentic"]["value"]) == (1.0, 0.6)
    assert found["irrelevance_accuracy"]["never_calling"] == 1.0


def test_the_weights_of_the_versions():
    """Simple is the mean of three languages: python alone is 1/3 of 1/5 of 1/3 in v3 and 1/3 of 1/4 of 10% in v4. Live
    is weighted by size: live_multiple is 1053 of 2251 in v3, and of 1351 in v4, where (ir)relevance is elsewhere."""
    assert overall_v3({"simple_python": 1.0}, SIZES) == pytest.approx(1 / 45)
    assert overall_v4({"simple_python": 1.0}, SIZES) == pytest.approx(1 / 120)
    assert overall_v3({"live_multiple": 1.0}, SIZES) == pytest.approx(1053 / 2251 / 3)
    assert overall_v4({"live_multiple": 1.0}, SIZES) == pytest.approx(0.1 * 1053 / 1351)
    assert overall_v4({"multi_turn_base": 1.0}, SIZES) == pytest.approx(0.3 / 4)
    assert overall_v3({"live_relevance": 1.0}, SIZES) == pytest.approx(16 / 2251 / 3)
    assert overall_v4({"live_relevance": 1.0}, SIZES) == 0


def test_intervals_hold_the_value_and_shrink():
    few = summary({name: Count(2, 8, size) for name, size in SIZES.items()})["overall_v3"]
    many = summary({name: Count(size // 4, size, size) for name, size in SIZES.items()})["overall_v3"]
    for found in (few, many):
        assert found["low"] < found["value"] < found["high"]
    assert many["high"] - many["low"] < few["high"] - few["low"]


@pytest.mark.parametrize("rights", [[0], [8], [1], [0, 8], [3, 8, 0, 1]])
def test_an_interval_always_holds_its_value(rights):
    """Also where all or none of the rows are right, in some of the categories or in all of them."""
    given = {name: Count(rights[i % len(rights)], 8, size) for i, (name, size) in enumerate(SIZES.items())}
    for found in summary(given).values():
        assert 0 <= found["low"] <= found["value"] <= found["high"] <= 1
        assert found["high"] - found["low"] > 0.05


def test_the_interval_of_one_category_is_that_of_wilson():
    """Java alone has 1/3 of 1/5 of 1/3 of v3, so has its interval; the mean of two equal ones has sqrt(2) / 2 of it."""
    one = {"simple_java": Count(0, 10, 100)}
    assert summary(one)["overall_v3"]["high"] == pytest.approx(interval(one["simple_java"]).high / 45, abs=1e-4)
    two = one | {"simple_javascript": Count(0, 10, 50)}
    assert summary(two)["call_accuracy"]["high"] == pytest.approx(
        summary(one)["call_accuracy"]["high"] / 2**0.5, abs=1e-4
    )


def test_subsets_are_fixed_equal_and_nested():
    small, large = subset(len(CATEGORIES)), subset(200)
    assert sum(map(len, large.values())) >= 200
    for name in CATEGORIES:
        assert 1 <= len(small[name]) <= len(large[name])
        assert {task.id for task in small[name]} <= {task.id for task in large[name]}
    assert len({len(large[name]) for name in CATEGORIES if name not in MULTI_TURN}) == 1
    assert subset(200) == large
    rows = read_category("live_parallel")
    assert drawn(rows[::-1], 5) == drawn(rows, 5)


def test_all_rows_and_too_few():
    assert {name: len(rows) for name, rows in subset(None, ["live_parallel"]).items()} == {"live_parallel": 16}
    with pytest.raises(UserError, match="--rows"):
        subset(3)
    with pytest.raises(UserError, match="Did you mean 'multiple'"):
        read_category("multipl")


def test_quotas_are_bounded_by_the_sizes():
    """4 of the small one and 8 of each other make 20; a quota of 7 would give 18."""
    assert quotas({"a": 4, "b": 100, "c": 100}, 20) == {"a": 4, "b": 8, "c": 8}
