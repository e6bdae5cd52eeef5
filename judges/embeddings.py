"""Contextual token embeddings of texts of any length, from any encoder that transformers can load.

A text longer than the encoder's limit is read in windows that overlap by half; each token takes its embedding from the
window in which it is farthest from an edge. So nothing is cut off, and short texts are what a single pass gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from domains.errors import UserError
from judges.encoder import NAME, encoder_folder

BATCH_SIZE = 32
SPACE_FIRST = {"roberta", "gpt2", "bart", "longformer", "deberta"}
OFFSET_POSITIONS = {"roberta", "xlm-roberta", "camembert", "xlm-roberta-xl", "longformer", "mpnet"}


@dataclass(frozen=True)
class Embedded:
    """A text's unit vectors `tokens_ND`, special tokens included; `weights_N` is 0 on those and 1 elsewhere."""

    tokens_ND: Tensor
    weights_N: Tensor
    num_windows: int

    @property
    def empty(self) -> bool:
        """No token but special ones."""
        return not bool(self.weights_N.any())


@dataclass(frozen=True)
class Window:
    """A part of a text: `ids` with special tokens; tokens `start` to `stop` of the text take their vectors from it."""

    text: int
    ids: tuple[int, ...]
    offset: int
    start: int
    stop: int


@dataclass(frozen=True)
class Encoder:
    """A loaded model; `limit` is the most tokens it reads at once, `before` and `after` its special tokens."""

    model: Any
    tokenizer: Any
    num_layers: int
    limit: int
    before: tuple[int, ...]
    after: tuple[int, ...]

    def embed(self, texts: Sequence[str]) -> list[Embedded]:
        """The token embeddings of each text; computed in batches of similar length."""
        tokens = [self.tokens(text) for text in texts]
        windows = [window for index, ids in enumerate(tokens) for window in self.windows(index, ids)]
        windows.sort(key=lambda window: -len(window.ids))
        pieces: dict[int, list[tuple[int, Tensor]]] = {}
        for first in range(0, len(windows), BATCH_SIZE):
            batch = windows[first : first + BATCH_SIZE]
            for window, vectors_ND in zip(batch, self.run(batch), strict=True):
                pieces.setdefault(window.text, []).append((window.start, self.kept(window, vectors_ND)))
        return [self.joined(ids, pieces[index]) for index, ids in enumerate(tokens)]

    def tokens(self, text: str) -> tuple[int, ...]:
        """The ids of a text, without special tokens and without a limit."""
        return tuple(self.tokenizer(text.strip(), add_special_tokens=False, verbose=False)["input_ids"])

    def windows(self, text: int, ids: tuple[int, ...]) -> list[Window]:
        """The windows of one text; each but the last hands over to the next in the middle of their overlap."""
        room = self.limit - len(self.before) - len(self.after)
        starts = [0] if len(ids) <= room else [*range(0, len(ids) - room, room // 2), len(ids) - room]
        borders = [0, *((a + room + b) // 2 for a, b in zip(starts, starts[1:], strict=False)), len(ids)]
        return [
            Window(text, (*self.before, *ids[offset : offset + room], *self.after), offset, start, stop)
            for offset, start, stop in zip(starts, borders, borders[1:], strict=False)
        ]

    @torch.inference_mode()
    def run(self, batch: Sequence[Window]) -> list[Tensor]:
        """The layer's output for each window, without padding."""
        longest = max(len(window.ids) for window in batch)
        pad = self.tokenizer.pad_token_id or 0
        device = next(self.model.parameters()).device
        ids_BN = torch.tensor([[*w.ids, *[pad] * (longest - len(w.ids))] for w in batch], device=device)
        mask_BN = torch.tensor([[1] * len(w.ids) + [0] * (longest - len(w.ids)) for w in batch], device=device)
        output = self.model(input_ids=ids_BN, attention_mask=mask_BN, output_hidden_states=True)
        hidden_BND = output.hidden_states[self.num_layers].float().cpu()
        return [hidden_BND[index, : len(window.ids)] for index, window in enumerate(batch)]

    def kept(self, window: Window, vectors_ND: Tensor) -> Tensor:
        """The vectors that a window contributes: its tokens, and the special tokens at the ends of the text."""
        first = len(self.before) + window.start - window.offset
        last = len(self.before) + window.stop - window.offset
        opens = window.offset == 0
        closes = window.offset + len(window.ids) - len(self.before) - len(self.after) == window.stop
        return vectors_ND[0 if opens else first : len(vectors_ND) if closes else last].clone()

    def joined(self, ids: tuple[int, ...], pieces: list[tuple[int, Tensor]]) -> Embedded:
        """One text from its windows' vectors."""
        vectors_ND = torch.cat([vectors for _, vectors in sorted(pieces, key=lambda piece: piece[0])])
        special = {*self.before, *self.after}
        weights = [float(token not in special) for token in (*self.before, *ids, *self.after)]
        return Embedded(torch.nn.functional.normalize(vectors_ND, dim=-1), torch.tensor(weights), len(pieces))


@lru_cache(maxsize=2)
def load_encoder(model: str, num_layers: int | None) -> Encoder:
    """Load a model once, by name or folder ("" = the embedded MiniLM); `num_layers` None = the layer below."""
    from transformers import AutoModel, AutoTokenizer

    source = model or str(encoder_folder())
    try:
        network = AutoModel.from_pretrained(source).eval()
        space = {"add_prefix_space": True} if network.config.model_type in SPACE_FIRST else {}
        tokenizer = AutoTokenizer.from_pretrained(source, **space)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"The encoder '{model or NAME}' cannot be loaded: {reason} "
            f"Give the folder of an encoder model, a name that your model cache has, or nothing for {NAME}."
        ) from None
    network = network.get_encoder() if network.config.is_encoder_decoder else network
    layer = checked_layer(num_layers or usual_layer(model), network.config.num_hidden_layers)
    before, after = special_tokens(tokenizer)
    return Encoder(network.to(device()), tokenizer, layer, token_limit(network.config, tokenizer), before, after)


def device() -> str:
    """A GPU when there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def usual_layer(model: str) -> int | None:
    """The layer that the authors of BERTScore chose for a public model, None for others (= the last)."""
    if not model or Path(model).exists():
        return None
    from bert_score.utils import model2layers

    layer = model2layers.get(model)
    return None if layer is None else int(layer)


def checked_layer(given: int | None, available: int) -> int:
    """A layer that the model has; None = the last."""
    if given is not None and not 0 < given <= available:
        raise UserError(f"num_layers is {given}, but the model has {available} layers. Use 1 to {available}.")
    return given or available


def special_tokens(tokenizer: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The ids that the tokenizer puts before and after a text."""
    inner = tokenizer("a", add_special_tokens=False)["input_ids"]
    outer = tokenizer("a", add_special_tokens=True)["input_ids"]
    start = next(i for i in range(len(outer)) if outer[i : i + len(inner)] == inner)
    return tuple(outer[:start]), tuple(outer[start + len(inner) :])


def token_limit(config: Any, tokenizer: Any) -> int:
    """The most tokens that the model takes, special ones included (an unset limit of the tokenizer is huge)."""
    positions = getattr(config, "max_position_embeddings", None) or 512
    offset = (config.pad_token_id or 0) + 1 if config.model_type in OFFSET_POSITIONS else 0
    return int(min(positions - offset, tokenizer.model_max_length))
