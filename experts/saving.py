"""What was trained, as files: gathered whole from all ranks, written by rank 0, read again and compared.

Sharded training (FSDP2, ZeRO-3) has left adapters empty or with a wrapper's names elsewhere (huggingface/peft#2450,
huggingface/trl#4416). Here only what was trained is gathered, one tensor at a time, and a file that is not what is in
memory fails the stage.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from peft import PeftModel
from safetensors import safe_open
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from experts.checkpoint import WEIGHTS
from experts.logprobs import HEAD
from experts.ranks import rank, wait

WRAPPERS = ("_checkpoint_wrapped_module.", "_orig_mod.")
ADAPTER = (".modules_to_save", ".default")  # PEFT's names around the only adapter's, which its files leave out
NORM_TOLERANCE = 1e-2  # a norm may change by the rounding of what is stored in bf16

Shapes = Mapping[str, tuple[int, ...]]


def trained_shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """The names and shapes of what is trained, without a preference head; to be asked before any wrapping."""
    return {name: tuple(weight.shape) for name, weight in trained(model)}


def trained(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """The trained parameters without a preference head, by their names without wrappers."""
    found = [(plain(name), weight) for name, weight in model.named_parameters() if weight.requires_grad]
    return [(name, weight) for name, weight in found if not name.startswith(HEAD)]


def plain(name: str) -> str:
    """A parameter's name without those of wrappers."""
    for wrapper in WRAPPERS:
        name = name.replace(wrapper, "")
    return name


def whole(weight: Tensor) -> Tensor:
    """All of a parameter of which each rank holds a part; every rank has to ask."""
    if isinstance(weight, DTensor):
        shared: Any = weight.detach()
        full: Tensor = shared.full_tensor()
        return full
    if hasattr(weight, "ds_id"):  # ZeRO-3
        import deepspeed

        with deepspeed.zero.GatheredParameters([weight]):
            return weight.detach().clone()
    return weight.detach()


def head_state(model: nn.Module) -> dict[str, Tensor]:
    """The whole weights of a model's preference head; every rank has to ask."""
    return {name: whole(weight).cpu() for name, weight in getattr(model, HEAD).named_parameters()}


def gathered_weights(model: nn.Module) -> dict[str, Tensor]:
    """What was trained, whole, on rank 0; nothing on the others, which have to call it too."""
    weights = {}
    for name, weight in trained(model):
        tensor = whole(weight)
        if rank() == 0:
            weights[name] = tensor.cpu()
    return weights


def save_trained(model: Any, shapes: Shapes, folder: Path) -> None:
    """Write what was trained (an adapter, or all weights) and its head; every rank has to call it. `shapes`: those
    before training."""
    weights = gathered_weights(model)
    head = head_state(model) if hasattr(model, HEAD) else {}
    if rank() == 0:
        model.save_pretrained(folder, state_dict=weights)
        check_saved(model, weights, shapes, folder)
        if head:
            getattr(model, HEAD).save(folder, head)
    wait()


def check_saved(model: Any, weights: Mapping[str, Tensor], shapes: Shapes, folder: Path) -> None:
    """Refuse files that are not whole: other names, other shapes, or other norms than in memory."""
    found = saved_norms(folder, isinstance(model, PeftModel))
    expected = {stored(name): shape for name, shape in shapes.items()}
    problems = [name for name in expected if name not in found or found[name][0] != expected[name]]
    problems += [name for name in found if name not in expected]
    norms = {stored(name): float(tensor.float().norm()) for name, tensor in weights.items()}
    problems += [name for name in found if name in norms and not close(found[name][1], norms[name])]
    if problems:
        raise RuntimeError(f"What was written to {folder} is not what was trained: {sorted(set(problems))[:5]}")


def stored(name: str) -> str:
    """A parameter's name in PEFT's files."""
    for part in ADAPTER:
        name = name.replace(part, "")
    return name


def close(stored_norm: float, trained_norm: float) -> bool:
    """Whether two norms are the same up to storage, and numbers."""
    return math.isclose(stored_norm, trained_norm, rel_tol=NORM_TOLERANCE, abs_tol=1e-8)


def saved_norms(folder: Path, is_adapter: bool) -> dict[str, tuple[tuple[int, ...], float]]:
    """Shape and norm of every tensor in a folder's files."""
    found = {}
    for path in [folder / WEIGHTS] if is_adapter else sorted(folder.glob("model*.safetensors")):
        with safe_open(path, "pt") as handle:
            for name in handle.keys():  # noqa: SIM118
                tensor: Tensor = handle.get_tensor(name)
                found[name] = (tuple(tensor.shape), float(tensor.float().norm()))
    return found
