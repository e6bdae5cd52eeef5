"""An OpenAI-compatible endpoint: where it is, bounded retries with back-off, a budget, several requests at once."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import openai
from openai import OpenAI

from domains.errors import UserError
from judges.pace import Budget, Pace, Refused, Spent, pause_seconds, retry_after_seconds

__all__ = ["Budget", "Endpoint", "Refused", "Reply", "Spent", "read_reply"]

LOCAL = "http://127.0.0.1:8000/v1"
OVERLOADED = frozenset({408, 409, 429})
UNUSABLE = frozenset({401, 403, 404})
CHARACTERS_PER_TOKEN = 4
RENAMED = {"max_tokens": "max_completion_tokens"}
STRIKES = 3
MODEL_VARIABLE = "EXPERTSMITH_JUDGE_MODEL"

Item = TypeVar("Item")
Result = TypeVar("Result")


class Unusable(UserError):
    """The endpoint answers, but will never serve this model with this key."""


class Lost(UserError):
    """A request got no reply: there is no connection, or it broke."""


class Late(Lost):
    """A request got no reply in time: the endpoint hangs, or this request alone takes too long."""


@dataclass
class Health:
    """Whether an endpoint has ever replied, and how many requests in a row got no reply since."""

    has_replied: bool = False
    num_lost: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def replied(self) -> None:
        """A request got its reply."""
        with self.lock:
            self.has_replied, self.num_lost = True, 0

    def is_down_after_loss(self) -> bool:
        """Count a request without a reply; whether the endpoint is to blame, and not this request alone."""
        with self.lock:
            self.num_lost += 1
            return not self.has_replied or self.num_lost >= STRIKES


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
    """Settings; "" takes OPENAI_BASE_URL (else the local service) and EXPERTSMITH_JUDGE_MODEL (else `general`).

    `pace`, `budget` and `health` are shared by all requests over this object.
    """

    base_url: str = ""
    model: str = ""
    api_key_env: str = "OPENAI_API_KEY"
    timeout_seconds: float = 120.0
    retries: int = 2
    concurrency: int = 4
    pace: Pace = field(default_factory=Pace, compare=False)
    budget: Budget = field(default_factory=Budget, compare=False)
    health: Health = field(default_factory=Health, compare=False, repr=False)

    @property
    def url(self) -> str:
        """Where requests go."""
        return self.base_url or os.environ.get("OPENAI_BASE_URL") or LOCAL

    @property
    def model_name(self) -> str:
        """The model that is asked for."""
        return self.model or os.environ.get(MODEL_VARIABLE) or "general"

    @contextmanager
    def open(self) -> Iterator[OpenAI]:
        """A client, closed at the end; a local service needs no key. Retries are ours, so that they share one pace."""
        key = os.environ.get(self.api_key_env) or "none"
        try:
            client = OpenAI(base_url=self.url, api_key=key, timeout=self.timeout_seconds, max_retries=0)
        except openai.OpenAIError as error:
            raise UserError(f"The endpoint {self.url} cannot be used: {error} {self.advice}") from None
        with client:
            yield client

    def complete(self, client: OpenAI, messages: Sequence[Mapping[str, str]], **options: Any) -> Reply:
        """One reply at temperature 0. An endpoint that cannot be used at all is a UserError, else `Refused`: so is a
        request without a reply where others have got theirs, until `STRIKES` in a row have none."""
        try:
            reply = self.ask(client, messages, **options)
        except Lost as error:
            if self.health.is_down_after_loss():
                raise
            raise Refused(str(error), for_now=True) from None
        self.health.replied()
        return reply

    def ask(self, client: OpenAI, messages: Sequence[Mapping[str, str]], **options: Any) -> Reply:
        """One reply at temperature 0; `Refused`, `Lost` (no reply at all) or `Unusable` without one.

        Failed connections, overload and server errors are tried again; an option that the model does not know under
        its old name (`max_tokens`) or not at all (`temperature`) is changed once.
        """
        wanted = {"temperature": 0, **options}
        attempt = 0
        while True:
            self.pace.wait()
            self.budget.take()
            try:
                reply = client.chat.completions.create(
                    model=self.model_name, messages=cast(Any, messages), **cast(Any, wanted)
                )
            except openai.OpenAIError as error:
                changed = without_refused_option(wanted, error)
                if changed is not None:
                    wanted = changed
                elif attempt < self.retries and is_transient(error):
                    self.pace.back_off(pause_seconds(headers_of(error), attempt))
                    attempt += 1
                else:
                    raise self.failure(error) from None
            else:
                found = read_reply(reply)
                self.budget.add_tokens(total_tokens(reply, messages, found))
                return found

    def failure(self, error: openai.OpenAIError) -> Exception:
        """What an error means for the caller: a UserError when nothing can be asked here, else `Refused`."""
        if isinstance(error, openai.APIConnectionError):
            kind = Late if isinstance(error, openai.APITimeoutError) else Lost
            return kind(self.unreachable(error))
        if isinstance(error, openai.APIStatusError) and error.status_code in UNUSABLE:
            return Unusable(
                f"The endpoint {self.url} refused model '{self.model_name}' (HTTP {error.status_code}). {self.advice}"
            )
        return Refused(str(error), is_transient(error), retry_after_seconds(headers_of(error)))

    def map(self, work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """The results in order, `concurrency` at a time; the first error cancels what has not begun."""
        return side_by_side(work, items, self.concurrency)

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
            f"{MODEL_VARIABLE} to one of its models and {self.api_key_env} to its key."
        )


def side_by_side(work: Callable[[Item], Result], items: Sequence[Item], concurrency: int) -> list[Result]:
    """The results in order, so many at a time; a slow item holds back no other, the first error those not begun."""
    with ThreadPoolExecutor(max_workers=max(1, concurrency)) as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            return [future.result() for future in futures]
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def is_transient(error: openai.OpenAIError) -> bool:
    """Whether the same request may succeed later."""
    if isinstance(error, openai.APIStatusError):
        return error.status_code in OVERLOADED or error.status_code >= 500
    return isinstance(error, openai.APIConnectionError)


def headers_of(error: openai.OpenAIError) -> Mapping[str, str]:
    """The headers of an error reply; empty when there was no reply."""
    return error.response.headers if isinstance(error, openai.APIStatusError) else {}


def without_refused_option(options: Mapping[str, Any], error: openai.OpenAIError) -> dict[str, Any] | None:
    """The options without the one that a 400 names in its `param`, renamed where it has a newer name; else None."""
    if not isinstance(error, openai.BadRequestError) or error.param not in {"temperature", *RENAMED} & options.keys():
        return None
    rest = {name: value for name, value in options.items() if name != error.param}
    renamed = {RENAMED[error.param]: options[error.param]} if error.param in RENAMED else {}
    return rest | renamed


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


def total_tokens(reply: Any, messages: Sequence[Mapping[str, str]], found: Reply) -> int:
    """Tokens of a request and its reply as the endpoint counts them, else by the number of characters."""
    counted = getattr(getattr(reply, "usage", None), "total_tokens", None)
    if isinstance(counted, int) and counted > 0:
        return counted
    characters = sum(len(message["content"]) for message in messages) + len(found.text)
    return characters // CHARACTERS_PER_TOKEN + 1
