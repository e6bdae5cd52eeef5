"""Vocabulary rows aligned by token string, never by id."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from domains.errors import UserError

VOCABULARY_TENSORS = ("embed_tokens.weight", "lm_head.weight", "wte.weight")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")


@dataclass(frozen=True)
class VocabularyPlan:
    """For each row of the instruct vocabulary its row in the base (-1: the instruct model alone has the token)."""

    base_rows: Tensor
    only_instruct: tuple[str, ...] = ()

    @property
    def identical(self) -> bool:
        """Every row lines up."""
        return not self.only_instruct and bool((self.base_rows == torch.arange(len(self.base_rows))).all())


def has_tokenizer(folder: Path) -> bool:
    """Whether there is a vocabulary to read."""
    return any((folder / name).is_file() for name in TOKENIZER_FILES)


def vocabulary(folder: Path) -> dict[str, int]:
    """Token string to id."""
    from transformers import AutoTokenizer

    if not has_tokenizer(folder):
        raise UserError(
            f"{folder} has no tokenizer, so its vocabulary rows cannot be told apart. Save the tokenizer there."
        )
    return dict(AutoTokenizer.from_pretrained(folder).get_vocab())


def same_vocabulary(first: Path, second: Path) -> bool:
    """Whether two folders have the same tokenizer for sure, by their files; saves reading both vocabularies."""
    mine, other = identity(first), identity(second)
    return mine is not None and mine == other


def identity(folder: Path) -> list[Any] | None:
    """All that decides token ids; None where that is not a `tokenizer.json`."""
    if not (folder / "tokenizer.json").is_file():
        return None
    added, settings = folder / "added_tokens.json", folder / "tokenizer_config.json"
    config = json.loads(settings.read_text(encoding="utf-8")) if settings.is_file() else {}
    return [
        (folder / "tokenizer.json").read_bytes(),
        added.read_bytes() if added.is_file() else b"",
        {name: value for name, value in config.items() if "token" in name},
    ]


def plan_for(role: str, folder: Path, instruct: Path, num_rows: int) -> VocabularyPlan:
    """Align the rows of a model with those of the instruct model; `role` names it in errors."""
    if same_vocabulary(folder, instruct):
        return VocabularyPlan(torch.arange(num_rows))
    return plan_vocabulary(vocabulary(folder), vocabulary(instruct), num_rows, role)


def plan_vocabulary(
    base: Mapping[str, int], instruct: Mapping[str, int], num_rows: int, role: str = "base"
) -> VocabularyPlan:
    """Align by token string. Rows beyond both vocabularies (padding) keep their place."""
    missing = sorted(base.keys() - instruct.keys())
    if missing:
        raise UserError(
            f"The {role} model has {len(missing)} tokens that the instruct model lacks (such as {missing[0]!r}), so "
            "their residual is unknown. Use models with the same tokenizer."
        )
    rows = torch.arange(num_rows)
    taken = torch.tensor(sorted(base.values()), dtype=torch.long)
    rows[taken[taken < num_rows]] = -1
    only = []
    for token, instruct_id in instruct.items():
        if instruct_id < num_rows:
            rows[instruct_id] = base.get(token, -1)
            if token not in base:
                only.append(token)
    return VocabularyPlan(rows, tuple(sorted(only)))
