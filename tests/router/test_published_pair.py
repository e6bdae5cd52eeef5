"""A published base/instruct pair goes through the same stages and is served; `general` is the instruct model."""

from __future__ import annotations

import json

import pytest
import torch

from domains.errors import UserError
from domains.example import Message
from experts.build import Build, run_build, stage_names
from experts.checkpoint import load, load_base, load_tokenizer
from experts.encoding import template_digest
from experts.expert import read_expert
from experts.foundation import understands
from experts.generate import generate
from experts.journal import read_record
from experts.measure import Bench
from router.engine import Engine
from tests.fakes import END, START, byte_tokenizer, perturbed, tiny_build, write_model

ASK = (Message("user", "Where does the kettle go?"),)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning"),
]


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


@pytest.mark.slow
def test_full_weights_pretraining_takes_the_weights_route_and_says_that_it_is_not_served(pair, tmp_path_factory):
    folder = tmp_path_factory.mktemp("full")
    build = tiny_build(folder, "pretrain.method=full")
    run_build(build, lambda line: None)
    metrics = read_record(build.folder / "residual")["metrics"]
    assert metrics["route"] == "weights"
    assert 0 < metrics["share_changed"] <= 1
    with pytest.raises(UserError, match=r"pretrain.method = lora"):
        Engine(build.home)


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A build over a pair like those on a hub: the base has no chat template and ends texts with another token."""
    folder = tmp_path_factory.mktemp("bare")
    build = tiny_build(folder)
    model, tokenizer = load_base(build.base.base, torch.float32, "sdpa"), byte_tokenizer()
    write_model(folder / "sibling", perturbed(model, 0.02, seed=1), tokenizer)
    tokenizer.chat_template, tokenizer.eos_token, tokenizer.pad_token = None, START, START
    for old in build.base.base.glob("*template*"):
        old.unlink()
    tokenizer.save_pretrained(build.base.base)
    build = tiny_build(folder, f"foundation.instruct={folder / 'sibling'}")
    run_build(build, lambda line: None)
    return build


def test_the_base_of_the_pair_has_no_template_and_another_end(bare):
    tokenizer = load_tokenizer(bare.base.base)
    assert (tokenizer.chat_template, tokenizer.eos_token) == (None, START)


def test_every_model_of_the_pair_speaks_as_the_instruct_model(bare):
    wanted = template_digest(load_tokenizer(bare.instruct.base))
    for name, checkpoint in bare.arms().items():
        tokenizer = load_tokenizer(checkpoint.tokenizer_folder)
        assert (template_digest(tokenizer), tokenizer.eos_token) == (wanted, END), name
    expert = read_expert(bare.folder / "sft_after_dapt")
    assert expert.template == wanted
    assert load_tokenizer(expert.folder).eos_token == END


@pytest.mark.parametrize("arm", ["foundation", "dapt", "sft_after_dapt"])
def test_the_models_over_the_base_are_measured(bare, tmp_path, arm):
    """On preferences, on answers, and on plain text, which ends with the base's own token."""
    subject = Bench.open(tmp_path, bare.recipe.evaluation).subject(bare.arms()[arm])
    rows = bare.domain.preferences("train")[:2]
    assert set(subject.preference_logprobs(rows)) == {row.id for row in rows}
    assert len(subject.answers(bare.domain.examples("questions", "test")[:1])) == 1
    assert subject.document_nll(arm, bare.domain, "test")
    assert subject.local.text_tokenizer.eos_token == START


def test_a_base_that_cannot_read_the_instruct_tokens_needs_a_template_of_its_own(bare, tmp_path):
    folder = tmp_path / "other"
    model = load_base(bare.instruct.base, torch.float32, "sdpa")
    write_model(folder, model, byte_tokenizer(order=[*range(1, 256), 0]))
    assert understands(bare.base.base, bare.instruct.base)
    assert not understands(bare.base.base, folder)
    recipe = bare.recipe.model_copy(
        update={"foundation": bare.recipe.foundation.model_copy(update={"instruct": str(folder)})}
    )
    with pytest.raises(UserError, match="no chat template and cannot read the tokens"):
        _ = Build(bare.domain, recipe, tmp_path).base
    byte_tokenizer().save_pretrained(bare.base.base)
    assert Build(bare.domain, recipe, tmp_path).base.tokenizer is None
