"""What is written is what was trained: whole files pass, and each kind of broken one is seen."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from experts.checkpoint import WEIGHTS, Checkpoint, read_adapter
from experts.recipe import Align, Sft
from experts.saving import check_saved, gathered_weights, plain, save_trained, trained_shapes
from experts.train import prepare

METHODS = ("lora", "full")
SETTINGS = {"lora": Sft(rank=2), "full": Align(method="full")}


@pytest.fixture(params=METHODS)
def ready(request, base):
    """A model that is trained, its second factors moved from 0 as a training would."""
    made = prepare(Checkpoint(base), SETTINGS[request.param], seed=0)
    with torch.no_grad():
        for name, weight in made.model.named_parameters():
            if "lora_B" in name:
                weight.fill_(0.01)
    return made


def file_in(folder):
    return next(path for path in (folder / WEIGHTS, folder / "model.safetensors") if path.exists())


def test_what_was_trained_is_read_again(ready, tmp_path):
    save_trained(ready.model, ready.shapes, tmp_path)
    found = load_file(file_in(tmp_path))
    assert len(found) == len(ready.shapes)
    expected = {name.replace(".default", ""): w for name, w in gathered_weights(ready.model).items()}
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)


def test_an_adapter_has_two_factors_of_every_layer_and_no_wrapper_in_a_name(base, tmp_path):
    """Two blocks of seven linear layers."""
    made = prepare(Checkpoint(base), SETTINGS["lora"], seed=0)
    save_trained(made.model, made.shapes, tmp_path)
    assert len(read_adapter(tmp_path)) == 14
    assert not any("_fsdp" in name or "module." in name for name in load_file(tmp_path / WEIGHTS))


@pytest.mark.parametrize("fault", ["missing", "renamed", "empty", "zeroed", "cut"])
def test_a_broken_file_is_seen(ready, tmp_path, fault):
    save_trained(ready.model, ready.shapes, tmp_path)
    weights, file = gathered_weights(ready.model), file_in(tmp_path)
    check_saved(ready.model, weights, ready.shapes, tmp_path)
    tensors = load_file(file)
    name = sorted(tensors)[-1]
    broken = {
        "missing": {},
        "renamed": {f"_fsdp_wrapped_module.{name}": tensors[name]},
        "empty": {name: torch.zeros(0)},
        "zeroed": {name: torch.zeros_like(tensors[name])},
        "cut": {name: tensors[name][:1].clone()},
    }[fault]
    save_file({key: value for key, value in tensors.items() if key != name} | broken, file)
    with pytest.raises(RuntimeError, match="is not what was trained"):
        check_saved(ready.model, weights, ready.shapes, tmp_path)


def test_names_of_wrappers_are_taken_off():
    assert plain("model._checkpoint_wrapped_module.layers.0._orig_mod.up.weight") == "model.layers.0.up.weight"


def test_a_frozen_base_is_not_among_what_is_trained(base):
    made = prepare(Checkpoint(base), SETTINGS["lora"], seed=0)
    assert all("lora_" in name for name in trained_shapes(made.model))
    assert len(made.shapes) == 28
