"""A model whose linear layers are int8 (torch.ao, dynamic: one scale a matrix, activations quantized as they come), in
a file of its own: int8 matrices with their scales, and everything else as it was. A process that loads it never holds
the larger model, so size and memory are those of this form.
"""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

WEIGHTS, NAMES = "int8.safetensors", "int8.json"
SCALE, BIAS = ".int8_scale", ".int8_bias"


def quantized(model: Any) -> Any:
    """The model with int8 linear layers; its embeddings stay as they are."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)


def save_int8(source: Path, folder: Path) -> Path:
    """Write the int8 form of a folder of safetensors."""
    from experts.checkpoint import load_base

    model = quantized(load_base(source, torch.float32, "sdpa").eval())
    folder.mkdir(parents=True)
    for path in source.iterdir():
        if path.is_file() and path.suffix != ".safetensors":
            shutil.copy(path, folder / path.name)
    found, names = dict(plain_tensors(model)), []
    for name, module in model.named_modules():
        if is_int8(module):
            names.append(name)
            found |= matrix_tensors(name, module)
    save_file({name: tensor.contiguous().clone() for name, tensor in found.items()}, folder / WEIGHTS)
    (folder / NAMES).write_text(json.dumps(names))
    return folder


def is_int8(module: nn.Module) -> bool:
    """Whether it is a linear layer in int8."""
    return isinstance(module, torch.ao.nn.quantized.dynamic.Linear)


def plain_tensors(model: Any) -> dict[str, Tensor]:
    """Parameters in bf16, which is what they were made of, and buffers."""
    parameters = {name: tensor.detach().to(torch.bfloat16) for name, tensor in model.named_parameters()}
    return parameters | dict(model.named_buffers())


def matrix_tensors(name: str, module: Any) -> dict[str, Tensor]:
    """An int8 layer as tensors."""
    weight, bias = module.weight(), module.bias()
    found = {name: weight.int_repr(), name + SCALE: torch.tensor(weight.q_scale(), dtype=torch.float64)}
    return found | ({name + BIAS: bias.detach()} if bias is not None else {})


def load_int8(folder: Path) -> Any:
    """The model of such a folder; its layers are made without ever being full."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder), dtype=torch.float32)
    tensors = load_file(folder / WEIGHTS)
    for name in json.loads((folder / NAMES).read_text()):
        set_part(model, name, matrix(tensors, name))
    for name, _ in list(model.named_parameters()):
        set_part(model, name, nn.Parameter(tensors[name].float(), requires_grad=False))
    for name, _ in list(model.named_buffers()):
        set_part(model, name, tensors[name])
    return model.eval()


def matrix(tensors: dict[str, Tensor], name: str) -> nn.Module:
    """An int8 layer from its tensors."""
    numbers, scale = tensors.pop(name), float(tensors[name + SCALE])
    layer = torch.ao.nn.quantized.dynamic.Linear(numbers.shape[1], numbers.shape[0])
    weight = torch._make_per_tensor_quantized_tensor(numbers, scale, 0)
    layer.set_weight_bias(weight, tensors.get(name + BIAS))
    return layer


def set_part(model: Any, name: str, part: Any) -> None:
    """Put a module, parameter or buffer in its place."""
    owner, _, last = name.rpartition(".")
    setattr(model.get_submodule(owner), last, part)
