"""Two processes against one with the same global batch: losses, adapters, statistics, caches.

In fp32 both compute the same sums in another order. Adam divides a gradient by its own size, so what differs is of the
order of the rounding (1e-7) times the number of steps, except where a gradient itself is rounding.
"""

import json
import shutil

import pytest
import torch
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_multi_gpu_env
from safetensors.torch import load_file

from experts.alignment import REFERENCES, STATE
from experts.checkpoint import WEIGHTS
from experts.device import DTYPE
from experts.launcher import Launch, find_launch, read_settings
from experts.train import COMPLETE, LOG
from tests.fakes_ranks import JOBS, prepared, run_job, run_ranks

ALIGNED = [name for name, job in JOBS.items() if job.kind not in ("sft", "reward")]
FULL = [name for name, job in JOBS.items() if job.training.get("method") == "full"]
STEPS = 6


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """All jobs in this process."""
    folder = prepared(tmp_path_factory.mktemp("one"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(DTYPE, "float32")
        for name in JOBS:
            run_job(name, folder)
    return folder


SLOW = pytest.mark.slow


@pytest.fixture(scope="module", params=[pytest.param("ddp", marks=SLOW), pytest.param("fsdp2", marks=SLOW)])
def two(request, tmp_path_factory):
    """All jobs in two processes: each with the whole model, or with its part by the shipped FSDP2 configuration."""
    folder = prepared(tmp_path_factory.mktemp(request.param))
    run_ranks(folder, list(JOBS), **(sharding() if request.param == "fsdp2" else {}))
    return folder


def sharding(mixed_precision="no"):
    """The environment that accelerate gives to its processes for the shipped configuration, in fp32 unless asked."""
    file = find_launch("fsdp2")
    launch = Launch(file, read_settings(file), {"num_processes": "2", "mixed_precision": mixed_precision})
    args = _validate_launch_command(launch_command_parser().parse_args(launch.command(["build"])[3:]))[0]
    return {k: v for k, v in prepare_multi_gpu_env(args).items() if k.startswith(("FSDP_", "ACCELERATE_"))}


def curve(folder, name):
    """The logged numbers of every step."""
    return [json.loads(line) for line in (folder / name / LOG).read_text().splitlines() if '"loss"' in line]


def weights(folder, name):
    """The tensors of the result."""
    file = folder / name / WEIGHTS
    return load_file(file if file.exists() else folder / name / "model.safetensors")


def last_state(folder, name):
    """The statistics in the last checkpoint."""
    return json.loads(max((folder / name).glob(f"checkpoints/*/{STATE}"), key=str).read_text())


@pytest.mark.parametrize("name", JOBS)
def test_the_loss_curve_is_that_of_one_process(one, two, name):
    alone, together = curve(one, name), curve(two, name)
    assert [line["step"] for line in together] == [line["step"] for line in alone]
    assert len(alone) >= STEPS
    for key in ("loss", "learning_rate", "grad_norm", "reward_margin", "reward_accuracy"):
        expected = [line[key] for line in alone if key in line]
        assert [line[key] for line in together if key in line] == pytest.approx(expected, rel=1e-3, abs=2e-4)


@pytest.mark.parametrize("name", JOBS)
def test_the_result_is_that_of_one_process(one, two, name):
    """Far less than what training changed: the second factors of an adapter start at 0."""
    alone, together = weights(one, name), weights(two, name)
    assert alone.keys() == together.keys()
    for key, expected in alone.items():
        assert together[key].shape == expected.shape
        torch.testing.assert_close(together[key], expected, rtol=0, atol=1e-4)
    moved = [tensor for key, tensor in alone.items() if "lora_B" in key]
    assert all(tensor.abs().max() > 5e-3 for tensor in moved)


@pytest.mark.parametrize("name", FULL)
def test_weights_of_all_parameters_moved_away_from_the_start(two, name):
    """Full-weights alignment: 6 Adam steps of 1e-3 under a cosine move a weight by up to about 3e-3."""
    before, after = load_file(two / JOBS[name].base / "model.safetensors"), weights(two, name)
    assert ("lm_head.weight" in after) == (JOBS[name].base == "untied")
    assert before.keys() == after.keys()
    assert all((after[name] - before[name]).abs().max() > 5e-4 for name in before)


@pytest.mark.parametrize("name", ALIGNED)
def test_statistics_are_those_of_all_rows_on_every_rank(one, two, name):
    states = [json.loads((two / name / f"rank-{rank}.json").read_text()) for rank in (0, 1)]
    assert states[0] == states[1]
    assert last_state(two, name) == states[0]
    expected = last_state(one, name)
    assert states[0]["objective"] == pytest.approx(expected["objective"], rel=1e-3, abs=1e-5)
    assert states[0]["mixing"]["count"] == expected["mixing"]["count"]
    assert sum(states[0]["mixing"]["recent"], []) == pytest.approx(sum(expected["mixing"]["recent"], []), rel=1e-4)


def test_the_statistics_of_the_window_are_there(two):
    """So that the comparison above compares something: 2 batches in the window, 2 references each."""
    assert [len(batch) for batch in last_state(two, "window")["mixing"]["recent"]] == [2, 2]
    assert last_state(two, "beta_dpo")["objective"]["count"] == STEPS


@pytest.mark.parametrize("name", ["dpo", "window"])
def test_reference_caches_hold_the_same(one, two, name):
    alone, together = (json.loads((folder / name / REFERENCES).read_text()) for folder in (one, two))
    assert alone.keys() == together.keys()
    assert all(together[key] == pytest.approx(alone[key], rel=1e-5) for key in alone)


def test_the_head_of_an_objective_is_saved_and_the_same(one, two):
    alone, together = (load_file(folder / "head" / "head.safetensors") for folder in (one, two))
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
    assert together["reward.weight"].abs().max() > 0


def test_a_cache_is_written_once_and_read_by_all(two):
    """Only rank 0 scored, and both got its values."""
    assert (two / "scored").read_text() == "0\n"
    known = [json.loads((two / f"rank-{rank}.json").read_text()) for rank in (0, 1)]
    assert known[0] == known[1]
    assert known[0]["ranks"] == 2
    assert known[0]["agreed"] is True
    assert known[0]["means"] == {"a": 1.0, "b": 5.0}
    assert known[0]["refused"][0] == ""
    assert "different inputs of a stage. Every host needs the same" in known[0]["refused"][1]


@pytest.mark.slow
def test_sharded_training_goes_on_from_a_checkpoint(tmp_path):
    """The last checkpoint and the result taken away: the steps after the one before are made again, and end the same.
    That one is not written again."""
    folder = prepared(tmp_path)
    run_ranks(folder, ["beta_dpo"], **sharding())
    checkpoints, expected = folder / "beta_dpo" / "checkpoints", weights(folder, "beta_dpo")
    kept, log, state = (
        checkpoints / "checkpoint-4" / COMPLETE,
        curve(folder, "beta_dpo"),
        last_state(folder, "beta_dpo"),
    )
    shutil.rmtree(checkpoints / f"checkpoint-{STEPS}")
    (folder / "beta_dpo" / WEIGHTS).unlink()
    written = kept.stat().st_mtime_ns
    run_ranks(folder, ["beta_dpo"], **sharding())
    assert kept.stat().st_mtime_ns == written
    assert [line["loss"] for line in curve(folder, "beta_dpo")] == pytest.approx(
        [line["loss"] for line in log], rel=1e-5
    )
    assert last_state(folder, "beta_dpo")["objective"] == pytest.approx(state["objective"], rel=1e-5)
    found = weights(folder, "beta_dpo")
    assert found.keys() == expected.keys()
    for key, tensor in expected.items():
        torch.testing.assert_close(found[key], tensor, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_the_shipped_mixed_precision_trains_close_to_fp32(one, tmp_path):
    """bf16 has 8 bits, so a loss is within some thousandths; the gathered adapter is whole."""
    folder = prepared(tmp_path)
    run_ranks(folder, ["sft", "dpo"], **sharding("bf16"), **{DTYPE: "bfloat16"})
    for name in ("sft", "dpo"):
        losses, expected = ([line["loss"] for line in curve(place, name)] for place in (folder, one))
        assert losses == pytest.approx(expected, rel=0.03, abs=0.03)
        found = weights(folder, name)
        assert {key: tensor.shape for key, tensor in found.items()} == {
            key: tensor.shape for key, tensor in weights(one, name).items()
        }
        assert all(tensor.isfinite().all() and tensor.abs().max() > 5e-3 for tensor in found.values())
