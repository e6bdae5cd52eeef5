"""Keys and values of prompts that were read, so that a prompt that begins like one of them is read from there on: the
next turn of a conversation has all turns before it in front.

Prompts are read in chunks with fixed borders, and whole chunks are taken over, so an answer has the same bits as one
whose prompt was read from its beginning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from router.slots import Place, SlotLayer


@dataclass(frozen=True)
class Read:
    """A prompt that an expert has read: keys and values of each layer, (1, heads, tokens, size) each."""

    expert: str
    ids: tuple[int, ...]
    layers: tuple[tuple[Tensor, ...], ...]


@dataclass
class PromptMemory:
    """At most `max_tokens` tokens of prompts in all, the last ones that were read; `chunk` is what a prompt is read
    in. `num_spared` counts the tokens that were taken over."""

    max_tokens: int
    chunk: int
    known: list[Read] = field(default_factory=list)
    num_spared: int = 0

    def keep(self, place: Place, layers: Sequence[SlotLayer]) -> None:
        """Remember the whole chunks of a prompt that was read to its end."""
        length = len(place.ids) // self.chunk * self.chunk
        if place.is_reading or not 0 < length <= self.max_tokens:
            return
        ids = tuple(place.ids[:length])
        self.known = [read for read in self.known if read.expert != place.expert or ids[: len(read.ids)] != read.ids]
        states = tuple(
            tuple(buffer[place.slot : place.slot + 1, :, :length].clone() for buffer in layer.buffers)
            for layer in layers
        )
        self.known.append(Read(place.expert, ids, states))
        while sum(len(read.ids) for read in self.known) > self.max_tokens:
            self.known.pop(0)

    def restore(self, place: Place, layers: Sequence[SlotLayer]) -> None:
        """Give a new place what is known of its prompt; its last token is always read, for its logits."""
        best, length = None, 0
        for read in self.known:
            shared = self.shared(read, place)
            if shared > length:
                best, length = read, shared
        if best is None:
            return
        for layer, states in zip(layers, best.layers, strict=True):
            layer.fit(states[0])
            for buffer, state in zip(layer.buffers, states, strict=True):
                buffer[place.slot, :, :length] = state[0, :, :length]
        place.length = length
        self.num_spared += length

    def shared(self, read: Read, place: Place) -> int:
        """How many tokens, in whole chunks, a prompt has in common with one that was read, its last one not counted."""
        if read.expert != place.expert:
            return 0
        most = min(len(read.ids), len(place.ids) - 1)
        same = next((i for i in range(most) if read.ids[i] != place.ids[i]), most)
        return same // self.chunk * self.chunk
