"""An OpenAI-compatible endpoint: where it is, bounded retries, timeouts, several requests at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import openai
from openai import OpenAI

from domains.errors import UserError

LOCAL = "http://127.0.0.1:8000/v1"

Item = TypeVar("Item")
Result = TypeVar("Result")


class Refused(Exception):
    """The endpoint is there but did not serve this one request (too long, filtered, overloaded, unknown option)."""


@dataclass(frozen=True)
class Reply:
    """The text of a reply and, if asked for and given, the log-probabilities (nats) of its first token's candidates;
    why it ended ("stop", "length", ...), and its number of tokens (0 when the endpoint does not say)."""

    text: str
    top_logprobs: Mapping[str, float]
    finish_reason: str = ""
    num_tokens: int = 0


@dataclass(frozen=True)
class Endpoint:
    """Settings; "" takes OPENAI_BASE_URL (else the local service) and EXPERTSMITH_JUDGE_MODEL (else `general`)."""

    base_url: str = ""
    model: str = ""
    api_key_env: str = "OPENAI_API_KEY"
    timeout_seconds: float = 120.0
    retries: int = 2
    concurrency: int = 4

    @property
    def url(self) -> str:
        """Where requests go."""
        return self.base_url or os.environ.get("OPENAI_BASE_URL") or LOCAL

    @property
    def model_name(self) -> str:
        """The model that is asked for."""
        return self.model or os.environ.get("EXPERTSMITH_JUDGE_MODEL") or "general"

    @contextmanager
    def open(self) -> Iterator[OpenAI]:
        """A client, closed at the end; a local service needs no key."""
        key = os.environ.get(self.api_key_env) or "none"
        try:
            client = OpenAI(base_url=self.url, api_key=key, timeout=self.timeout_seconds, max_retries=self.retries)
        except openai.OpenAIError as error:
            raise UserError(f"The endpoint {self.url} cannot be used: {error} {self.advice}") from None
        with client:
            yield client

    def complete(self, client: OpenAI, messages: Sequence[Mapping[str, str]], **options: Any) -> Reply:
        """One reply at temperature 0. An endpoint that cannot be used at all is a UserError, else `Refused`."""
        try:
            reply = client.chat.completions.create(
                model=self.model_name, messages=cast(Any, messages), temperature=0, **options
            )
        except openai.APIConnectionError as error:
            raise UserError(self.unreachable(error)) from None
        except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError) as error:
            raise UserError(
                f"The endpoint {self.url} refused model '{self.model_name}' (HTTP {error.status_code}). {self.advice}"
            ) from None
        except openai.OpenAIError as error:
            raise Refused(str(error)) from None
        return read_reply(reply)

    def map(self, work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """The results in order, `concurrency` at a time; the first error cancels what has not begun."""
        with ThreadPoolExecutor(max_workers=max(1, self.concurrency)) as pool:
            futures = [pool.submit(work, item) for item in items]
            try:
                return [future.result() for future in futures]
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def unreachable(self, error: openai.APIConnectionError) -> str:
        """The message for an endpoint that does not answer."""
        what = f"did not answer within {self.timeout_seconds:g} s"
        if not isinstance(error, openai.APITimeoutError):
            what = f"cannot be reached ({error.__cause__ or error})"
        return f"The endpoint {self.url} {what}, tried {self.retries + 1} times. {self.advice}"

    @property
    def advice(self) -> str:
        """What a user can set."""
        return (
            "Start 'expertsmith serve', or set OPENAI_BASE_URL to an OpenAI-compatible endpoint, "
            f"EXPERTSMITH_JUDGE_MODEL to one of its models and {self.api_key_env} to its key."
        )


def read_reply(reply: Any) -> Reply:
    """The first choice; a reply without one is `Refused`."""
    choices = getattr(reply, "choices", None)
    if not isinstance(choices, list) or not choices or choices[0].message is None:
        raise Refused("the reply has no message")
    logprobs = choices[0].logprobs
    first = logprobs.content[0] if logprobs and logprobs.content else None
    top = {item.token: float(item.logprob) for item in (first.top_logprobs or [])} if first else {}
    usage = getattr(reply, "usage", None)
    num_tokens = getattr(usage, "completion_tokens", None) or 0
    return Reply(choices[0].message.content or "", top, choices[0].finish_reason or "", int(num_tokens))
