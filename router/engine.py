"""All experts as adapters over one base model in one process: one copy of the base in memory, one request at a time."""

from __future__ import annotations

import secrets
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel

from domains.domain import GENERAL
from domains.errors import UserError, unknown_name
from domains.example import Message
from experts.checkpoint import load_base, load_tokenizer
from experts.device import probe
from experts.digests import weights_digest
from experts.embedded import foundation_folder
from experts.encoding import prompt_ids, template_digest
from experts.expert import Expert, built_experts, is_offered
from experts.foundation import EMBEDDED, model_folder
from router.assistant import Piece, Sampling

MAX_CONTEXT = 4096


def servable(home: Path) -> dict[str, Expert]:
    """The experts that are offered: the tracks of each domain and the general model."""
    found = built_experts(home)
    names = [name for name in found if is_offered(name)]
    if GENERAL not in names or len(names) == 1 and not found[GENERAL].has_adapter:
        raise UserError(f"No experts are built in '{home}'. Run 'expertsmith build mortgage caregiving' first.")
    return {name: found[name] for name in sorted(names, key=lambda n: (n == GENERAL, n))}


def adapter_name(expert: str) -> str:
    """PEFT's name for an expert's adapter."""
    return expert.replace("/", "__")


class Engine:
    """The base model with every expert's adapter, and the tokenizer. Use a model only inside `using`."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.experts = servable(home)
        self.device = probe()
        self.lock = threading.Lock()
        first = self.experts[GENERAL]
        base = foundation_folder() if first.base == EMBEDDED else model_folder(first.base, first.base_revision)
        self.base_digest = weights_digest(base)
        self.check_parents()
        self.tokenizer = load_tokenizer(base)
        if template_digest(self.tokenizer) != first.template:
            raise UserError(
                "The tokenizer's chat template is not the one the experts were trained with. Build them again."
            )
        self.model = self.with_adapters(load_base(base, self.device.dtype, self.device.score_attention))

    def check_parents(self) -> None:
        """Every expert must have been trained over this base."""
        for name, expert in self.experts.items():
            if expert.base_digest != self.base_digest:
                raise UserError(
                    f"Expert '{name}' is over another base model than the general one; one process serves one base. "
                    "Build it again with the same foundation, with pretrain.method = lora and residual.scale = 1."
                )

    def with_adapters(self, model: Any) -> Any:
        """Wrap the base with one adapter per expert."""
        first, *others = [name for name, expert in self.experts.items() if expert.has_adapter]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wrapped = PeftModel.from_pretrained(
                model, self.experts[first].folder, adapter_name=adapter_name(first), autocast_adapter_dtype=False
            )
            for name in others:
                wrapped.load_adapter(self.experts[name].folder, adapter_name(name), autocast_adapter_dtype=False)
        return wrapped.to(self.device.name).to(self.device.dtype).eval().requires_grad_(False)

    @contextmanager
    def using(self, expert: str) -> Iterator[Any]:
        """The model as one expert, for this caller alone. A plain lock: a stream may be read from several threads.

        No weight requires gradients, so nothing here records any.
        """
        if expert not in self.experts:
            raise unknown_name("expert", expert, self.experts)
        with self.lock:
            if self.experts[expert].has_adapter:
                self.model.set_adapter(adapter_name(expert), inference_mode=True)
                yield self.model
            else:
                with self.model.disable_adapter():
                    yield self.model

    def encode(self, messages: Sequence[Message]) -> list[int]:
        """Prompt tokens; a conversation that is too long is refused."""
        ids = prompt_ids(self.tokenizer, messages)
        if len(ids) > MAX_CONTEXT:
            raise UserError(f"The conversation has {len(ids)} tokens; at most {MAX_CONTEXT} fit. Start a new one.")
        return ids

    def stream(self, messages: Sequence[Message], expert: str, sampling: Sampling) -> Iterator[Piece]:
        """Generate piece by piece; the lock is held from the first piece to the last."""
        ids = self.encode(messages)
        with self.using(expert) as model:
            generator = torch.Generator().manual_seed(new_seed(sampling.seed))
            text = Text(self.tokenizer, sampling.stop)
            cache, step = None, torch.tensor([ids], device=model.device)
            for count in range(1, sampling.max_tokens + 1):
                output = model(input_ids=step, past_key_values=cache, use_cache=True, logits_to_keep=1)
                cache = output.past_key_values
                token = pick(output.logits[0, -1].float(), sampling, generator)
                ended = token == self.tokenizer.eos_token_id
                piece = text.flush() if ended else text.add(token)
                if ended or text.stopped or count == sampling.max_tokens:
                    tail = "" if ended or text.stopped else text.flush()
                    reason = "stop" if ended or text.stopped else "length"
                    yield Piece(piece + tail, reason, len(ids), count)
                    return
                if piece:
                    yield Piece(piece)
                step = torch.tensor([[token]], device=model.device)

    def next_token_logprobs(self, messages: Sequence[Message], expert: str, top: int) -> dict[str, float]:
        """The most likely first tokens of the answer with their log-probabilities (nats)."""
        ids = self.encode(messages)
        with self.using(expert) as model:
            logits = model(input_ids=torch.tensor([ids], device=model.device), use_cache=False, logits_to_keep=1).logits
        values, tokens = logits[0, -1].float().log_softmax(-1).topk(top)
        pairs = zip(tokens.tolist(), values.tolist(), strict=True)
        return {self.tokenizer.decode([token]): value for token, value in pairs}


def new_seed(seed: int | None) -> int:
    """The given seed, or one that nobody chose."""
    return secrets.randbits(48) if seed is None else seed


def pick(logits_V: torch.Tensor, sampling: Sampling, generator: torch.Generator) -> int:
    """The next token: the most likely one at temperature 0, else a draw from the nucleus."""
    if sampling.temperature == 0:
        return int(logits_V.argmax())
    probabilities, order = (logits_V / sampling.temperature).softmax(-1).cpu().sort(descending=True)
    outside = probabilities.cumsum(0) - probabilities >= sampling.top_p
    kept = probabilities.masked_fill(outside, 0.0)
    return int(order[torch.multinomial(kept, 1, generator=generator)])


class Text:
    """Tokens as they come, as text that is safe to show: whole characters, nothing after a stop string."""

    def __init__(self, tokenizer: Any, stop: Sequence[str]) -> None:
        self.tokenizer, self.stop = tokenizer, stop
        self.tokens: list[int] = []
        self.shown = 0
        self.stopped = False

    def add(self, token: int) -> str:
        """The text that can be shown after one more token."""
        self.tokens.append(token)
        text = self.tokenizer.decode(self.tokens, skip_special_tokens=True)
        found = [text.find(s) for s in self.stop if s in text]
        if found:
            self.stopped = True
            return self.show(text[: min(found)])
        held = max((n for s in self.stop for n in range(1, len(s)) if text.endswith(s[:n])), default=0)
        return "" if text.endswith("\ufffd") else self.show(text[: len(text) - held])

    def flush(self) -> str:
        """What is left to show at the end."""
        return self.show(self.tokenizer.decode(self.tokens, skip_special_tokens=True))

    def show(self, text: str) -> str:
        """The new part of a text."""
        new, self.shown = text[self.shown :], max(self.shown, len(text))
        return new
