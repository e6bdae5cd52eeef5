"""Preference training with several references and with rewards; two processes; a run that goes on."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from domains.errors import UserError
from domains.example import Message, Preference
from experts.alignment import REFERENCES, Alignment, rewards_of, train_preferences
from experts.checkpoint import Checkpoint, read_adapter
from experts.device import DTYPE
from experts.mixing import Mixing
from experts.objectives import ddo_rm
from experts.preferences import load_objective
from experts.recipe import Align
from experts.train import LOG
from tests.experts.test_train import ROWS
from tests.fakes import byte_tokenizer, tiny_model

MORE = tuple(
    Preference(str(i), (Message("user", f"{word}?"),), f"{word}!", (word[::-1], "No " + word))
    for i, word in enumerate(("kettle", "ladder", "window", "violin"))
)


def settings(**changes):
    return Align(**({"rank": 2, "epochs": 2, "accumulation": 1, "row_tokens": 128, "learning_rate": 0.01} | changes))


def train(base, folder, objective, rows=ROWS, mixing=None, **options):
    alignment = Alignment(objective, mixing or Mixing(), **options)
    return train_preferences(Checkpoint(base), rows, alignment, settings(), 0, folder)


@pytest.fixture
def other(tmp_path):
    """A reference of another size with another tokenizer: the same bytes under other ids."""
    folder = tmp_path / "other"
    tiny_model(seed=7, hidden_size=16).save_pretrained(folder)
    byte_tokenizer(order=list(range(255, -1, -1))).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("name", ["dpo", "beta_dpo", "s_dpo", "ddo_rm", "dph"])
def test_every_objective_trains_and_logs_its_numbers(base, tmp_path, name):
    rows = [replace(row, scores=tuple(range(len(row.candidates), 0, -1))) for row in MORE]
    train(base, tmp_path, load_objective(name, {}), rows)
    lines = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    steps = [line for line in lines if "loss" in line]
    assert len(steps) == 4
    assert all("reward_accuracy" in line for line in steps)
    assert any(update.up.abs().sum() > 0 for update in read_adapter(tmp_path).values())


def test_references_read_the_text_with_their_own_tokenizer(base, other, tmp_path):
    """One column per reference in the cache, four numbers for the row with two rejected answers of the other model."""
    train(base, tmp_path / "run", load_objective("dpo", {}), references=(Checkpoint(base), Checkpoint(other)))
    cached = json.loads((tmp_path / "run" / REFERENCES).read_text())
    assert sorted(len(sums) for sums in cached.values()) == [2, 2, 3, 3]


def test_the_log_says_what_each_of_several_references_weighs(base, other, tmp_path):
    references = (Checkpoint(base), Checkpoint(other))
    for weighting, allowed in (("uniform", {(0.5, 0.5)}), ("thompson", {(0.0, 1.0), (1.0, 0.0)})):
        folder = tmp_path / weighting
        train(base, folder, load_objective("dpo", {}), mixing=Mixing(weighting=weighting), references=references)
        lines = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
        found = {(line["reference_weight_1"], line["reference_weight_2"]) for line in lines if "loss" in line}
        assert found
        assert found <= allowed


def test_the_start_as_its_only_reference_is_the_default(base, tmp_path):
    for folder, references in (("a", ()), ("b", (Checkpoint(base),)), ("c", (Checkpoint(base), Checkpoint(base)))):
        train(base, tmp_path / folder, load_objective("dpo", {}), references=references)
    first, second, third = (read_adapter(tmp_path / name) for name in "abc")
    for name, update in first.items():
        assert torch.equal(update.up, second[name].up)
        torch.testing.assert_close(update.up, third[name].up, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("weighting", ["discrimination", "sliding_window", "thompson", "adaptive"])
def test_mixtures_train(base, other, tmp_path, weighting):
    mixing = Mixing("geometric", weighting, window=2)
    references = (Checkpoint(base), Checkpoint(other))
    train(base, tmp_path / "run", load_objective("dpo", {}), MORE, mixing, references=references, held_out=ROWS)
    assert mixing.count == 4


def test_weights_from_held_out_rows_need_such_rows(base, other, tmp_path):
    references = (Checkpoint(base), Checkpoint(other))
    with pytest.raises(UserError, match="needs held-out preference rows"):
        train(
            base, tmp_path / "run", load_objective("dpo", {}), MORE, Mixing(weighting="accuracy"), references=references
        )


def test_rewards_come_from_the_alignment_or_the_row_or_are_asked_for():
    scored = replace(ROWS[0], scores=(1.0, 0.0))
    assert rewards_of(scored, {}) == (1.0, 0.0)
    assert rewards_of(scored, {"a": (3.0, 4.0)}) == (3.0, 4.0)
    for row, scores in ((ROWS[0], {}), (ROWS[0], {"a": (1.0,)})):
        with pytest.raises(UserError, match="no reward for each of its 2 answers"):
            rewards_of(row, scores)


def test_without_a_need_for_references_none_are_computed(base, tmp_path):
    rows = [replace(row, scores=tuple(range(len(row.candidates), 0, -1))) for row in MORE]
    train(base, tmp_path, ddo_rm.Objective(), rows)
    assert not (tmp_path / REFERENCES).exists()


def test_accumulated_rows_are_one_big_batch(base, tmp_path, monkeypatch):
    """Four rows in one pass, two passes of two, four of one: the same adapter after three steps."""
    monkeypatch.setenv(DTYPE, "float32")
    found = []
    for passes in (1, 2, 4):
        options = settings(batch_rows=4 // passes, accumulation=passes, epochs=3, warmup=0.0)
        folder = tmp_path / str(passes)
        train_preferences(Checkpoint(base), MORE, Alignment(load_objective("s_dpo", {})), options, 0, folder)
        found.append(read_adapter(folder))
    assert any(update.up.abs().sum() > 0 for update in found[0].values())
    for other in found[1:]:
        for key, update in found[0].items():
            torch.testing.assert_close(other[key].up, update.up, rtol=1e-3, atol=2e-4)


@pytest.mark.parametrize("name", ["dpo", "s_dpo"])
def test_every_row_of_a_step_weighs_the_same_however_the_rows_come(base, tmp_path, monkeypatch, name):
    """Three rows with 1, 1 and 6 rejected answers: passes of 2 and 1 rows are one step, with one log, of 3 rows."""
    monkeypatch.setenv(DTYPE, "float32")
    answers = tuple(f"No {word}." for word in ("cup", "pan", "jar", "mug", "pot", "tin"))
    rows = [replace(row, rejected=answers[:size]) for row, size in zip(MORE, (1, 1, 6), strict=False)]
    logs, weights = [], []
    for batch_rows, passes in ((4, 1), (2, 2)):
        options = settings(batch_rows=batch_rows, accumulation=passes, epochs=3, warmup=0.0)
        folder = tmp_path / str(passes)
        train_preferences(Checkpoint(base), rows, Alignment(load_objective(name, {})), options, 0, folder)
        lines = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
        names = ("loss", "grad_norm", "reward_margin", "reward_accuracy")
        logs.append([[line[each] for each in names] for line in lines if "loss" in line])
        weights.append(read_adapter(folder))
    assert len(logs[0]) == len(logs[1]) == 3
    for whole, parts in zip(*logs, strict=True):
        assert parts == pytest.approx(whole, rel=2e-3, abs=2e-4)
    for key, update in weights[0].items():
        torch.testing.assert_close(weights[1][key].up, update.up, rtol=1e-3, atol=2e-4)


def test_beta_dpo_with_batches_of_one_row_is_refused_before_training(base, tmp_path):
    options = settings(batch_rows=1, accumulation=4)
    with pytest.raises(UserError, match="there is one row in it"):
        train_preferences(Checkpoint(base), MORE, Alignment(load_objective("beta_dpo", {})), options, 0, tmp_path)
    assert not (tmp_path / LOG).exists()


TWO = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from experts.alignment import Alignment, train_preferences
from experts.checkpoint import Checkpoint
from experts.preferences import load_objective
from experts.recipe import Align
from tests.experts.test_alignment import MORE
if __name__ == "__main__":
    base, out, name, batch_rows = sys.argv[1:]
    settings = Align(rank=2, epochs=2, accumulation=1, row_tokens=64, learning_rate=0.01, batch_rows=int(batch_rows))
    train_preferences(Checkpoint(Path(base)), MORE, Alignment(load_objective(name, {})), settings, 0, Path(out))
"""


def launch(script, arguments, num_processes):
    """Run a script in one process, or in several that find each other through the usual variables."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = []
    for rank in range(num_processes):
        world = {
            "RANK": rank,
            "LOCAL_RANK": rank,
            "WORLD_SIZE": num_processes,
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
        }
        variables = {key: str(value) for key, value in world.items()} if num_processes > 1 else {}
        shared = {"PYTHONPATH": ".", "OMP_NUM_THREADS": "1", DTYPE: "float32"}  # bf16 noise would decide who is drawn
        environment = {**os.environ, **variables, **shared}
        processes.append(subprocess.Popen([sys.executable, str(script), *map(str, arguments)], env=environment))
    assert [process.wait(timeout=240) for process in processes] == [0] * num_processes


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dpo", "beta_dpo"])
def test_two_processes_are_one_with_twice_the_batch(base, tmp_path, name):
    script = tmp_path / "train.py"
    script.write_text(TWO)
    launch(script, [base, tmp_path / "one", name, 2], 1)
    launch(script, [base, tmp_path / "two", name, 1], 2)
    one, two = (read_adapter(tmp_path / folder) for folder in ("one", "two"))
    for key, update in one.items():
        torch.testing.assert_close(update.up, two[key].up, rtol=0.05, atol=2e-3)
