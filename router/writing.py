"""One answer as it is written: logits in, tokens and pieces of text out."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from router.assistant import Piece, Sampling, TokenLogprob

LEAST_TEMPERATURE = 1e-4  # under it logits would overflow, and nothing but the most likely token would be drawn


class Grammar(Protocol):
    """What an answer must look like."""

    def allowed(self, logits_V: Tensor) -> Tensor:
        """The logits, minus infinity where a token does not fit."""
        ...

    def accept(self, token: int) -> None:
        """Go on after a token."""
        ...


class Writer:
    """Picks the tokens of one answer and turns them into pieces."""

    def __init__(self, tokenizer: Any, sampling: Sampling, choice: int = 0, grammar: Grammar | None = None) -> None:
        self.tokenizer, self.sampling, self.choice, self.grammar = tokenizer, sampling, choice, grammar
        seed = secrets.randbits(48) if sampling.seed is None else sampling.seed + choice
        self.generator = torch.Generator().manual_seed(seed % 2**64)
        self.text = Text(tokenizer, sampling.stop)
        self.prompt_tokens = 0
        self.count = 0
        self.token = -1

    def take(self, logits_V: Tensor) -> Piece:
        """Choose the next token (kept in `token`) and return what can be shown; the last piece has a finish reason."""
        logits = logits_V.float()
        if self.grammar is not None:
            logits = self.grammar.allowed(logits)
        self.token = token = pick(logits, self.sampling, self.generator)
        if self.grammar is not None:
            self.grammar.accept(token)
        self.count += 1
        found = logprobs_of(logits, token, self.sampling.logprobs, self.tokenizer)
        ended = token == self.tokenizer.eos_token_id
        shown = self.text.flush() if ended else self.text.add(token)
        if not (ended or self.text.stopped or self.count == self.sampling.max_tokens):
            return Piece(shown, choice=self.choice, logprobs=found)
        reason = "stop" if ended or self.text.stopped else "length"
        tail = self.text.flush() if reason == "length" else ""
        return Piece(shown + tail, reason, self.prompt_tokens, self.count, self.choice, found)


def pick(logits_V: Tensor, sampling: Sampling, generator: torch.Generator) -> int:
    """The next token: the most likely one at (almost) no temperature, else a draw from the nucleus."""
    if sampling.temperature < LEAST_TEMPERATURE:
        return int(logits_V.argmax())
    probabilities, order = (logits_V / sampling.temperature).softmax(-1).cpu().sort(descending=True)
    outside = probabilities.cumsum(0) - probabilities >= sampling.top_p
    kept = probabilities.masked_fill(outside, 0.0)
    return int(order[torch.multinomial(kept, 1, generator=generator)])


def logprobs_of(logits_V: Tensor, token: int, top: int | None, tokenizer: Any) -> tuple[TokenLogprob, ...]:
    """The log-probability (nats) of a chosen token and of the `top` most likely ones; nothing where not asked for."""
    if top is None:
        return ()
    values = logits_V.log_softmax(-1)
    best = values.topk(top) if top else None
    pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True) if best else ()
    rivals = tuple((tokenizer.decode([index]), value) for index, value in pairs)
    return (TokenLogprob(tokenizer.decode([token]), float(values[token]), rivals),)


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
