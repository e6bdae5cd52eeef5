"""`align.method=full`: preference optimization of all weights; the expert is a model of its own."""

import json
import math

import pytest
import torch

from domains.errors import UserError
from experts.build import run_build
from experts.checkpoint import CONFIG, Checkpoint, load, load_base
from experts.expert import experts_apart, read_expert
from experts.export import base_of, export, find_expert
from experts.recipe import load_recipe
from experts.train import LOG
from router.engine import Engine
from tests.fakes import tiny_build
from ui.cli import main

NAME = "toy/conversation"


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A finished build whose preference stages train all weights."""
    build = tiny_build(tmp_path_factory.mktemp("full"), "align.method=full", "align.learning_rate=0.001")
    run_build(build, lambda line: None)
    return build


def test_the_expert_is_a_model_of_its_own(full):
    folder = full.home / NAME
    names = {path.name for path in folder.iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "expert.json", "README.md", LOG} <= names
    assert not names & {CONFIG, "adapter_model.safetensors", "track", "references.json"}
    assert full.track("conversation") == Checkpoint(folder)
    assert full.track("structured").adapter is not None
    assert read_expert(folder).checkpoint(full.base.base) == Checkpoint(folder)


def test_every_weight_moved_from_the_start_and_the_first_loss_is_ln_2(full):
    start = dict(load(full.dapt_residual, torch.float32, "sdpa").named_parameters())
    trained = dict(load_base(full.home / NAME, torch.float32, "sdpa").named_parameters())
    assert start.keys() == trained.keys()
    assert all((trained[name] - weight).abs().max() > 1e-5 for name, weight in start.items())
    first = json.loads((full.home / NAME / LOG).read_text().splitlines()[0])
    assert first["loss"] == pytest.approx(math.log(2), abs=0.02)


def test_the_second_build_reuses_it(full):
    assert all(record["reused"] for record in run_build(full, lambda line: None))


def test_it_is_exported_as_it_is(full, tmp_path):
    expert = find_expert(full.home, NAME)
    done = export(expert, "safetensors", "f32", tmp_path / "out")
    own = load(expert.checkpoint(base_of(expert)), torch.float32, "sdpa").state_dict()
    written = load_base(done.path, torch.float32, "sdpa").state_dict()
    assert all(torch.equal(written[name], weight) for name, weight in own.items())


def test_one_process_does_not_serve_it_with_the_others_and_the_build_says_so(full, capsys):
    with pytest.raises(UserError, match=r"align.method = lora"):
        Engine(full.home)
    assert experts_apart(full.home) == ["toy/conversation"], "multi_task is an arm, and no expert that is offered"
    given = ["--home", str(full.home), "--recipe", "tiny", "--set", f"foundation.base={full.base.base}"]
    assert main(["build", str(full.domain.folder), *given, *same_settings(full)]) == 0
    assert "No router is fitted: toy/conversation and" in capsys.readouterr().err


def same_settings(build):
    """The build's overrides for the command line."""
    given = ["align.method=full", "align.learning_rate=0.001"]
    stages = ("house", "pretrain", "sft", "sft_after_dapt", "align", "reward_model")
    given += [f"{stage}.{key}" for stage in stages for key in ("row_tokens=128", "max_examples=4")]
    return [part for override in given for part in ("--set", override)]


def test_other_stages_take_no_full_weights():
    for stage in ("house", "sft", "sft_after_dapt", "reward_model"):
        with pytest.raises(UserError, match=rf"{stage}.method = 'full'"):
            load_recipe("tiny", [f"{stage}.method=full"])
