"""Batched generation: greedy, sorted by length, one answer per prompt with whether it ended by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from domains.example import Message
from experts.attention import additive
from experts.batch import collate, context_segment, pack_in_order
from experts.encoding import prompt_ids
from experts.logprobs import decoder

PREFILL_TOKENS = 256


@dataclass(frozen=True)
class Generated:
    """An answer; `finished` is False when it was cut at the token limit. `failure` says why there is none."""

    text: str
    finished: bool
    num_tokens: int
    failure: str = ""


Keep = Callable[[int, Generated], None]
Choose = Callable[[Tensor], Tensor]


def likeliest(logits_BV: Tensor) -> Tensor:
    """Greedy decoding: the most likely token of each row (B,)."""
    return logits_BV.argmax(-1)


@torch.no_grad()
def generate(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[Message]],
    max_new_tokens: int,
    batch_size: int = 16,
    keep: Keep | None = None,
) -> list[Generated]:
    """Greedy answers in the order of the prompts; `keep` gets each (place, answer) as soon as it has ended."""
    ids = [prompt_ids(tokenizer, prompt) for prompt in prompts]
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    answers: dict[int, Generated] = {}
    for start in range(0, len(order), batch_size):
        chunk = order[start : start + batch_size]
        for place, tokens in generate_batch(model, tokenizer, [ids[i] for i in chunk], max_new_tokens):
            answers[chunk[place]] = decoded(tokenizer, tokens)
            if keep is not None:
                keep(chunk[place], answers[chunk[place]])
    return [answers[i] for i in range(len(ids))]


def generate_batch(
    model: Any, tokenizer: Any, ids: Sequence[list[int]], max_new_tokens: int, choose: Choose = likeliest
) -> Iterator[tuple[int, list[int]]]:
    """One batch: each row's place and tokens when it ends. It leaves the batch then, so that long answers go on alone.
    `choose` picks the next tokens from the logits."""
    start = prefill(model, ids, tokenizer.pad_token_id, room=max_new_tokens)
    hidden, cache, mask = start.hidden_BH, start.cache, start.mask_BW
    answers: list[list[int]] = [[] for _ in ids]
    active = list(range(len(ids)))
    for count in range(1, max_new_tokens + 1):
        chosen = choose(model.get_output_embeddings()(hidden))
        for place, token in zip(active, chosen.tolist(), strict=True):
            answers[place].append(token)
        ends = chosen == tokenizer.eos_token_id if count < max_new_tokens else torch.ones_like(chosen, dtype=torch.bool)
        yield from ((active[i], answers[active[i]]) for i in ends.nonzero().squeeze(1).tolist())
        going = (~ends).nonzero().squeeze(1)
        if len(going) == 0:
            break
        if len(going) < len(active):
            active = [active[i] for i in going.tolist()]
            chosen, mask = chosen[going], mask[going]
            cache.batch_select_indices(going)
        mask = torch.cat([mask, mask.new_ones(len(active), 1)], dim=1)
        output = decoder(model)(
            input_ids=chosen.unsqueeze(1),
            attention_mask=mask,
            position_ids=mask.sum(1, keepdim=True) - 1,
            past_key_values=cache,
            use_cache=True,
        )
        hidden = output.last_hidden_state[:, -1]


@dataclass(frozen=True)
class Prefilled:
    """B prompts: the hidden state of each one's last token, keys and values padded on the left, their mask."""

    hidden_BH: Tensor
    cache: DynamicCache
    mask_BW: Tensor


class RoomyLayer(DynamicLayer):
    """Keys and values with room for the tokens to come: a new token is written into its place, where the plain cache
    copies all of itself for each."""

    def __init__(self, keys: Tensor, values: Tensor, room: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True
        self.size = keys.shape[-2]
        self.buffers = [nn.functional.pad(tensor, (0, 0, 0, room)) for tensor in (keys, values)]
        self.keys, self.values = keys, values

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **options: Any) -> tuple[Tensor, Tensor]:
        """Write new tokens (B, heads, new, size); returns all keys and values."""
        start, self.size = self.size, self.size + key_states.shape[-2]
        for buffer, states in zip(self.buffers, (key_states, value_states), strict=True):
            buffer[:, :, start : self.size] = states
        self.keys, self.values = (buffer[:, :, : self.size] for buffer in self.buffers)
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep some rows of the batch."""
        self.buffers = [buffer[indices] for buffer in self.buffers]
        self.keys, self.values = (buffer[:, :, : self.size] for buffer in self.buffers)


def prefill(model: Any, ids: Sequence[list[int]], pad_id: int, room: int) -> Prefilled:
    """Read the prompts in packed rows, so that no padding is computed, and keep room for `room` more tokens each."""
    hidden, caches = [], []
    for row in pack_in_order([context_segment(prompt) for prompt in ids], PREFILL_TOKENS):
        batch = collate([row], pad_id)
        output = decoder(model)(
            input_ids=batch.input_ids_RL.to(model.device),
            position_ids=batch.position_ids_RL.to(model.device),
            attention_mask=additive(batch.mask_R1LL.to(model.device), model.dtype),
            past_key_values=DynamicCache(),
            use_cache=True,
        )
        hidden.append(output.last_hidden_state[0])
        caches.append(output.past_key_values)
    sizes = [len(prompt) for prompt in ids]
    cache = DynamicCache()
    for layers in zip(*(c.layers for c in caches), strict=True):
        keys = left_padded(torch.cat([layer.keys[0] for layer in layers], dim=1), sizes)
        values = left_padded(torch.cat([layer.values[0] for layer in layers], dim=1), sizes)
        cache.layers.append(RoomyLayer(keys, values, room))
    last = torch.tensor(sizes).cumsum(0) - 1
    mask = pad_sequence([torch.ones(n, dtype=torch.long) for n in sizes], batch_first=True, padding_side="left")
    return Prefilled(torch.cat(hidden)[last.to(model.device)], cache, mask.to(model.device))


def left_padded(flat: Tensor, sizes: Sequence[int]) -> Tensor:
    """Keys or values of texts in a row, (heads, tokens, size), as (texts, heads, width, size)."""
    pieces = flat.transpose(0, 1).split(list(sizes))
    return pad_sequence(list(pieces), batch_first=True, padding_side="left").transpose(1, 2)


def decoded(tokenizer: Any, tokens: list[int]) -> Generated:
    """Cut at the end-of-turn token."""
    finished = tokenizer.eos_token_id in tokens
    kept = tokens[: tokens.index(tokenizer.eos_token_id)] if finished else tokens
    return Generated(tokenizer.decode(kept, skip_special_tokens=True).strip(), finished, len(kept))
