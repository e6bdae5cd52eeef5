"""The instruction residual as a stage: the route, the result as a checkpoint, and the checks after the merge.

Three routes give the same weights. `adapters`: the instruct model is an adapter over the base, so the sum is one
adapter. `identity`: the domain pretraining is LoRA and the scale is 1, so the sum is the instruct model with the
base-trained adapter. `weights`: any other pair, streamed tensor by tensor.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch

from domains.errors import UserError
from domains.example import Message
from experts import residual
from experts.checkpoint import Checkpoint, LowRank, added, compose, load, load_tokenizer, read_adapter, write_adapter
from experts.device import probe
from experts.encoding import render_prompt, template_digest
from experts.generate import generate
from experts.journal import discard
from experts.recipe import Residual
from experts.weight_files import INDEX, Wanted, new_shard

Route = Literal["adapters", "identity", "weights"]
PROBE_TOKENS = 160


def route_of(base: Checkpoint, instruct: Checkpoint, dapt: Checkpoint, scale: float) -> Route:
    """The cheapest exact route."""
    if instruct.base == base.base and dapt.adapter is not None:
        return "adapters"
    return "identity" if dapt.adapter is not None and scale == 1.0 else "weights"


def run(base: Checkpoint, instruct: Checkpoint, dapt: Checkpoint, settings: Residual, folder: Path) -> dict[str, Any]:
    """Add the residual, write the result to `folder`, check it; a failed check fails the stage."""
    route = route_of(base, instruct, dapt, settings.scale)
    metrics: dict[str, Any] = {"route": route, "scale": settings.scale}
    if route == "weights":
        metrics |= merge_weights(base, instruct, dapt, settings, folder)
    else:
        parts = [(read_adapter(dapt.adapter), 1.0)] if dapt.adapter else []
        if route == "adapters" and instruct.adapter is not None:
            parts.append((read_adapter(instruct.adapter), settings.scale))
        write_adapter(compose(parts), instruct.base, folder)
    metrics["parents"] = {"base": base.digest(), "instruct": instruct.digest(), "dapt": dapt.digest()}
    return metrics | verify(result(route, instruct, folder), base, settings.require_stop)


def result(route: Route, instruct: Checkpoint, folder: Path) -> Checkpoint:
    """The stage's output as a checkpoint."""
    return Checkpoint(folder / "weights") if route == "weights" else Checkpoint(instruct.base, folder)


def merge_weights(
    base: Checkpoint, instruct: Checkpoint, dapt: Checkpoint, settings: Residual, folder: Path
) -> dict[str, Any]:
    """The streamed route; adapters are written out as weights first."""
    parents = residual.Parents(
        dapt=as_weights(dapt, folder / "dapt"), base=base.base, instruct=as_weights(instruct, folder / "instruct")
    )
    summary = residual.apply(parents, settings.scale, folder / "weights", getattr(torch, settings.dtype), tell)
    for written in ("dapt", "instruct"):
        discard(folder / written)
    return {
        "tensors": summary.num_tensors,
        "share_changed": round(summary.num_changed / max(summary.num_weights, 1), 4),
        "share_lost_to_rounding": round(summary.num_lost_to_rounding / max(summary.num_weights, 1), 4),
        "only_instruct_tokens": list(summary.only_instruct_tokens),
        "untied": list(summary.untied),
        "skipped": list(summary.skipped),
    }


def tell(text: str) -> None:
    """Say what is written: a large model takes a while."""
    print(text, file=sys.stderr, flush=True)


def as_weights(checkpoint: Checkpoint, folder: Path) -> Path:
    """A folder of plain fp32 weights for a checkpoint; a checkpoint without an adapter is one already. It is there as a
    whole or not at all, so that an interrupted merge goes on with it."""
    if checkpoint.adapter is None:
        return checkpoint.base
    if not folder.exists():
        partial = folder.with_name(f".{folder.name}-partial")
        discard(partial)
        partial.mkdir(parents=True)
        write_with_adapter(residual.Weights(checkpoint.base), read_adapter(checkpoint.adapter), partial)
        load_tokenizer(checkpoint.base).save_pretrained(partial)
        partial.rename(folder)
    return folder


def write_with_adapter(weights: residual.Weights, updates: Mapping[str, LowRank], folder: Path) -> None:
    """A model with an adapter added, in fp32, file by file as it is stored; one tensor is in memory at a time."""
    missing = sorted(name for name in updates if f"{name}.weight" not in weights.places)
    if missing:
        raise UserError(
            f"The adapter changes '{missing[0]}', which {weights.folder} does not store under this name. "
            "Use residual.scale = 1, or an instruct model that is an adapter over the base."
        )
    for file, names in weights.shards().items():
        wanted = {name: Wanted(weights.places[name].shape, torch.float32) for name in names}
        with new_shard(folder / file, wanted, 0) as shard:
            for name in names:
                tensor, update = weights.tensor(name).float(), updates.get(name.removesuffix(".weight"))
                shard.write(name, 0, tensor if update is None else added(name, tensor, update))
            shard.finish("")
    for name in ("config.json", INDEX):
        if (weights.folder / name).is_file():
            shutil.copy(weights.folder / name, folder / name)


def verify(merged: Checkpoint, base: Checkpoint, require_stop: bool = True) -> dict[str, Any]:
    """Checks on a merged model: template, special tokens, stopping, and the share of weights that differ from base."""
    tokenizer, device = load_tokenizer(merged.base), probe()
    rendered = render_prompt(tokenizer, [Message("user", "Hello")])
    broken = list(residual.special_tokens(tokenizer))
    if "Hello" not in rendered or broken:
        raise UserError(
            f"The merged tokenizer does not work (template: {rendered!r}; broken special tokens: {broken})."
        )
    model = load(merged, device.dtype, device.score_attention).to(device.name)
    prompts = [[Message("user", text)] for text in residual.probe_prompts()]
    answers = generate(model, tokenizer, prompts, PROBE_TOKENS)
    stopped = sum(answer.finished for answer in answers)
    if require_stop and 2 * stopped <= len(answers):
        raise UserError(
            f"The merged model ends by itself in only {stopped} of {len(answers)} answers on the probe "
            "questions. Raise residual.scale or train the instruct model "
            "longer; a base model without an instruct sibling cannot be merged."
        )
    return {
        "template": template_digest(tokenizer),
        "special_tokens_ok": True,
        "probes_stopped": f"{stopped}/{len(answers)}",
        "share_of_weights_changed": changed_share(model, base),
    }


def changed_share(model: Any, base: Checkpoint) -> float | None:
    """The share of the weights that differ from the base model's, of those that it stores under the same name; None
    without any. The base is read tensor by tensor, so that one model is in memory and not two."""
    original = residual.Weights(base.base)
    changed = total = 0
    for name, tensor in model.state_dict().items():
        if name in original.places and original.places[name].shape == tuple(tensor.shape):
            changed += int((tensor.cpu() != original.tensor(name).to(tensor.dtype)).sum())
            total += tensor.numel()
    return round(changed / total, 4) if total else None
