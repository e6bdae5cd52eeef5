"""The OpenAI chat protocol as this service speaks it: bounded requests in, bodies out.

Protocol: https://platform.openai.com/docs/api-reference/chat. Unknown request fields are ignored; a field that is known
and bad is refused by name. The routing decision travels in the namespaced field `expertsmith`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from domains.example import Message, Role
from router.assistant import Piece, Sampling
from router.route import Route

MAX_BODY_BYTES = 256 * 1024
MAX_MESSAGES = 64
MAX_CHARACTERS = 32_000
MAX_TOKENS = 1024
MAX_TOP_LOGPROBS = 20
OUR_ROLES: dict[str, Role] = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}

Body = dict[str, Any]
Request = TypeVar("Request", bound="Bounded")


class RequestError(Exception):
    """A request that is refused: HTTP status, message, and the field it is about (`param`, where there is one)."""

    def __init__(self, status: int, message: str, code: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param

    @property
    def body(self) -> Body:
        """The OpenAI error body."""
        kinds = {401: "authentication_error", 429: "rate_limit_error", 500: "server_error"}
        return error_body(self.message, kinds.get(self.status, "invalid_request_error"), self.code, self.param)


class Bounded(BaseModel):
    """Types are not coerced ("5" is no number); fields that we do not know are ignored."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class TextPart(Bounded):
    """A part of a message; only text is understood."""

    type: Literal["text"]
    text: str


class Turn(Bounded):
    """One message of the request; `content` is a text or a list of text parts."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | tuple[TextPart, ...]

    @property
    def message(self) -> Message:
        """The message in our own form; a developer message is a system message."""
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return Message(OUR_ROLES[self.role], text)


Turns = Annotated[tuple[Turn, ...], Field(min_length=1, max_length=MAX_MESSAGES)]


def as_tuple(value: Any) -> Any:
    """One text or a list of texts as a tuple; anything else is left for the field to refuse."""
    if isinstance(value, list):
        return tuple(value)
    return (value,) if isinstance(value, str) else value


Stop = Annotated[str, Field(min_length=1, max_length=200)]
Stops = Annotated[tuple[Stop, ...], Field(max_length=4), BeforeValidator(as_tuple)]


class StreamOptions(Bounded):
    """`include_usage` adds a last chunk with the token counts."""

    include_usage: bool | None = None


class ChatRequest(Bounded):
    """The body of POST /v1/chat/completions; every optional field may also be null."""

    model: Annotated[str, Field(min_length=1, max_length=200)]
    messages: Turns
    max_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    n: Annotated[int, Field(ge=1, le=1)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Stops | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_TOP_LOGPROBS)] | None = None

    @model_validator(mode="after")
    def check_together(self) -> Self:
        """Rules over more than one field; the field to change is the error's type."""
        check_turns(self.messages)
        if self.logprobs and self.token_limit != 1:
            raise PydanticCustomError("logprobs", "is supported with max_tokens = 1 only")
        if self.logprobs and self.stream:
            raise PydanticCustomError("logprobs", "is not supported with stream = true")
        if self.top_logprobs is not None and not self.logprobs:
            raise PydanticCustomError("top_logprobs", "needs logprobs = true")
        return self

    @property
    def token_limit(self) -> int:
        """The longest answer in tokens; `max_completion_tokens` is the newer name and wins."""
        return self.max_completion_tokens or self.max_tokens or Sampling().max_tokens

    @property
    def conversation(self) -> tuple[Message, ...]:
        """The messages in our own form."""
        return tuple(turn.message for turn in self.messages)

    @property
    def wants_usage_chunk(self) -> bool:
        """A stream should end with the token counts."""
        return bool(self.stream_options and self.stream_options.include_usage)

    @property
    def sampling(self) -> Sampling:
        """How to generate; what the request leaves open keeps our defaults (greedy)."""
        default = Sampling()
        return Sampling(
            max_tokens=self.token_limit,
            temperature=default.temperature if self.temperature is None else self.temperature,
            top_p=default.top_p if self.top_p is None else self.top_p,
            seed=self.seed,
            stop=self.stop or (),
        )


class RouteRequest(Bounded):
    """The body of POST /v1/route: either a text or messages."""

    text: Annotated[str, Field(min_length=1, max_length=MAX_CHARACTERS)] | None = None
    messages: Turns | None = None

    @model_validator(mode="after")
    def check_together(self) -> Self:
        """Exactly one of the two, with something to read in it."""
        if (self.text is None) == (self.messages is None):
            raise PydanticCustomError("text", "or messages must be given, and only one of them")
        if self.text is not None and not self.text.strip():
            raise PydanticCustomError("text", "is blank; write the request to route")
        if self.messages is not None:
            check_turns(self.messages)
        return self

    @property
    def conversation(self) -> tuple[Message, ...]:
        """The request as messages."""
        if self.messages is None:
            return (Message("user", self.text or ""),)
        return tuple(turn.message for turn in self.messages)


def check_turns(turns: Sequence[Turn]) -> None:
    """Refuse conversations that are too long or that ask nothing."""
    messages = [turn.message for turn in turns]
    num_characters = sum(len(message.content) for message in messages)
    if num_characters > MAX_CHARACTERS:
        raise PydanticCustomError(
            "messages", f"hold {num_characters:,} characters; at most {MAX_CHARACTERS:,}. Shorten the conversation"
        )
    if not any(message.role == "user" and message.content.strip() for message in messages):
        raise PydanticCustomError("messages", "need at least one user message with text")


def parse(form: type[Request], body: bytes) -> Request:
    """The request in a JSON body; a bad field is a RequestError that names it."""
    try:
        return form.model_validate_json(body)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False)
        raise bad_field(max(problems, key=lambda problem: len(problem["loc"]))) from None


def bad_field(error: ErrorDetails) -> RequestError:
    """The refusal for the first problem that pydantic found."""
    if error["type"] == "json_invalid":
        return RequestError(400, f"{error['msg']}. Send one JSON object.", "invalid_json")
    if error["type"] == "model_type" and not error["loc"]:
        return RequestError(400, "The body must be one JSON object.", "invalid_body")
    if not error["loc"]:
        return RequestError(400, f"{error['type']} {error['msg']}.", "invalid_value", error["type"])
    param = field_name(error["loc"])
    reason = error["msg"][0].lower() + error["msg"][1:].replace(" after validation", "")
    reason = reason.replace("tuple", "list")
    return RequestError(400, f"{param}: {reason}{given(error['input'])}.", "invalid_value", param)


def given(value: object) -> str:
    """What was given, where that is short enough to repeat."""
    return f", not {value!r}" if isinstance(value, int | float | str) and len(repr(value)) <= 60 else ""


def field_name(location: Sequence[int | str]) -> str:
    """`messages[0].role` from pydantic's location; the arms of a union are not part of the name."""
    names = [part for part in location if isinstance(part, int) or part.isidentifier()]
    arms = {"str", "tuple"}
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in names if part not in arms)
    return text.removeprefix(".")


def error_body(message: str, kind: str, code: str | None, param: str | None = None) -> Body:
    """The OpenAI error body."""
    return {"error": {"message": message, "type": kind, "code": code, "param": param}}


def notice_for(expert: str, notices: Mapping[str, str]) -> str:
    """The notice of the domain that an expert belongs to (`mortgage` of `mortgage/structured`), empty without one."""
    return notices.get(expert.partition("/")[0], "")


def route_body(route: Route, notice: str = "") -> Body:
    """The namespaced field: the routing decision, with the domain's notice where there is one."""
    return route.as_dict() | ({"notice": notice} if notice else {})


def model_body(name: str, created: int) -> Body:
    """One entry of the model list."""
    return {"id": name, "object": "model", "created": created, "owned_by": "expertsmith"}


def usage_body(last: Piece) -> Body:
    """Token counts, from the last piece of an answer."""
    return {
        "prompt_tokens": last.prompt_tokens,
        "completion_tokens": last.completion_tokens,
        "total_tokens": last.prompt_tokens + last.completion_tokens,
    }


def completion_body(head: Body, text: str, finish_reason: str, logprobs: Body | None = None) -> Body:
    """A whole answer; `head` has id, created, model and expertsmith."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": finish_reason, "logprobs": logprobs}
    return head | {"object": "chat.completion", "choices": [choice]}


def chunk_body(head: Body, delta: Body, finish_reason: str | None = None) -> Body:
    """A piece of a streamed answer."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return head | {"object": "chat.completion.chunk", "choices": [choice]}


def logprobs_body(logprobs: Mapping[str, float], top: int) -> Body:
    """The `logprobs` of an answer of one token, the most likely first; minus infinity becomes -9999."""
    ranked = sorted(logprobs.items(), key=lambda item: -item[1])
    entries = [
        {"token": token, "logprob": value if math.isfinite(value) else -9999.0, "bytes": list(token.encode())}
        for token, value in ranked
    ]
    return {"content": [entries[0] | {"top_logprobs": entries[:top]}], "refusal": None}
