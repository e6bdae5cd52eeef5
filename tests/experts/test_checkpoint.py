"""Adapters compose exactly, and PEFT reads what we write."""

import json
import shutil
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from domains.errors import UserError
from experts.checkpoint import (
    Checkpoint,
    LowRank,
    add_adapter,
    compose,
    load,
    load_base,
    load_tokenizer,
    read_adapter,
    write_adapter,
)
from experts.recipe import Training
from experts.train import prepare
from tests.fakes import tiny_model

WIDE = ("model.layers.0.self_attn.q_proj", "model.layers.1.mlp.down_proj", "model.layers.1.self_attn.v_proj")
NARROW = ("model.layers.1.self_attn.v_proj", "model.layers.0.mlp.gate_proj")


def random_adapter(model, names, rank, scaling, seed):
    """Random factors for some modules."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {name: model.get_parameter(f"{name}.weight").shape for name in names}
    return {
        name: LowRank(
            torch.randn(rank, shape[1], generator=generator) / 8,
            torch.randn(shape[0], rank, generator=generator) / 8,
            scaling,
        )
        for name, shape in shapes.items()
    }


@pytest.fixture(scope="module")
def adapters(model):
    return random_adapter(model, WIDE, 4, 2.0, 1), random_adapter(model, NARROW, 2, 0.5, 2)


def test_a_composition_is_the_sum_of_deltas(adapters):
    """Different ranks and modules: 4 + 2 = 6 for the shared module, zeros up to 6 elsewhere."""
    first, second = adapters
    total = compose([(first, 1.0), (second, -1.5)])
    assert set(total) == {*WIDE, *NARROW}
    for name, update in total.items():
        parts = [(first, 1.0), (second, -1.5)]
        expected = sum(scale * part[name].delta() for part, scale in parts if name in part)
        torch.testing.assert_close(update.delta(), expected, atol=1e-5, rtol=1e-5)
        assert update.down.shape[0] == 6


def test_scale_zero_takes_an_adapter_away(adapters):
    first, second = adapters
    total = compose([(first, 1.0), (second, 0.0)])
    torch.testing.assert_close(total[WIDE[0]].delta(), first[WIDE[0]].delta())
    assert not total[NARROW[1]].delta().any()


def test_composing_nothing_is_nothing_and_is_not_written(base, tmp_path):
    assert compose([]) == {}
    with pytest.raises(UserError, match="without any weights"):
        write_adapter({}, base, tmp_path)


def test_written_and_read_back(base, adapters, tmp_path):
    write_adapter(adapters[0], base, tmp_path)
    for name, update in read_adapter(tmp_path).items():
        torch.testing.assert_close(update.delta(), adapters[0][name].delta())


def test_peft_gives_the_logits_of_our_merge(base, adapters, tmp_path):
    from peft import PeftModel

    write_adapter(compose([(adapters[0], 1.0), (adapters[1], 1.0)]), base, tmp_path)
    ids = torch.arange(40).unsqueeze(0)
    merged = load(Checkpoint(base, tmp_path), torch.float32, "sdpa")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        applied = PeftModel.from_pretrained(load_base(base, torch.float32, "sdpa"), tmp_path).eval()
    with torch.no_grad():
        plain = load_base(base, torch.float32, "sdpa")(input_ids=ids).logits
        torch.testing.assert_close(applied(input_ids=ids).logits, merged(input_ids=ids).logits, atol=1e-4, rtol=1e-4)
        assert (plain - merged(input_ids=ids).logits).abs().max() > 0.1


def test_adding_changes_the_weights_by_the_delta(base, adapters):
    before, after = load_base(base, torch.float32, "sdpa"), load_base(base, torch.float32, "sdpa")
    add_adapter(after, adapters[1])
    for name, weight in after.named_parameters():
        update = adapters[1].get(name.removesuffix(".weight"))
        expected = before.get_parameter(name) + (update.delta() if update else 0)
        assert torch.equal(weight, expected)


def test_an_adapter_of_another_model_is_refused(adapters):
    with pytest.raises(UserError, match=r"as 32 x 32, but the model has 64 x 64 there"):
        add_adapter(tiny_model(hidden_size=64), {WIDE[0]: adapters[0][WIDE[0]]})


def test_threads_that_load_and_make_models_at_once_get_whole_ones(base):
    """transformers leaves models of two threads without numbers, or makes the factors of one of them so."""
    settings = Training(rank=2)

    def loaded(place):
        model = load_base(base, torch.float32, "sdpa") if place % 2 else prepare(Checkpoint(base), settings, 0).model
        return all(not weight.is_meta and weight.isfinite().all() for weight in model.parameters())

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(loaded, range(40)))


def test_the_digest_follows_the_chat_template(base, tmp_path):
    other = Path(shutil.copytree(base, tmp_path / "other"))
    assert Checkpoint(other).digest() == Checkpoint(base).digest()
    tokenizer = load_tokenizer(other)
    tokenizer.chat_template += "{{ 'more' }}"
    tokenizer.save_pretrained(other)
    assert Checkpoint(other).digest() != Checkpoint(base).digest()


def test_the_digest_follows_the_weights(base, adapters, tmp_path):
    write_adapter(adapters[0], base, tmp_path / "a")
    write_adapter(adapters[1], base, tmp_path / "b")
    digests = {Checkpoint(base, folder).digest() for folder in (None, tmp_path / "a", tmp_path / "b")}
    assert len(digests) == 3


def test_half_an_adapter_is_refused(base, adapters, tmp_path):
    write_adapter(adapters[0], base, tmp_path)
    (tmp_path / "adapter_model.safetensors").unlink()
    with pytest.raises(UserError, match="not an adapter"):
        read_adapter(tmp_path)
    with pytest.raises(UserError, match=r"adapter_config.json is missing"):
        read_adapter(base)


def test_a_model_that_brings_code_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", "auto_map": {"AutoModel": "x.Y"}}))
    with pytest.raises(UserError, match="auto_map"):
        load_base(tmp_path, torch.float32, "sdpa")


def test_the_tokenizer_pads_on_the_left(base):
    tokenizer = load_tokenizer(base)
    assert (tokenizer.padding_side, tokenizer.pad_token_id) == ("left", tokenizer.eos_token_id)
