"""A running batch: answers join and leave it between two steps, each with its own expert.

Every answer has a slot in one buffer of keys and values per layer, filled from the left: token i of an answer is at
place i, whoever answers beside it, so nothing is moved when others come and go. Prompts are read alone, in chunks with
fixed borders, between the steps of those who write. Shape letters as in `experts/batch.py`; M rows of a step, W places.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

from experts.attention import additive
from experts.logprobs import decoder
from router.prompt_memory import PromptMemory

CHUNK_TOKENS = 256  # a prompt is read in pieces of this size: how long the others wait between two of their tokens
FIRST_WIDTH = 512
WIDTH_STEP = 64  # attention is computed over a multiple of it: on a CPU an answer then has the same bits in any company


@dataclass(eq=False)
class Place:
    """One answer in the batch: its prompt, how much of it is in the cache, and the token to go on with."""

    ids: Sequence[int]
    expert: str
    width: int
    slot: int
    length: int = 0
    token: int = 0

    @property
    def is_reading(self) -> bool:
        """Whether its prompt is not read to the end."""
        return self.length < len(self.ids)


class Batch(Protocol):
    """What the scheduler drives."""

    def has_room(self, width: int) -> bool:
        """Whether one more answer of this many tokens (prompt and answer) fits."""
        ...

    def join(self, ids: Sequence[int], expert: str, width: int) -> Place:
        """Add an answer."""
        ...

    def leave(self, place: Place) -> None:
        """Take an answer out."""
        ...

    def step(self) -> list[tuple[Place, Tensor]]:
        """Go on with all; logits (V,) of those whose next token is due. The caller then sets their `token`."""
        ...


@dataclass
class Plan:
    """What a forward pass does to the cache: writes tokens of one slot from `start` on (reading), or one token into
    each slot at its place in `positions_M` (writing)."""

    num_slots: int
    width: int = FIRST_WIDTH
    slot: int = 0
    start: int = 0
    positions_M: Tensor | None = None
    used: int = 0


class SlotLayer(DynamicLayer):
    """Keys and values of one layer, (slots, heads, width, size). Made at first use, and anew when the plan changes."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.plan, self.is_initialized = plan, True
        self.buffers: list[Tensor] = []

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **options: Any) -> tuple[Tensor, Tensor]:
        """Write new tokens (B, heads, new, size); returns the keys and values to attend to."""
        self.fit(key_states)
        plan = self.plan
        for buffer, states in zip(self.buffers, (key_states, value_states), strict=True):
            if plan.positions_M is None:
                buffer[plan.slot, :, plan.start : plan.used] = states[0]
            else:
                rows = torch.arange(len(plan.positions_M), device=buffer.device)
                buffer[rows, :, plan.positions_M] = states[:, :, 0]
        slots = slice(plan.slot, plan.slot + 1) if plan.positions_M is None else slice(0, len(plan.positions_M))
        keys, values = (buffer[slots, :, : plan.used] for buffer in self.buffers)
        return keys, values

    def fit(self, states: Tensor) -> None:
        """Give the buffers the plan's size; new places are 0, so that what nobody reads is at least finite."""
        plan = self.plan
        shape = (plan.num_slots, states.shape[1], plan.width, states.shape[3])
        if self.buffers and self.buffers[0].shape == shape:
            return
        fitting = [states.new_zeros(shape) for _ in range(2)]
        for new, old in zip(fitting, self.buffers, strict=False):
            slots, width = min(len(old), len(new)), min(old.shape[2], new.shape[2])
            new[:slots, :, :width] = old[:slots, :, :width]
        self.buffers = fitting

    def get_seq_length(self) -> int:
        """Positions and masks are given with every call, so this is only the size."""
        return self.plan.used

    def move(self, source: int, target: int, length: int) -> None:
        """Copy a slot's first tokens to another slot."""
        for buffer in self.buffers if length else ():
            buffer[target, :, :length] = buffer[source, :, :length]


class Models(Protocol):
    """One base model that answers as several experts."""

    @property
    def model(self) -> Any:
        """The model."""
        ...

    def using(self, expert: str) -> AbstractContextManager[Any]:
        """The model as one expert."""
        ...

    def mixing(self, experts: Sequence[str | None]) -> AbstractContextManager[Any]:
        """The model with an expert per row of the batch."""
        ...


def stepped(width: int) -> int:
    """A width as whole steps."""
    return -(-width // WIDTH_STEP) * WIDTH_STEP


@dataclass
class SlotBatch:
    """The running batch of an engine. `max_tokens` bounds slots x the widest answer, which is the cache's memory: with
    a long answer there are fewer slots. With `memory`, a prompt that begins like an earlier one is read from there."""

    engine: Models
    max_rows: int = 16
    max_tokens: int = 32_768
    memory: PromptMemory | None = None
    places: list[Place] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """An empty cache of the first size."""
        self.places = []
        self.plan = Plan(self.max_rows)
        num_layers = self.engine.model.config.num_hidden_layers
        self.layers = [SlotLayer(self.plan) for _ in range(num_layers)]
        self.cache = Cache(layers=list(self.layers))

    def has_room(self, width: int) -> bool:
        """A free slot, and a buffer within bounds; an empty batch takes anyone."""
        if not self.places:
            return True
        widest = max(width, *(place.width for place in self.places))
        return len(self.places) < self.max_rows and (len(self.places) + 1) * widest <= self.max_tokens

    def join(self, ids: Sequence[int], expert: str, width: int) -> Place:
        """Give an answer the first slot after those in use."""
        place = Place(ids, expert, width, len(self.places))
        self.places.append(place)
        self.make_room()
        if self.memory:
            self.memory.restore(place, self.layers)
        return place

    def make_room(self) -> None:
        """Plan slots for the places: all of them while each can be as wide as the widest, which then grow by doubling;
        else as many as fit. A place is as wide as whole steps."""
        widest = max(place.width for place in self.places)
        even = self.max_tokens // self.max_rows
        if widest > even:
            self.plan.num_slots, self.plan.width = max(1, self.max_tokens // widest), stepped(widest)
            return
        width = FIRST_WIDTH if self.plan.num_slots < self.max_rows else self.plan.width
        while width < widest:
            width *= 2
        self.plan.num_slots, self.plan.width = self.max_rows, min(width, max(FIRST_WIDTH, stepped(even)))

    def leave(self, place: Place) -> None:
        """Free a slot; the last one moves into it, so that those in use stay together."""
        if self.memory:
            self.memory.keep(place, self.layers)
        last = self.places.pop()
        if last is not place:
            for layer in self.layers:
                layer.move(last.slot, place.slot, last.length)
            self.places[place.slot] = last
            last.slot = place.slot
        if self.places:
            self.make_room()
        elif self.plan.width > FIRST_WIDTH:
            self.reset()

    @torch.no_grad()
    def step(self) -> list[tuple[Place, Tensor]]:
        """One token of everyone who writes, then a chunk of the prompts that wait to be read."""
        found = self.write([place for place in self.places if not place.is_reading])
        budget = CHUNK_TOKENS
        for place in [place for place in self.places if place.is_reading]:
            if budget <= 0:
                break
            budget -= min(CHUNK_TOKENS, len(place.ids) - place.length)
            found += self.read(place)
        return found

    def write(self, places: list[Place]) -> list[tuple[Place, Tensor]]:
        """The next token's logits of each place. Slots between them take part, and what they compute is thrown away:
        it lands where their next token will be written over it."""
        if not places:
            return []
        size = max(place.slot for place in places) + 1
        tokens, positions = torch.zeros(size, dtype=torch.long), torch.zeros(size, dtype=torch.long)
        experts: list[str | None] = [None] * size
        for place in self.places[:size]:
            tokens[place.slot], positions[place.slot] = place.token, place.length
        for place in places:
            experts[place.slot] = place.expert
        used = stepped(int(positions.max()) + 1)
        mask = (torch.arange(used) <= positions.view(-1, 1)).view(size, 1, 1, used)
        with self.engine.mixing(experts) as model:
            self.plan.positions_M, self.plan.used = positions.to(model.device), used
            logits_MV = self.forward(model, tokens.view(-1, 1), positions.view(-1, 1), mask)
        for place in places:
            place.length += 1
        return [(place, logits_MV[place.slot]) for place in places]

    def read(self, place: Place) -> list[tuple[Place, Tensor]]:
        """Read the next chunk of a prompt; its last one gives the logits of the first token."""
        start = place.length
        chunk = torch.tensor([place.ids[start : start + CHUNK_TOKENS]])
        end = start + chunk.shape[1]
        positions = torch.arange(start, end).view(1, -1)
        mask = (torch.arange(end) <= positions.view(-1, 1)).view(1, 1, -1, end)
        with self.engine.using(place.expert) as model:
            self.plan.slot, self.plan.start, self.plan.used, self.plan.positions_M = place.slot, start, end, None
            logits_V = self.forward(model, chunk, positions, mask)[0]
        place.length = end
        return [] if place.is_reading else [(place, logits_V)]

    def forward(self, model: Any, ids_BT: Tensor, positions_BT: Tensor, mask_B1TW: Tensor) -> Tensor:
        """Logits (B, V) of each row's last token."""
        output = decoder(model)(
            input_ids=ids_BT.to(model.device),
            position_ids=positions_BT.to(model.device),
            attention_mask=additive(mask_B1TW.to(model.device), model.dtype),
            past_key_values=self.cache,
            use_cache=True,
        )
        logits: Tensor = model.get_output_embeddings()(output.last_hidden_state[:, -1])
        return logits
