"""A published base/instruct pair goes through the same stages and is served; `general` is the instruct model."""

from __future__ import annotations

import json

import pytest
import torch

from domains.errors import UserError
from domains.example import Message
from experts.build import run_build, stage_names
from experts.checkpoint import load, load_base
from experts.generate import generate
from experts.journal import read_record
from router.engine import Engine
from tests.fakes import byte_tokenizer, perturbed, tiny_build, write_model

ASK = (Message("user", "Where does the kettle go?"),)
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A build over a fake base and its perturbed sibling."""
    folder = tmp_path_factory.mktemp("pair")
    build = tiny_build(folder)
    sibling = perturbed(load_base(build.base.base, torch.float32, "sdpa"), 0.02, seed=1)
    write_model(folder / "sibling", sibling, byte_tokenizer())
    build = tiny_build(folder, f"foundation.instruct={folder / 'sibling'}")
    run_build(build, lambda line: None)
    return build


def test_lora_at_scale_one_takes_the_identity_route(pair):
    assert read_record(pair.folder / "residual")["metrics"]["route"] == "identity"
    assert stage_names(pair)[0] == "house/instruct"


def test_the_engine_serves_the_pair(pair):
    """`general` answers as the sibling without any adapter; the conversation expert as its merged checkpoint."""
    engine = Engine(pair.home)
    assert engine.base_digest == json.loads((pair.house_folder / "expert.json").read_text())["base_digest"]
    for name, checkpoint in (("general", pair.instruct), ("toy/conversation", pair.track("conversation"))):
        alone = load(checkpoint, torch.bfloat16, "sdpa")
        with engine.using(name) as model, torch.no_grad():
            ids = torch.tensor([engine.encode(ASK)])
            applied, merged = model(ids).logits.float(), alone(ids).logits.float()
        assert (applied - merged).abs().max() < 0.05 * merged.abs().max()
    with engine.using("general") as model:
        assert generate(model, engine.tokenizer, [ASK], 4)[0].num_tokens <= 4


def test_full_weights_pretraining_takes_the_weights_route_and_says_that_it_is_not_served(pair, tmp_path_factory):
    folder = tmp_path_factory.mktemp("full")
    build = tiny_build(folder, "pretrain.method=full")
    run_build(build, lambda line: None)
    metrics = read_record(build.folder / "residual")["metrics"]
    assert metrics["route"] == "weights"
    assert 0 < metrics["share_changed"] <= 1
    with pytest.raises(UserError, match=r"pretrain.method = lora"):
        Engine(build.home)
