"""Is an expert the same wherever it runs? Greedy answers to the same probes, in this process, from the service, from an
export and, if given, from another endpoint; and whether each adapter changes the output at all.

Two pairs must agree exactly: the service runs the same model in a batch, and an export in the number format of this
machine holds the weights that are evaluated. Other kernels, and adapters applied or merged, round differently, so their
agreement is a share.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import torch
from openai import OpenAI

from domains.errors import UserError
from domains.example import Message
from experts.checkpoint import load
from experts.device import probe
from experts.encoding import prompt_ids
from experts.export import PROBE_TOKENS, PROBES, base_of, export, greedy, read_back, same_share
from router.assistant import Sampling
from router.backends.in_process import InProcess
from router.backends.openai_server import name_there
from router.engine import Engine
from router.fit import load_router
from router.local import LocalAssistant
from ui.background import local_service

LEAST_EFFECT = 1e-3  # nats; an adapter that changes no probability by more than rounding does nothing
LEAST_SHARE = 0.5  # of greedy tokens before the first difference, where only rounding may differ


@dataclass(frozen=True)
class Agreement:
    """How far two ways agree: a share of greedy tokens (None: one of them does not have the expert), and whether it
    must be all of them."""

    name: str
    share: float | None
    exact: bool

    @property
    def ok(self) -> bool:
        """Whether that is enough."""
        return self.share is not None and self.share >= (1.0 if self.exact else LEAST_SHARE)


def agreements(engine: Engine, name: str) -> Iterator[Agreement]:
    """One expert in this process, in the service, evaluated (merged) and exported."""
    here, over_http = alone(engine, name), served(engine, name)
    yield Agreement(f"service answers as this process ({name})", same_share(here, over_http), True)
    with engine.using(name) as model:
        plain = greedy(model, engine.tokenizer)
    again = same_share(retold(engine, plain), here)
    yield Agreement(f"this process answers as transformers' own loop ({name})", again, False)
    expert = engine.experts[name]
    device = probe()
    model = load(expert.checkpoint(base_of(expert)), device.dtype, device.score_attention)
    merged = greedy(model, engine.tokenizer)
    yield Agreement(f"adapter applied as merged ({name})", retraced_share(engine, model, plain), False)
    with tempfile.TemporaryDirectory(prefix="expertsmith-doctor-") as folder:
        written = export(expert, "safetensors", "bf16" if device.bf16 else "f32", Path(folder) / "out")
        exported = greedy(read_back(written.path), engine.tokenizer)
    yield Agreement(f"export answers as evaluated ({name})", same_share(merged, exported), True)


def alone(engine: Engine, name: str) -> list[list[int]]:
    """This process's answers to the probes, one after the other."""
    backend = InProcess(engine)
    answers = []
    for question in PROBES:
        sampling = Sampling(max_tokens=PROBE_TOKENS)
        pieces = list(backend.start([Message("user", question)], name, sampling, ""))
        text = "".join(piece.text for piece in pieces)
        answers.append(tokens_of(engine, text, pieces[-1].finish_reason or "stop"))
    backend.close(0)
    return answers


def served(engine: Engine, name: str) -> list[list[int]]:
    """The service's answers to the probes, one after the other: on some processors company changes the last bits."""
    assistant = LocalAssistant(InProcess(engine), load_router(engine.home, "fixed", engine))
    with (
        local_service(assistant) as url,
        OpenAI(base_url=url, api_key="none", max_retries=0) as client,
    ):
        answers = asked(client, name, engine)
    assistant.close(0)
    return answers


def asked(client: OpenAI, model: str, engine: Engine) -> list[list[int]]:
    """The tokens of an endpoint's greedy answers."""
    return [ask(client, model, engine, question) for question in PROBES]


def ask(client: OpenAI, model: str, engine: Engine, question: str) -> list[int]:
    """The tokens of one greedy answer, read from its text."""
    reply = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": question}], max_tokens=PROBE_TOKENS, temperature=0
    )
    return tokens_of(engine, reply.choices[0].message.content or "", reply.choices[0].finish_reason)


def tokens_of(engine: Engine, text: str, reason: str) -> list[int]:
    """The tokens of a text; one that ended by itself ends with the end of the turn."""
    ids = engine.tokenizer.encode(text, add_special_tokens=False)
    return [*ids, engine.tokenizer.eos_token_id] if reason == "stop" else list(ids)


def endpoint_agreements(engine: Engine, url: str, key: str | None) -> Iterator[Agreement]:
    """Every expert at another endpoint, against this process. A share: its kernels round differently."""
    with OpenAI(base_url=url, api_key=key or "none", max_retries=0) as client:
        try:
            there = [model.id for model in client.models.list()]
            for name in engine.experts:
                yield endpoint_agreement(engine, name, url, client, name_there(name, there))
        except openai.OpenAIError as error:
            raise UserError(f"The endpoint {url} cannot be used ({type(error).__name__}). Is it started?") from None


def endpoint_agreement(engine: Engine, name: str, url: str, client: OpenAI, found: str | None) -> Agreement:
    """One expert; `found` is its name there."""
    title = f"{url} answers as this process ({name})"
    if found is None:
        return Agreement(title, None, False)
    with engine.using(name) as model:
        here = retold(engine, greedy(model, engine.tokenizer))
    return Agreement(title, same_share(here, asked(client, found, engine)), False)


@torch.no_grad()
def retraced_share(engine: Engine, model: Any, answers: Sequence[Sequence[int]]) -> float:
    """The share of the tokens of answers that a model would have taken too, each after those before it: one that is
    decided otherwise by rounding does not count for the rest of its answer."""
    found: list[bool] = []
    for question, answer in zip(PROBES, answers, strict=True):
        ids = prompt_ids(engine.tokenizer, [Message("user", question)])
        row = torch.tensor([[*ids, *answer]], device=model.device)
        best = model(input_ids=row, use_cache=False).logits[0, len(ids) - 1 : -1].argmax(-1).tolist()
        found += [mine == given for mine, given in zip(best, answer, strict=True)]
    return sum(found) / max(1, len(found))


@torch.no_grad()
def effects(engine: Engine) -> Mapping[str, float]:
    """How much each adapter changes the probabilities (nats, the largest change over the probes' next tokens)."""
    bare = next_logprobs(engine, None)
    return {
        name: float((next_logprobs(engine, name) - bare).abs().max())
        for name, expert in engine.experts.items()
        if expert.has_adapter
    }


def next_logprobs(engine: Engine, name: str | None) -> torch.Tensor:
    """Log-probabilities of the next token after each probe, (probes, V); tokens below e^-10 count as that."""
    found = []
    for question in PROBES:
        ids = torch.tensor([prompt_ids(engine.tokenizer, [Message("user", question)])])
        with engine.mixing([name]) as model:
            logits = model(input_ids=ids.to(model.device), use_cache=False, logits_to_keep=1).logits
        found.append(logits[0, -1].float().log_softmax(-1).clamp_min(-10))
    return torch.stack(found)


def retold(engine: Engine, answers: Sequence[Sequence[int]]) -> list[list[int]]:
    """Tokens as they come back from their text, as an endpoint's do."""
    end = engine.tokenizer.eos_token_id
    return [tokens_of(engine, decoded(engine, answer), "stop" if end in answer else "length") for answer in answers]


def decoded(engine: Engine, tokens: Sequence[int]) -> str:
    """The text of tokens."""
    text: Any = engine.tokenizer.decode(list(tokens), skip_special_tokens=True)
    return str(text)
