"""Another OpenAI-compatible server generates the answers, for those who outgrow one machine: vLLM with an adapter per
expert, or anything that speaks the protocol. Routing, limits and the API stay here. See docs/serving.md.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import openai
from openai import OpenAI

from domains.errors import UserError
from domains.example import Message
from judges.pace import retry_after_seconds
from router.assistant import Answer, BackendFailed, Busy, Closing, Piece, Sampling, TimedOut, TokenLogprob
from router.scheduler import Limits

PROBE_SECONDS = 10.0


@dataclass
class OpenAIServer:
    """Experts by the names that the server has for them. One thread per running answer."""

    client: OpenAI
    models: dict[str, str]
    limits: Limits = Limits()
    running: dict[Answer, str] = field(default_factory=dict)
    changed: threading.Condition = field(default_factory=threading.Condition)
    finished: int = 0
    closing: bool = False

    @property
    def experts(self) -> tuple[str, ...]:
        """Names of the experts."""
        return tuple(self.models)

    def check_room(self, client: str, num_answers: int) -> None:
        """Refuse more requests than may be under way, in all or of one client."""
        with self.changed:
            if self.closing:
                raise Closing("The service is shutting down.")
            mine = sum(name == client for name in self.running.values())
            if len(self.running) >= self.limits.max_waiting or mine >= self.limits.max_waiting_per_client:
                raise Busy(f"{len(self.running)} requests are under way already.")

    def start(self, messages: Sequence[Message], expert: str, sampling: Sampling, client: str) -> Answer:
        """Begin an answer; what goes wrong with it is told by the answer."""
        answer = Answer(sampling.num_answers)
        with self.changed:
            self.check_room(client, sampling.num_answers)
            self.running[answer] = client
        options = request_options(messages, sampling) | {"model": self.models[expert]}
        threading.Thread(target=self.fetch, args=(answer, options), name="fetch", daemon=True).start()
        return answer

    def fetch(self, answer: Answer, options: dict[str, Any]) -> None:
        """Pass on the pieces of one answer, until it is whole, too late, or nobody reads it."""
        late = TimedOut(f"The answer was not finished within {self.limits.seconds:g} seconds.")
        clock = threading.Timer(self.limits.seconds, answer.fail, [late])
        clock.daemon = True
        clock.start()
        try:
            with failures_told(answer):
                for piece in self.pieces(answer, options):
                    answer.put(piece)
        finally:
            clock.cancel()
            with self.changed:
                self.running.pop(answer, None)
                self.finished += 1
                self.changed.notify_all()

    def pieces(self, answer: Answer, options: dict[str, Any]) -> Iterator[Piece]:
        """The pieces as they come; each answer's last one waits for the token counts at the end of the stream."""
        last: dict[int, Piece] = {}
        calls = Calls()
        usage = None
        with self.client.chat.completions.create(**options, timeout=self.limits.seconds) as stream:
            for chunk in stream:
                if answer.closed:
                    return
                usage = chunk.usage or usage
                for choice in chunk.choices:
                    calls.add(choice)
                    if choice.delta.content or choice.logprobs:
                        yield Piece(choice.delta.content or "", choice=choice.index, logprobs=logprobs_in(choice))
                    if choice.finish_reason:
                        reason = "length" if choice.finish_reason == "length" else "stop"
                        last[choice.index] = Piece(calls.text(choice.index), reason, choice=choice.index)
        prompt, completion = (usage.prompt_tokens, usage.completion_tokens) if usage else (0, 0)
        for place in range(options["n"]):
            piece = last.get(place, Piece("", "stop", choice=place))
            yield Piece(piece.text, piece.finish_reason, prompt, completion if place == 0 else 0, place)

    def rewards(self, messages: Sequence[Message], expert: str, answers: Sequence[str]) -> list[float]:
        """The server has no heads."""
        raise UserError("best_of needs the experts in this process. Leave it out, or serve without --backend.")

    def digest(self, expert: str) -> str:
        """Nobody says which weights a server of another kind has."""
        return ""

    def gauges(self) -> dict[str, float]:
        """What is under way and done."""
        return {"running": float(len(self.running)), "waiting": 0.0, "finished": float(self.finished)}

    def is_ready(self) -> bool:
        """Whether the server answers."""
        try:
            return not self.closing and bool(self.client.models.list(timeout=PROBE_SECONDS))
        except openai.OpenAIError:
            return False

    def close(self, seconds: float) -> int:
        """Wait for what is under way, then tell the rest."""
        deadline = time.monotonic() + seconds
        with self.changed:
            self.closing = True
            while self.running and time.monotonic() < deadline:
                self.changed.wait(deadline - time.monotonic())
            left = list(self.running)
        for answer in left:
            answer.fail(Closing("The service shut down before the answer was finished."))
        return len(left)


def connect(url: str, key: str | None, experts: Sequence[str], limits: Limits | None = None) -> OpenAIServer:
    """A server that has a model for each expert: under its name, or with `__` or `--` for the slash."""
    client = OpenAI(base_url=url, api_key=key or "none", max_retries=0, timeout=PROBE_SECONDS)
    try:
        there = [model.id for model in client.models.list()]
    except openai.OpenAIError as error:
        raise UserError(
            f"The back-end {url} cannot be used ({type(error).__name__}). Is it started? {ADVICE}"
        ) from None
    models = {name: found for name in experts if (found := name_there(name, there))}
    missing = [name for name in experts if name not in models]
    if missing:
        raise UserError(
            f"The back-end {url} has no model for {', '.join(missing)}; it has {', '.join(there)}. {ADVICE}"
        )
    return OpenAIServer(client, models, limits or Limits())


ADVICE = "For vLLM: --enable-lora --lora-modules NAME=FOLDER for each expert (docs/serving.md)."


def name_there(expert: str, there: Sequence[str]) -> str | None:
    """What a server calls an expert, None where it does not have it."""
    names = (expert, expert.replace("/", "__"), expert.replace("/", "--"))
    return next((name for name in names if name in there), None)


def request_options(messages: Sequence[Message], sampling: Sampling) -> dict[str, Any]:
    """The request in the server's protocol."""
    options: dict[str, Any] = {
        "messages": [message.as_dict() for message in messages],
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "n": sampling.num_answers,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    optional = {
        "seed": sampling.seed,
        "stop": list(sampling.stop) or None,
        "logprobs": None if sampling.logprobs is None else True,
        "top_logprobs": sampling.logprobs or None,
        "tools": json.loads(sampling.tools) if sampling.tools else None,
        "tool_choice": choice_option(sampling) if sampling.tools else None,
        "parallel_tool_calls": False if sampling.tools and not sampling.parallel_calls else None,
        "response_format": schema_option(sampling.json_schema) if sampling.json_schema else None,
    }
    return options | {name: value for name, value in optional.items() if value is not None}


def choice_option(sampling: Sampling) -> str | dict[str, Any] | None:
    """The `tool_choice` of the protocol; None leaves it to the server."""
    if sampling.call_only:
        return {"type": "function", "function": {"name": sampling.call_only}}
    return "required" if sampling.call_required else None


def schema_option(json_schema: str) -> dict[str, Any]:
    """A schema as the `response_format` of the protocol."""
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": json.loads(json_schema), "strict": True}}


def logprobs_in(choice: Any) -> tuple[TokenLogprob, ...]:
    """The log-probabilities of a chunk."""
    entries = (choice.logprobs and choice.logprobs.content) or ()
    return tuple(TokenLogprob(e.token, e.logprob, tuple((t.token, t.logprob) for t in e.top_logprobs)) for e in entries)


@dataclass
class Calls:
    """Function calls that come in fragments, as the text that a model without such a protocol would have written."""

    found: dict[tuple[int, int], list[str]] = field(default_factory=dict)

    def add(self, choice: Any) -> None:
        """The fragments of a chunk."""
        for call in choice.delta.tool_calls or ():
            parts = self.found.setdefault((choice.index, call.index), ["", ""])
            parts[0] += call.function.name or ""
            parts[1] += call.function.arguments or ""

    def text(self, choice: int) -> str:
        """All calls of one answer."""
        return "".join(
            f'<tool_call>{{"name": {json.dumps(name)}, "arguments": {arguments or "{}"}}}</tool_call>'
            for (place, _), (name, arguments) in sorted(self.found.items())
            if place == choice
        )


@contextmanager
def failures_told(answer: Answer) -> Iterator[None]:
    """Tell the reader of anything that goes wrong, also while it is put into words: a reader waits until it is told."""
    try:
        yield
    except Exception as error:
        failure: Exception = BackendFailed("The back-end failed. Its own log says more.")
        try:
            failure = in_our_terms(error)
        finally:
            answer.fail(failure)


def in_our_terms(error: Exception) -> Exception:
    """What went wrong; of the server's words only those about the request."""
    if isinstance(error, openai.RateLimitError):
        return Busy("The back-end is busy.", retry_after_seconds(error.response.headers) or 1.0)
    if isinstance(error, openai.APITimeoutError):
        return TimedOut("The back-end did not answer in time.")
    if isinstance(error, openai.BadRequestError | openai.UnprocessableEntityError):
        return UserError(f"The back-end refused the request: {error.message}")
    return BackendFailed(f"The back-end failed ({type(error).__name__}). Its own log says more.")
