"""The instruction residual: `expert = dapt + scale * (instruct - base)`, tensor by tensor.

Jindal et al. 2024, arXiv 2410.10739. Arithmetic in fp32; peak memory is about one shard of the output. Vocabulary
rows are aligned by token string, never by id. Applying it again with the negative scale takes it away.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from domains.errors import UserError

VOCABULARY_TENSORS = ("embed_tokens.weight", "lm_head.weight", "wte.weight")
INDEX = "model.safetensors.index.json"


@dataclass(frozen=True)
class Parents:
    """The three models of the sum, as folders of safetensors."""

    dapt: Path
    base: Path
    instruct: Path


@dataclass(frozen=True)
class VocabularyPlan:
    """For each row of the instruct vocabulary its row in the base (-1: the instruct model alone has the token)."""

    base_rows: Tensor
    only_instruct: tuple[str, ...] = ()

    @property
    def identical(self) -> bool:
        """Every row lines up."""
        return not self.only_instruct and bool((self.base_rows == torch.arange(len(self.base_rows))).all())


@dataclass
class MergeSummary:
    """What a merge did."""

    num_tensors: int = 0
    num_weights: int = 0
    num_changed: int = 0
    num_lost_to_rounding: int = 0
    only_instruct_tokens: tuple[str, ...] = ()
    shards: list[str] = field(default_factory=list)

    def count(self, exact: Tensor, stored: Tensor, before: Tensor) -> None:
        """Add one tensor: how many weights changed, and how many changes vanished when stored."""
        moved, kept = exact != before.float(), stored.float() != before.float()
        self.num_tensors += 1
        self.num_weights += exact.numel()
        self.num_changed += int(kept.sum())
        self.num_lost_to_rounding += int((moved & ~kept).sum())


class Weights:
    """Lazy reader of a safetensors model: one file, or shards with an index."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        index = folder / INDEX
        if index.is_file():
            self.files: dict[str, str] = json.loads(index.read_text())["weight_map"]
        elif (folder / "model.safetensors").is_file():
            with safe_open(folder / "model.safetensors", "pt") as handle:
                self.files = {name: "model.safetensors" for name in handle.keys()}  # noqa: SIM118
        else:
            raise UserError(f"{folder} holds no safetensors weights. Convert the model with save_pretrained first.")

    def tensor(self, name: str) -> Tensor:
        """Read one tensor."""
        with safe_open(self.folder / self.files[name], "pt") as handle:
            result: Tensor = handle.get_tensor(name)
        return result

    def shards(self) -> dict[str, list[str]]:
        """Tensor names by file."""
        found: dict[str, list[str]] = {}
        for name, file in sorted(self.files.items()):
            found.setdefault(file, []).append(name)
        return found


def vocabulary(folder: Path) -> dict[str, int]:
    """Token string to id."""
    from transformers import AutoTokenizer

    return dict(AutoTokenizer.from_pretrained(folder).get_vocab())


def plan_vocabulary(base: Mapping[str, int], instruct: Mapping[str, int], num_rows: int) -> VocabularyPlan:
    """Align by token string. Rows beyond the vocabulary (padding) keep their place."""
    missing = sorted(base.keys() - instruct.keys())
    if missing:
        raise UserError(
            f"The base model has {len(missing)} tokens that the instruct model lacks (such as {missing[0]!r}), so "
            "their residual is unknown. Use a base/instruct pair with the same tokenizer."
        )
    rows = torch.arange(num_rows)
    only = []
    for token, instruct_id in instruct.items():
        if instruct_id < num_rows:
            rows[instruct_id] = base.get(token, -1)
            if token not in base:
                only.append(token)
    return VocabularyPlan(rows, tuple(sorted(only)))


def check_same_tensors(dapt: Weights, base: Weights, instruct: Weights) -> None:
    """Refuse models that are not the same architecture."""
    for name, other in (("base", base), ("instruct", instruct)):
        difference = sorted(dapt.files.keys() ^ other.files.keys())
        if difference:
            raise UserError(
                f"The {name} model and the domain-pretrained model differ in {len(difference)} tensors (such as "
                f"'{difference[0]}'). All three must be one architecture with the same tied embeddings."
            )


def merged_tensor(
    name: str, dapt: Tensor, base: Tensor, instruct: Tensor, plan: VocabularyPlan, scale: float
) -> Tensor:
    """One tensor of the sum, fp32."""
    if name.endswith(VOCABULARY_TENSORS) and not (plan.identical and dapt.shape == instruct.shape):
        return merged_rows(name, dapt, base, instruct, plan, scale)
    if not dapt.shape == base.shape == instruct.shape:
        raise different_shapes(name, dapt, base, instruct)
    return dapt.float() + scale * (instruct.float() - base.float())


def different_shapes(name: str, dapt: Tensor, base: Tensor, instruct: Tensor) -> UserError:
    """What to say about models of different sizes."""
    shapes = ", ".join(str(tuple(tensor.shape)) for tensor in (dapt, base, instruct))
    return UserError(
        f"Tensor '{name}' has shapes {shapes} in the domain, base and instruct model. "
        "The residual needs one architecture."
    )


def merged_rows(name: str, dapt: Tensor, base: Tensor, instruct: Tensor, plan: VocabularyPlan, scale: float) -> Tensor:
    """A vocabulary tensor in the instruct model's row order; tokens of the instruct model alone keep its rows."""
    rows = plan.base_rows[: instruct.shape[0]]
    known = (rows >= 0) & (rows < base.shape[0])
    if dapt.shape != base.shape:
        raise UserError(
            f"'{name}' has {dapt.shape[0]} rows in the domain model and {base.shape[0]} in the base model. "
            "Pretrain without changing the vocabulary."
        )
    if dapt.shape[1:] != instruct.shape[1:]:
        raise different_shapes(name, dapt, base, instruct)
    result = instruct.float().clone()
    picked = rows[known]
    result[known] = dapt[picked].float() + scale * (instruct[known].float() - base[picked].float())
    return result


def apply(parents: Parents, scale: float, target: Path, dtype: torch.dtype = torch.float32) -> MergeSummary:
    """Write `dapt + scale * (instruct - base)` to a folder, shard by shard, each by atomic rename."""
    dapt, base, instruct = Weights(parents.dapt), Weights(parents.base), Weights(parents.instruct)
    check_same_tensors(dapt, base, instruct)
    num_rows = next((instruct.tensor(name).shape[0] for name in instruct.files if name.endswith(VOCABULARY_TENSORS)), 0)
    plan = plan_vocabulary(vocabulary(parents.base), vocabulary(parents.instruct), num_rows)
    summary = MergeSummary(only_instruct_tokens=plan.only_instruct)
    target.mkdir(parents=True, exist_ok=True)
    for file, names in dapt.shards().items():
        shard: dict[str, Tensor] = {}
        for name in names:
            before = dapt.tensor(name)
            exact = merged_tensor(name, before, base.tensor(name), instruct.tensor(name), plan, scale)
            shard[name] = exact.to(dtype).contiguous()
            if exact.shape == before.shape:
                summary.count(exact, shard[name], before)
        save_file(shard, target / f".{file}.partial", metadata={"format": "pt"})
        (target / f".{file}.partial").replace(target / file)
        summary.shards.append(file)
    copy_configuration(parents, target, dtype)
    return summary


def copy_configuration(parents: Parents, target: Path, dtype: torch.dtype) -> None:
    """The instruct model's configuration, tokenizer and template; the domain model's shard index."""
    for path in sorted(parents.instruct.iterdir()):
        if path.suffix in {".json", ".jinja", ".model", ".txt"} and path.name != INDEX:
            shutil.copy(path, target / path.name)
    config = json.loads((target / "config.json").read_text())
    config["dtype"] = str(dtype).removeprefix("torch.")
    (target / "config.json").write_text(json.dumps(config, indent=2))
    if (parents.dapt / INDEX).is_file():
        shutil.copy(parents.dapt / INDEX, target / INDEX)


def probe_prompts() -> Sequence[str]:
    """Short questions for the after-merge check that generation stops."""
    return ("Name one fruit.", "What color is the sky on a clear day?", "Say hello.", "How many days are in a week?")


def special_tokens(tokenizer: Any) -> Iterator[str]:
    """Special tokens that do not survive encoding and decoding: there should be none."""
    for token in sorted(set(getattr(tokenizer, "all_special_tokens", []))):
        ids = tokenizer.encode(token, add_special_tokens=False)
        if len(ids) != 1 or tokenizer.decode(ids) != token:
            yield token
