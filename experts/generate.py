"""Batched generation: greedy, sorted by length, one answer per prompt with whether it ended by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache

from domains.example import Message
from experts.encoding import prompt_ids


@dataclass(frozen=True)
class Generated:
    """An answer; `finished` is False when it was cut at the token limit."""

    text: str
    finished: bool
    num_tokens: int


@torch.no_grad()
def generate(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[Message]],
    max_new_tokens: int,
    batch_size: int = 16,
    on_batch: Callable[[list[int], list[Generated]], None] | None = None,
) -> list[Generated]:
    """Greedy answers in the order of the prompts; `on_batch` is told of each finished batch."""
    ids = [prompt_ids(tokenizer, prompt) for prompt in prompts]
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    answers: dict[int, Generated] = {}
    for start in range(0, len(order), batch_size):
        chunk = order[start : start + batch_size]
        found = generate_batch(model, tokenizer, [ids[i] for i in chunk], max_new_tokens)
        answers |= dict(zip(chunk, found, strict=True))
        if on_batch is not None:
            on_batch(chunk, found)
    return [answers[i] for i in range(len(ids))]


def generate_batch(model: Any, tokenizer: Any, ids: Sequence[list[int]], max_new_tokens: int) -> list[Generated]:
    """One left-padded batch, greedily; a row that has ended leaves the batch, so that long answers go on alone."""
    width, pad, device = max(map(len, ids)), tokenizer.pad_token_id, model.device
    tokens = torch.tensor([[pad] * (width - len(row)) + row for row in ids], device=device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in ids], device=device)
    answers: list[list[int]] = [[] for _ in ids]
    active, cache = list(range(len(ids))), DynamicCache()
    for _ in range(max_new_tokens):
        positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -tokens.shape[1] :]
        output = model(
            input_ids=tokens,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        chosen = output.logits[:, -1].argmax(-1)
        for place, token in zip(active, chosen.tolist(), strict=True):
            answers[place].append(token)
        going = (chosen != tokenizer.eos_token_id).nonzero().squeeze(1)
        if len(going) == 0:
            break
        if len(going) < len(active):
            active = [active[i] for i in going.tolist()]
            chosen, mask = chosen[going], mask[going]
            cache.batch_select_indices(going)
        tokens = chosen.unsqueeze(1)
        mask = torch.cat([mask, mask.new_ones(len(active), 1)], dim=1)
    return [decoded(tokenizer, row) for row in answers]


def decoded(tokenizer: Any, tokens: list[int]) -> Generated:
    """Cut at the end-of-turn token."""
    finished = tokenizer.eos_token_id in tokens
    kept = tokens[: tokens.index(tokenizer.eos_token_id)] if finished else tokens
    return Generated(tokenizer.decode(kept, skip_special_tokens=True).strip(), finished, len(kept))
