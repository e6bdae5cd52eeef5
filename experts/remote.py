"""Answers from a model behind any OpenAI-compatible endpoint, so that others can be compared in the same report."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from domains.errors import UserError
from experts.answers import Decoding, Prompt, failed
from experts.digests import digest_of
from experts.generate import Generated, Keep
from judges.endpoint import Refused
from judges.endpoints import AnyEndpoint

GIVE_UP_AFTER = 3


@dataclass(frozen=True)
class RemoteModel:
    """A model of an endpoint, asked at temperature 0, a few requests at a time, each with the endpoint's retries."""

    endpoint: AnyEndpoint

    @property
    def digest(self) -> str:
        """The URL and the name: whoever changes the model behind them must change one, or begin a new home."""
        return digest_of(["endpoint", self.endpoint.url, self.endpoint.model_name])

    def answer(self, prompts: Sequence[Prompt], decoding: Decoding, keep: Keep) -> None:
        """Ask for every prompt. One that is refused or lost fails; an endpoint that never works is a UserError."""
        with self.endpoint.open() as client:
            caller = Caller(self.endpoint, client, decoding.max_new_tokens)
            self.endpoint.map(lambda place: keep(place, caller.ask(prompts[place])), range(len(prompts)))


@dataclass
class Caller:
    """An open client that counts what came back."""

    endpoint: AnyEndpoint
    client: Any
    max_new_tokens: int
    num_answered: int = 0
    num_lost: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, prompt: Prompt) -> Generated:
        """One answer, or why there is none; raises when the first few requests got no reply at all."""
        messages = [message.as_dict() for message in prompt]
        try:
            reply = self.endpoint.complete(self.client, messages, max_tokens=self.max_new_tokens)
        except Refused as error:
            self.count(answered=True)
            return failed(f"refused: {error}")
        except UserError as error:
            if self.count(answered=False):
                raise
            return failed(str(error))
        self.count(answered=True)
        if reply.finish_reason == "content_filter":
            return failed("the endpoint filtered its answer")
        return Generated(reply.text.strip(), reply.finish_reason == "stop", reply.num_tokens)

    def count(self, answered: bool) -> bool:
        """Count a request; True when it is time to give up."""
        with self.lock:
            self.num_answered += answered
            self.num_lost += not answered
            return not self.num_answered and self.num_lost >= GIVE_UP_AFTER
