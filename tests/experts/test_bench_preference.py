"""The benches of preference training: contracts and numbers by hand, and results that outlive a stop."""

from types import SimpleNamespace

import pytest

from experts.batch import Row, candidates_segment, collate
from experts.benches import recommendation, references
from experts.benches._flops import Sizes
from experts.benches._kept import Kept
from experts.benches.preference import NUM_ROWS, TOLERANCE, Contest, Plan, result, row_of
from experts.device import probe
from experts.mixing import METHODS
from experts.recipe import Align
from tests.fakes import tiny_model

ROW_KEYS = {"name", "negatives", "median_seconds", "low", "high", "peak_mb", "loss_step0", "loss_step5"}


def row(name, negatives, seconds, losses=(0.7, 0.5)):
    """A contender that took `seconds` for each timed step."""
    steps = [9.0] + [seconds] * 5
    racer = SimpleNamespace(name=name, seconds=steps, losses=[losses[0], 0, 0, 0, 0, losses[1]], peak_mb=100.4)
    return row_of(racer, negatives)


def test_the_rows_have_the_keys_of_the_contract_and_no_others():
    found = result([row("ours", 1, 2.0), row("trl_best", 1, 4.0)], {1: 4 * 10**9}, 10.0)
    assert all(each.keys() == ROW_KEYS for each in found["rows"])
    assert found["rows"][0]["median_seconds"] == 2.0
    assert {"device", "rows", "losses_agree", "loss_tolerance", "share_of_matmul_rate"} <= found.keys()


def test_the_share_of_the_matmul_rate_by_hand():
    """4 and 12 GFLOP in 2 and 2 s are 4 GFLOP/s, of 10 the share 0.4; TRL's time does not count."""
    rows = [row("ours", 1, 2.0), row("trl_best", 1, 50.0), row("ours", 7, 2.0)]
    assert result(rows, {1: 4 * 10**9, 7: 12 * 10**9}, 10.0)["share_of_matmul_rate"] == pytest.approx(0.4)


@pytest.mark.parametrize("step", [0, 1])
def test_losses_are_compared_within_a_race_at_both_steps(step):
    """Other data, other loss: races are not compared with each other. A NaN agrees with nothing."""
    tolerance = TOLERANCE[probe().dtype]
    for gap, agrees in ((0.9 * tolerance, True), (1.1 * tolerance, False), (float("nan"), False)):
        other = [0.7, 0.5]
        other[step] += gap
        rows = [row("ours", 1, 2.0), row("padded", 1, 2.0, other), row("ours", 7, 2.0, (2.0, 1.9))]
        assert result(rows, {1: 1, 7: 1}, 1.0)["losses_agree"] is agrees


def test_operations_by_hand():
    """Two layers of width 32, heads 4 x 8, 16 for keys and values, 64 inside: 2 (32 (32 + 16 + 16 + 32) + 3 x 32 x 64)
    = 18,432 numbers. A row of prompt 2 and answers 2 and 1 has 1 + 2 + 1 tokens, of which all but the first predict;
    they see 1, 2, 3 and 2 tokens."""
    sizes = Sizes.of(tiny_model().requires_grad_(False))
    assert sizes == Sizes(18_432, 0, 258 * 32, 2 * 32)
    segment = candidates_segment([5, 6], [[7, 8], [9]])
    assert int(collate([Row([segment])], 0).mask_R1LL.sum()) == 8
    assert sizes.step([segment]) == 4 * 4 * 18_432 + 3 * 4 * 258 * 32 + 8 * 12 * 64


def test_trained_matrices_cost_three_products():
    model = tiny_model().requires_grad_(False)
    model.model.layers[0].mlp.up_proj.weight.requires_grad_()
    sizes = Sizes.of(model)
    assert (sizes.frozen, sizes.trained) == (18_432 - 32 * 64, 32 * 64)


def test_kept_results_are_computed_once_and_a_cut_line_does_not_count(tmp_path):
    kept, calls = Kept(tmp_path / "new" / "kept.jsonl"), []

    def compute():
        calls.append(1)
        return {"value": len(calls)}

    assert kept.result("a", compute) == kept.result("a", compute) == {"value": 1}
    with kept.path.open("a") as handle:
        handle.write('{"key": "b", "resu')
    assert kept.result("b", compute) == {"value": 2}
    assert kept.known() == {"a": {"value": 1}, "b": {"value": 2}}


def test_a_stopped_recommendation_bench_goes_on(tmp_path, monkeypatch):
    """What was measured is not measured again, what was trained not trained again."""
    bench = recommendation.Bench(tmp_path, (), ())
    kept = Kept(tmp_path / "recommendation.jsonl")
    kept.add(f"{bench.digest}/42/s_dpo", {"method": "s_dpo", "hit_ratio": 0.5})
    assert bench.measured("s_dpo", 42) == {"method": "s_dpo", "hit_ratio": 0.5}
    for name in ("s_dpo", "sft"):
        (bench.folder / "42" / name).mkdir(parents=True)
        (bench.folder / "42" / name / "adapter_config.json").write_text("{}")
    assert bench.model("s_dpo", 42).adapter == bench.folder / "42" / "s_dpo"


def test_references_alone_by_every_method_and_by_several_weightings_of_two():
    plans = references.plans()
    assert len({plan.name for plan in plans}) == len(plans)
    assert [plan.references for plan in plans[:3]] == [("instruct",), ("foundation",), ("instruct_1.5",)]
    for method in METHODS:
        assert f"{method}/uniform" in {plan.name for plan in plans}
    for method in ("geometric", "harmonic"):
        assert sum(plan.mixing.method == method for plan in plans[3:]) >= 4


def test_a_step_of_ours_is_the_whole_batch_however_it_is_divided():
    for passes in (1, 2):
        contest = SimpleNamespace(plan=Plan("ours", 7, passes))
        settings = Contest.settings(contest)
        assert isinstance(settings, Align)
        assert settings.batch_rows * settings.accumulation == NUM_ROWS
