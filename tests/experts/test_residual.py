"""The instruction residual: three routes, the same weights; taken away; vocabularies by string; bad pairs refused."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from domains.errors import UserError
from experts.checkpoint import Checkpoint, load, read_adapter, write_adapter
from experts.recipe import Residual
from experts.residual import Parents, Weights, apply, plan_vocabulary, special_tokens
from experts.stages import residual as stage
from tests.experts.test_checkpoint import NARROW, WIDE, random_adapter
from tests.fakes import byte_tokenizer, perturbed, tiny_model, write_model

SETTINGS = Residual(scale=1.0, require_stop=False)


@dataclass(frozen=True)
class Trio:
    """Base, instruct and domain model as folders of weights, and as models."""

    base: Path
    instruct: Path
    dapt: Path
    models: dict[str, dict[str, torch.Tensor]]


@pytest.fixture(scope="module")
def trio(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trio")
    models = {"base": model, "instruct": perturbed(model, 0.05, 1), "dapt": perturbed(model, 0.05, 2)}
    paths = {name: write_model(folder / name, m, byte_tokenizer()) for name, m in models.items()}
    return Trio(**paths, models={name: dict(m.state_dict()) for name, m in models.items()})


def weights_of(folder):
    return dict(load(Checkpoint(folder), torch.float32, "sdpa").state_dict())


def assert_same(found, expected, tolerance=1e-5):
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, atol=tolerance, rtol=0, msg=lambda text, n=name: f"{n}: {text}")


@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0, 1.5])
def test_every_tensor_is_the_sum(trio, tmp_path, scale):
    summary = apply(Parents(trio.dapt, trio.base, trio.instruct), scale, tmp_path / "out")
    parts = trio.models
    expected = {n: parts["dapt"][n] + scale * (parts["instruct"][n] - parts["base"][n]) for n in parts["base"]}
    assert_same(weights_of(tmp_path / "out"), expected, 1e-6)
    assert summary.num_tensors == len(Weights(trio.base).files)
    assert (summary.num_changed == 0) == (scale == 0.0)


def test_the_negative_scale_takes_it_away(trio, tmp_path):
    apply(Parents(trio.dapt, trio.base, trio.instruct), 1.5, tmp_path / "there")
    apply(Parents(tmp_path / "there", trio.base, trio.instruct), -1.5, tmp_path / "back")
    assert_same(weights_of(tmp_path / "back"), trio.models["dapt"])
    assert not torch.allclose(weights_of(tmp_path / "there")["lm_head.weight"], trio.models["dapt"]["lm_head.weight"])


def test_base_plus_residual_is_the_instruct_model(trio, tmp_path):
    apply(Parents(trio.base, trio.base, trio.instruct), 1.0, tmp_path / "out")
    assert_same(weights_of(tmp_path / "out"), trio.models["instruct"])


@pytest.fixture(scope="module")
def adapters(model, base, tmp_path_factory):
    """Adapter folders of a domain model and an instruct model over the base."""
    folder = tmp_path_factory.mktemp("adapters")
    write_adapter(random_adapter(model, WIDE, 4, 2.0, 3), base, folder / "dapt")
    write_adapter(random_adapter(model, NARROW, 2, 1.0, 4), base, folder / "instruct")
    return folder


def test_three_routes_give_the_same_weights(base, adapters, tmp_path):
    """Adapters: one adapter over the base. Identity: the instruct model as weights, the domain adapter over it.
    Weights: both as weights, streamed."""
    dapt, instruct = Checkpoint(base, adapters / "dapt"), Checkpoint(base, adapters / "instruct")
    instruct_weights = Checkpoint(stage.as_weights(instruct, tmp_path / "instruct"))
    dapt_weights = Checkpoint(stage.as_weights(dapt, tmp_path / "dapt"))
    cases = {
        "adapters": (instruct, dapt),
        "identity": (instruct_weights, dapt),
        "weights": (instruct_weights, dapt_weights),
    }
    found = {}
    for route, (instruct_part, dapt_part) in cases.items():
        metrics = stage.run(Checkpoint(base), instruct_part, dapt_part, SETTINGS, tmp_path / route)
        assert metrics["route"] == route
        assert set(metrics["parents"]) == {"base", "instruct", "dapt"}
        merged = stage.result(route, instruct_part, tmp_path / route)
        found[route] = dict(load(merged, torch.float32, "sdpa").state_dict())
    assert_same(found["identity"], found["weights"])
    assert_same(found["adapters"], found["weights"])
    name = "model.layers.0.self_attn.q_proj.weight"
    assert not torch.allclose(found["weights"][name], weights_of(base)[name])


def test_routes_agree_at_another_scale(base, adapters, tmp_path):
    """Identity does not hold at 1.5: an instruct model of its own goes by weights, also with a domain adapter."""
    settings = Residual(scale=1.5, require_stop=False)
    dapt, instruct = Checkpoint(base, adapters / "dapt"), Checkpoint(base, adapters / "instruct")
    instruct_weights = Checkpoint(stage.as_weights(instruct, tmp_path / "instruct"))
    assert stage.run(Checkpoint(base), instruct, dapt, settings, tmp_path / "a")["route"] == "adapters"
    assert stage.run(Checkpoint(base), instruct_weights, dapt, settings, tmp_path / "w")["route"] == "weights"
    by_adapters = load(stage.result("adapters", instruct, tmp_path / "a"), torch.float32, "sdpa").state_dict()
    by_weights = load(stage.result("weights", instruct_weights, tmp_path / "w"), torch.float32, "sdpa").state_dict()
    assert_same(dict(by_adapters), dict(by_weights))


def test_an_adapter_is_written_into_shards_as_it_is_into_a_loaded_model(model, adapters, tmp_path):
    """The same weights, in the same files; an adapter of a weight that is not stored is refused."""
    base = write_model(tmp_path / "base", model, byte_tokenizer(), "30KB")
    folder = stage.as_weights(Checkpoint(base, adapters / "dapt"), tmp_path / "written")
    assert Weights(folder).files == Weights(base).files
    assert len(Weights(folder).shards()) > 1
    assert {place.dtype for place in Weights(folder).places.values()} == {torch.float32}
    assert_same(weights_of(folder), dict(load(Checkpoint(base, adapters / "dapt"), torch.float32, "sdpa").state_dict()))
    update = next(iter(read_adapter(adapters / "dapt").values()))
    with pytest.raises(UserError, match="'elsewhere.q_proj', which .* does not store"):
        stage.write_with_adapter(Weights(base), {"elsewhere.q_proj": update}, tmp_path)


def test_what_a_merge_did_is_in_the_record_and_told(trio, adapters, tmp_path, capsys):
    """The domain model has an output matrix of its own, the others have not."""
    untied = write_model(tmp_path / "untied", tiny_model(tied=False), byte_tokenizer())
    metrics = stage.run(
        Checkpoint(trio.base), Checkpoint(trio.instruct), Checkpoint(untied), SETTINGS, tmp_path / "out"
    )
    assert metrics["untied"] == ["base", "instruct"]
    assert metrics["skipped"] == []
    assert "model.safetensors: " in capsys.readouterr().err


def test_a_full_domain_model_with_an_instruct_adapter_goes_by_weights(trio, adapters, tmp_path):
    metrics = stage.run(
        Checkpoint(trio.base), Checkpoint(trio.base, adapters / "instruct"), Checkpoint(trio.dapt), SETTINGS, tmp_path
    )
    assert metrics["route"] == "weights"
    (update,) = [u for n, u in read_adapter(adapters / "instruct").items() if n == NARROW[1]]
    expected = trio.models["dapt"][f"{NARROW[1]}.weight"] + update.delta()
    torch.testing.assert_close(weights_of(tmp_path / "weights")[f"{NARROW[1]}.weight"], expected, atol=1e-5, rtol=0)


def test_sharded_input_gives_the_same_and_stays_sharded(trio, model, tmp_path):
    parts = {"base": model, "instruct": perturbed(model, 0.05, 1), "dapt": perturbed(model, 0.05, 2)}
    sizes = {"base": "30KB", "instruct": "5GB", "dapt": "40KB"}
    folders = {n: write_model(tmp_path / n, m, byte_tokenizer(), sizes[n]) for n, m in parts.items()}
    assert len(Weights(folders["dapt"]).shards()) > 1
    summary = apply(Parents(**folders), 1.0, tmp_path / "sharded")
    apply(Parents(trio.dapt, trio.base, trio.instruct), 1.0, tmp_path / "whole")
    assert summary.shards == sorted(Weights(folders["dapt"]).shards())
    assert_same(weights_of(tmp_path / "sharded"), weights_of(tmp_path / "whole"), 0)
    assert not list((tmp_path / "sharded").glob(".*"))


def renumbered(model, order, num_rows, seed):
    """A model whose vocabulary row for byte b is at order.index(b), the two special tokens after the bytes."""
    result = tiny_model(vocab_size=num_rows)
    state = {n: t for n, t in model.state_dict().items() if not n.endswith(("embed_tokens.weight", "lm_head.weight"))}
    result.load_state_dict(state, strict=False)
    rows = model.get_input_embeddings().weight
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        result.get_input_embeddings().weight.copy_(torch.randn(num_rows, rows.shape[1], generator=generator))
        result.get_input_embeddings().weight[: len(order)] = rows[torch.tensor(order)]
        result.get_input_embeddings().weight[256:258] = rows[256:258]
    return result


def test_vocabularies_are_aligned_by_string(trio, model, tmp_path):
    """The instruct model has the bytes in reverse order and a token more: its rows go to their strings, and the new
    token keeps the instruct model's row. With the order undone the result is that of the plain pair."""
    order = list(range(255, -1, -1))
    instruct = renumbered(perturbed(model, 0.05, 1), order, 259, 7)
    folder = write_model(tmp_path / "instruct", instruct, byte_tokenizer(["<|new|>"], order))
    summary = apply(Parents(trio.dapt, trio.base, folder), 1.0, tmp_path / "out")
    apply(Parents(trio.dapt, trio.base, trio.instruct), 1.0, tmp_path / "plain")
    name = "model.embed_tokens.weight"
    found, expected = weights_of(tmp_path / "out")[name], weights_of(tmp_path / "plain")[name]
    assert summary.only_instruct_tokens == ("<|new|>",)
    torch.testing.assert_close(found[:256], expected[order], atol=1e-6, rtol=0)
    torch.testing.assert_close(found[256:258], expected[256:258], atol=1e-6, rtol=0)
    assert torch.equal(found[258], instruct.get_input_embeddings().weight[258])


def test_padded_rows_of_the_instruct_model_keep_its_values(trio, model, tmp_path):
    """Same tokens, the instruct embedding padded from 258 to 264 rows."""
    instruct = renumbered(perturbed(model, 0.05, 1), list(range(256)), 264, 8)
    folder = write_model(tmp_path / "instruct", instruct, byte_tokenizer())
    summary = apply(Parents(trio.dapt, trio.base, folder), 1.0, tmp_path / "out")
    found = weights_of(tmp_path / "out")["model.embed_tokens.weight"]
    assert found.shape[0] == 264
    assert summary.only_instruct_tokens == ()
    torch.testing.assert_close(found[258:], instruct.get_input_embeddings().weight[258:].detach())


def test_plan_by_hand():
    plan = plan_vocabulary({"a": 0, "b": 1}, {"b": 0, "new": 1, "a": 2}, 4)
    assert plan.base_rows.tolist() == [1, -1, 0, 3]
    assert plan.only_instruct == ("new",)
    assert not plan.identical
    assert plan_vocabulary({"a": 0, "b": 1}, {"a": 0, "b": 1}, 3).identical


def test_tokens_that_the_instruct_model_lacks_are_refused(trio, model, tmp_path):
    folder = write_model(tmp_path / "base", model, byte_tokenizer(["<|more|>"]))
    with pytest.raises(UserError, match=r"1 tokens that the instruct model lacks \(such as '<\|more\|>'\)"):
        apply(Parents(trio.dapt, folder, trio.instruct), 1.0, tmp_path / "out")


def test_different_shapes_are_refused(trio, tmp_path):
    folder = write_model(tmp_path / "wide", tiny_model(hidden_size=64), byte_tokenizer())
    with pytest.raises(UserError, match="one architecture"):
        apply(Parents(trio.dapt, trio.base, folder), 1.0, tmp_path / "out")
    with pytest.raises(UserError, match="rows|architecture"):
        apply(Parents(folder, trio.base, trio.instruct), 1.0, tmp_path / "out")


def test_different_tensors_are_refused(trio, tmp_path):
    model = tiny_model()
    model.model.layers = model.model.layers[:1]
    model.config.num_hidden_layers = 1
    model.config.layer_types = None
    folder = write_model(tmp_path / "shallow", model, byte_tokenizer())
    with pytest.raises(UserError, match=r"instruct model .* differ in 9 tensors"):
        apply(Parents(trio.dapt, trio.base, folder), 1.0, tmp_path / "out")


def test_a_folder_without_safetensors_is_refused(trio, tmp_path):
    with pytest.raises(UserError, match="holds no safetensors"):
        apply(Parents(trio.dapt, trio.base, tmp_path), 1.0, tmp_path / "out")


def test_changes_lost_to_rounding_are_counted(model, trio, tmp_path):
    """A residual of 1e-6 on weights that bf16 steps by about 1e-3: in fp32 it arrives, in bf16 it vanishes."""
    import copy

    half = copy.deepcopy(model).to(torch.bfloat16)
    near = perturbed(model, 1e-6, 5)
    folder = write_model(tmp_path / "dapt", half, byte_tokenizer())
    instruct = write_model(tmp_path / "instruct", near, byte_tokenizer())
    parents = Parents(folder, trio.base, instruct)
    exact = apply(parents, 1.0, tmp_path / "fp32")
    rounded = apply(parents, 1.0, tmp_path / "bf16", torch.bfloat16)
    assert exact.num_lost_to_rounding == 0
    assert exact.num_changed > 0.9 * exact.num_weights
    assert rounded.num_lost_to_rounding > 0.9 * rounded.num_weights
    assert rounded.num_changed + rounded.num_lost_to_rounding == exact.num_changed
    assert json.loads((tmp_path / "bf16" / "config.json").read_text())["dtype"] == "bfloat16"


def test_the_result_is_the_instruct_models_configuration(trio, tmp_path):
    apply(Parents(trio.dapt, trio.base, trio.instruct), 1.0, tmp_path / "out")
    for name in ("tokenizer.json", "chat_template.jinja"):
        assert (tmp_path / "out" / name).read_bytes() == (trio.instruct / name).read_bytes()


def test_a_model_that_never_stops_is_refused(base, adapters, tmp_path):
    """The random model does not end an answer within the probe's limit, as the build's record says."""
    dapt, instruct = Checkpoint(base, adapters / "dapt"), Checkpoint(base, adapters / "instruct")
    record = stage.run(Checkpoint(base), instruct, dapt, SETTINGS, tmp_path / "a")
    assert record["probes_stopped"] == "0/4"
    assert record["special_tokens_ok"]
    assert 0 < record["share_of_weights_changed"] < 1
    with pytest.raises(UserError, match="ends by itself in only 0 of 4"):
        stage.run(Checkpoint(base), instruct, dapt, Residual(), tmp_path / "b")


def test_special_tokens_that_do_not_survive_are_named():
    class Broken:
        all_special_tokens = ("<good>", "<bad>")

        def encode(self, text, add_special_tokens):
            return [1] if text == "<good>" else [2, 3]

        def decode(self, ids):
            return "<good>"

    assert list(special_tokens(Broken())) == ["<bad>"]
    assert list(special_tokens(byte_tokenizer())) == []


def test_the_changed_share_by_hand(model, tmp_path):
    """One tensor of the base is another one in the model: its share of all stored numbers. The base is only read, never
    loaded as a model: it has no configuration here. Where no name is the same there is no share."""
    base = write_model(tmp_path / "base", model, byte_tokenizer())
    (base / "config.json").unlink()
    other = perturbed(model, 0.0, 1)
    other.get_parameter(f"{NARROW[1]}.weight").data.add_(1)
    stored = [place.num_weights for place in Weights(base).places.values()]
    expected = other.get_parameter(f"{NARROW[1]}.weight").numel() / sum(stored)
    assert 0 < expected < 0.5
    assert stage.changed_share(other, Checkpoint(base)) == round(expected, 4)
    assert stage.changed_share(model, Checkpoint(base)) == 0.0
    assert stage.changed_share(torch.nn.Linear(2, 2), Checkpoint(base)) is None
