"""Who writes training rows: a model of an OpenAI-compatible endpoint, or the embedded model in this process."""

from __future__ import annotations

import atexit
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from domains.errors import UserError
from domains.example import Message
from experts.builders._parts import Ask, Failed, Skipped, Writers
from judges.endpoint import Refused
from judges.endpoints import AnyEndpoint, endpoints_of

MAX_TOKENS = 700
LOCAL = "local"


@contextmanager
def open_writers(strong: AnyEndpoint | None, weak: AnyEndpoint | None) -> Iterator[Writers]:
    """Writers for one run; None is the embedded model, which is loaded once for both."""
    local = local_ask() if strong is None or weak is None else None
    with open_ask(strong, local) as first, open_ask(weak, local) as second:
        yield Writers(first, second)


@contextmanager
def open_ask(endpoint: AnyEndpoint | None, local: Ask | None) -> Iterator[Ask]:
    """How one writer is asked."""
    if endpoint is None:
        assert local is not None
        yield local
        return
    with endpoint.open() as opened:
        client: Any = opened

        def ask(messages: Sequence[Message]) -> str:
            turns = [message.as_dict() for message in messages]
            try:
                reply = endpoint.complete(client, turns, max_tokens=MAX_TOKENS)
            except Refused as error:
                raise Failed(f"refused: {error}") from None
            if reply.finish_reason not in {"stop", ""}:
                raise Skipped(f"the reply ended by '{reply.finish_reason}'.")
            return reply.text.strip()

        yield ask


@dataclass(frozen=True)
class ThereAsk:
    """Asks from whichever process it is called in; what that needs is opened there once."""

    url: str
    model: str
    key_env: str

    def __call__(self, messages: Sequence[Message]) -> str:
        """The reply."""
        return ask_of_process(self)(messages)


def asked_there(endpoint: AnyEndpoint | None, urls: str, key_env: str) -> ThereAsk:
    """A writer for the workers of a cluster. What this process's environment says of it is settled here: theirs may say
    something else."""
    if endpoint is None:
        return ThereAsk(LOCAL, "", key_env)
    return ThereAsk(urls or endpoint.url, endpoint.model_name, key_env)


@cache
def ask_of_process(asked: ThereAsk) -> Ask:
    """A writer that stays open until this process ends."""
    endpoint = endpoint_of(asked.url, asked.model, asked.key_env)
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(open_ask(endpoint, None if endpoint else local_ask()))


def local_ask() -> Ask:
    """The embedded model with the house instructions, greedily, one prompt at a time."""
    from experts.checkpoint import Checkpoint, load, load_tokenizer
    from experts.device import probe
    from experts.embedded import foundation_folder
    from experts.generate import generate
    from experts.house import SHIPPED

    device, folder = probe(), foundation_folder()
    model = load(Checkpoint(folder, SHIPPED), device.dtype, device.score_attention).to(device.name)
    tokenizer = load_tokenizer(folder)

    def ask(messages: Sequence[Message]) -> str:
        (found,) = generate(model, tokenizer, [messages], MAX_TOKENS)
        if not found.finished:
            raise Skipped("the local model did not end its reply.")
        return found.text.strip()

    return ask


def endpoint_of(url: str, model: str, key_env: str) -> AnyEndpoint | None:
    """The endpoint of some options; None for the embedded model."""
    if url == LOCAL:
        if model:
            raise UserError(f"--endpoint {LOCAL} has one model. Leave --model out, or give the URL of an endpoint.")
        return None
    return endpoints_of(url, model, key_env)


def identity(endpoint: AnyEndpoint | None) -> str:
    """What a row depends on besides its item."""
    return f"{endpoint.url} {endpoint.model_name}" if endpoint else LOCAL
