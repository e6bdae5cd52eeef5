"""Contextual token embeddings of texts of any length, from any encoder that transformers can load.

A text longer than the encoder's limit is read in windows that overlap by half; each token takes its embedding from the
window in which it is farthest from an edge. So nothing is cut off, and short texts are what a single pass gives.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from domains.errors import UserError
from judges.encoder import NAME, encoder_folder
from judges.loading import LOADING

BATCH_SIZE = 32
SPACE_FIRST = {"roberta", "gpt2", "bart", "longformer", "deberta"}
OFFSET_POSITIONS = {"roberta", "xlm-roberta", "camembert", "xlm-roberta-xl", "longformer", "mpnet"}


@dataclass(frozen=True)
class Embedded:
    """A text's unit vectors `tokens_ND` and its `ids`, special tokens included; `weights_N` is 0 for the tokens that
    open and separate texts ([CLS], [SEP]) and 1 elsewhere. `empty`: no token but special ones."""

    tokens_ND: Tensor
    weights_N: Tensor
    ids: tuple[int, ...]
    num_windows: int
    empty: bool


@dataclass(frozen=True)
class Window:
    """A part of a text: `ids` with special tokens; tokens `start` to `stop` of the text take their vectors from it."""

    text: int
    ids: tuple[int, ...]
    offset: int
    start: int
    stop: int


@dataclass(frozen=True)
class Read:
    """A text after the encoder: its raw vectors, the ids that they belong to, and how many windows it took."""

    vectors_ND: Tensor
    ids: tuple[int, ...]
    num_windows: int
    empty: bool


@dataclass(frozen=True)
class Encoder:
    """A loaded model; `limit` is the most tokens it reads at once, `before` and `after` its special tokens, `ignored`
    those that carry no weight. `is_cut`: its layers above `num_layers` are gone."""

    model: Any
    tokenizer: Any
    num_layers: int
    is_cut: bool
    limit: int
    before: tuple[int, ...]
    after: tuple[int, ...]
    ignored: frozenset[int]

    def embed(self, texts: Sequence[str]) -> list[Embedded]:
        """The token embeddings of each text."""
        return [
            Embedded(normalize(read.vectors_ND, dim=-1), self.weights(read.ids), read.ids, read.num_windows, read.empty)
            for read in self.read(texts)
        ]

    def sentence_vectors(self, texts: Sequence[str]) -> Tensor:
        """One unit vector per text, [texts, D]: the mean of its tokens' vectors, as sentence-transformers pools."""
        means = [read.vectors_ND.mean(dim=0) for read in self.read(texts)]
        return normalize(torch.stack(means), dim=-1) if means else torch.zeros(0, self.model.config.hidden_size)

    def weights(self, ids: Sequence[int]) -> Tensor:
        """0 for the tokens that open and separate texts, 1 for all others."""
        return torch.tensor([float(token not in self.ignored) for token in ids])

    def read(self, texts: Sequence[str]) -> Iterator[Read]:
        """Each text's vectors, in order; computed in batches of similar length."""
        tokens = self.tokens(texts)
        windows = [window for index, ids in enumerate(tokens) for window in self.windows(index, ids)]
        windows.sort(key=lambda window: -len(window.ids))
        pieces: dict[int, list[tuple[int, Tensor]]] = {}
        for first in range(0, len(windows), BATCH_SIZE):
            batch = windows[first : first + BATCH_SIZE]
            for window, vectors_ND in zip(batch, self.run(batch), strict=True):
                pieces.setdefault(window.text, []).append((window.start, self.kept(window, vectors_ND)))
        for index, ids in enumerate(tokens):
            parts = [vectors for _, vectors in sorted(pieces[index], key=lambda piece: piece[0])]
            whole = torch.cat(parts) if len(parts) > 1 else parts[0]
            yield Read(whole, (*self.before, *ids, *self.after), len(parts), not ids)

    def tokens(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """The ids of each text, without special tokens and without a limit."""
        stripped = [text.strip() for text in texts]
        found = self.tokenizer(stripped, add_special_tokens=False, verbose=False)["input_ids"] if texts else []
        return [tuple(ids) for ids in found]

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
        output = self.model(input_ids=ids_BN, attention_mask=mask_BN, output_hidden_states=not self.is_cut)
        hidden = output.last_hidden_state if self.is_cut else output.hidden_states[self.num_layers]
        hidden_BND = hidden.float().cpu()
        return [hidden_BND[index, : len(window.ids)] for index, window in enumerate(batch)]

    def kept(self, window: Window, vectors_ND: Tensor) -> Tensor:
        """The vectors that a window contributes: its tokens, and the special tokens at the ends of the text."""
        first = len(self.before) + window.start - window.offset
        last = len(self.before) + window.stop - window.offset
        opens = window.offset == 0
        closes = window.offset + len(window.ids) - len(self.before) - len(self.after) == window.stop
        return vectors_ND[0 if opens else first : len(vectors_ND) if closes else last].clone()


@lru_cache(maxsize=2)
def load_encoder(model: str, num_layers: int | None) -> Encoder:
    """Load a model once, by name or folder ("" = the embedded MiniLM); `num_layers` None = the layer below."""
    from transformers import AutoModel, AutoTokenizer

    source = model or str(encoder_folder())
    try:
        with LOADING:
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
    ignored = frozenset({tokenizer.cls_token_id, tokenizer.sep_token_id} - {None})
    is_cut, limit = cut(network, layer), token_limit(network.config, tokenizer)
    return Encoder(network.to(device()), tokenizer, layer, is_cut, limit, before, after, ignored)


def device() -> str:
    """A GPU when there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def cut(network: Any, layer: int) -> bool:
    """Drop the layers above one, where the model keeps its layers in one list; tells whether it does.

    What is above is never computed, and a final normalisation of the model follows the layer, as in bert-score.
    """
    total = network.config.num_hidden_layers
    lists = [module for module in network.modules() if isinstance(module, nn.ModuleList) and len(module) == total]
    if len(lists) == 1 and layer < total:
        del lists[0][layer:]
    return len(lists) == 1 or layer == total


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
