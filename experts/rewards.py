"""Rewards of a preference row's answers, for objectives that need them: from a reward model, a head, or judges."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from domains.atomic import write_text_atomically
from domains.domain import Domain
from domains.errors import UserError, unknown_name
from domains.example import Preference
from domains.plugins import plugin_names
from experts.checkpoint import Checkpoint, load, load_tokenizer
from experts.device import probe
from experts.head import load_head
from experts.logprobs import HEAD
from experts.preferences import candidate_logprobs, encode_preference
from experts.ranks import first_alone
from experts.settings import key
from judges.scoring import load_judges
from judges.verdict import Answered

Rewards = Mapping[str, tuple[float, ...]]
GIVEN, MODEL, JUDGES, FROM_HEAD = "given", "reward_model", "judges:", "head:"
SCORERS = "judges.scorers"
ROW_TOKENS = 1024


def check_source(source: str) -> None:
    """Refuse a source of rewards that does not exist, and judges that do not."""
    name = key("rewards", of="")
    if source not in (GIVEN, MODEL) and not source.startswith((JUDGES, FROM_HEAD)):
        raise UserError(
            f"{name} is '{source}'. Allowed: {GIVEN}, {MODEL}, {JUDGES}NAME,NAME or {FROM_HEAD}DOMAIN/EXPERT."
        )
    known = plugin_names(SCORERS)
    for judge in source.removeprefix(JUDGES).split(",") if source.startswith(JUDGES) else ():
        if judge not in known:
            raise unknown_name(f"judge for {name}", judge, known)


def cached(path: Path, compute: Callable[[], Rewards]) -> Rewards:
    """Rewards from a file, computed when it is not there, by rank 0 for all."""
    with first_alone():
        if path.exists():
            return {name: tuple(values) for name, values in json.loads(path.read_text()).items()}
        found = compute()
        write_text_atomically(path, json.dumps({name: list(values) for name, values in found.items()}))
        return found


def by_judges(domain: Domain, names: Sequence[str], rows: Sequence[Preference]) -> Rewards:
    """The mean of the judges' values, each judge standardised over all answers; unscored counts as average."""
    texts = [Answered(row.prompt[-1].content, text, row.chosen) for row in rows for text in row.candidates]
    columns = [standardised([v.value for v in judge(texts)]) for judge in load_judges(names, domain).values()]
    values = iter([sum(column) / len(columns) for column in zip(*columns, strict=True)])
    return {row.id: tuple(next(values) for _ in row.candidates) for row in rows}


def standardised(values: Sequence[float | None]) -> list[float]:
    """Values with mean 0 and standard deviation 1; None becomes 0."""
    known = torch.tensor([v for v in values if v is not None], dtype=torch.float64)
    mean = float(known.mean()) if len(known) else 0.0
    spread = float(known.std(correction=0)) if len(known) else 0.0
    return [0.0 if v is None or spread == 0 else (v - mean) / spread for v in values]


def by_head(expert: Checkpoint, rows: Sequence[Preference]) -> Rewards:
    """The rewards of an expert's own preference head; one of full weights is its own base."""
    head = load_head(expert.adapter or expert.base)
    device = probe()
    tokenizer = load_tokenizer(expert.tokenizer_folder)
    model = load(expert, device.dtype, device.score_attention).to(device.name)
    model.add_module(HEAD, head.to(device.name))
    encoded = [encode_preference(tokenizer, row, with_ends=True) for row in rows]
    batches = candidate_logprobs(model, encoded, ROW_TOKENS, tokenizer.pad_token_id)
    return {row.id: tuple(batch.head_BC[0].tolist()) for row, batch in zip(rows, batches, strict=True)}
