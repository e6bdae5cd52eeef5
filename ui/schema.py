"""The OpenAI chat protocol as this service reads it: bounded requests, checked once, here.

Protocol: https://platform.openai.com/docs/api-reference/chat. Unknown request fields are ignored; a field that is known
and bad is refused by name. `best_of` is an extension: the answers that the expert's preference head finds best.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from domains.example import Message
from domains.tool_calls import call_text, response_text
from router.assistant import Sampling
from ui.openai_errors import bad_field
from ui.tool_calls import call_of_wire, is_schema

MAX_BODY_BYTES = 256 * 1024
MAX_MESSAGES = 64
MAX_CHARACTERS = 32_000
MAX_TOKENS = 1024
MAX_TOP_LOGPROBS = 20
MAX_ANSWERS = 8
MAX_TOOLS = 32
MAX_SCHEMA_CHARACTERS = 16_000
MAX_ROUTED = 64

Request = TypeVar("Request", bound="Bounded")


class Bounded(BaseModel):
    """Types are not coerced ("5" is no number); fields that we do not know are ignored."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class TextPart(Bounded):
    """A part of a message; only text is understood."""

    type: Literal["text"]
    text: str


class CalledFunction(Bounded):
    """A function that an earlier answer called; its arguments are JSON text."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    arguments: str = "{}"


class ToolCall(Bounded):
    """A call in an earlier answer."""

    id: Annotated[str, Field(max_length=200)] | None = None
    function: CalledFunction


class Turn(Bounded):
    """One message of the request; `content` is a text or a list of text parts."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | tuple[TextPart, ...] | None = None
    tool_calls: Annotated[tuple[ToolCall, ...], Field(max_length=MAX_TOOLS)] | None = None
    tool_call_id: Annotated[str, Field(max_length=200)] | None = None

    @model_validator(mode="after")
    def check_content(self) -> Self:
        """Only an answer that calls functions may have no content."""
        if self.content is None and not (self.role == "assistant" and self.tool_calls):
            raise PydanticCustomError("content", "must be a text or a list of text parts")
        return self

    @property
    def text(self) -> str:
        """The content as one text."""
        parts = self.content or ""
        return parts if isinstance(parts, str) else "".join(part.text for part in parts)

    @property
    def message(self) -> Message:
        """The message in our own form: a developer message is a system message, and what a function returned is told by
        the user."""
        if self.role == "tool":
            return Message("user", response_text(self.text))
        if self.role == "assistant":
            calls = [call_of_wire(call.function.name, call.function.arguments) for call in self.tool_calls or ()]
            parts = [self.text, call_text(calls) if calls else ""]
            return Message("assistant", "\n".join(part for part in parts if part))
        return Message("user" if self.role == "user" else "system", self.text)


Turns = Annotated[tuple[Turn, ...], Field(min_length=1, max_length=MAX_MESSAGES)]


def as_tuple(value: Any) -> Any:
    """One text or a list of texts as a tuple; anything else is left for the field to refuse."""
    if isinstance(value, list):
        return tuple(value)
    return (value,) if isinstance(value, str) else value


Stop = Annotated[str, Field(min_length=1, max_length=200)]
Stops = Annotated[tuple[Stop, ...], Field(max_length=4), BeforeValidator(as_tuple, json_schema_input_type=Any)]


class StreamOptions(Bounded):
    """`include_usage` adds a last chunk with the token counts."""

    include_usage: bool | None = None


class NamedSchema(Bounded):
    """A JSON schema with its name."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    json_schema: Annotated[dict[str, Any], Field(alias="schema")]


class ResponseFormat(Bounded):
    """What the answer must look like."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: NamedSchema | None = None

    @model_validator(mode="after")
    def check_schema(self) -> Self:
        """A schema of bounded size exactly where it belongs."""
        if (self.type == "json_schema") != (self.json_schema is not None):
            raise PydanticCustomError("json_schema", 'goes with type = "json_schema", and only with it')
        if len(self.as_schema or "") > MAX_SCHEMA_CHARACTERS:
            raise PydanticCustomError("json_schema", f"is longer than {MAX_SCHEMA_CHARACTERS:,} characters")
        return self

    @property
    def as_schema(self) -> str | None:
        """The schema as JSON text; any object for `json_object`, None for plain text."""
        if self.json_schema is not None:
            return json.dumps(self.json_schema.json_schema)
        return json.dumps({"type": "object"}) if self.type == "json_object" else None


class DeclaredFunction(Bounded):
    """A function that may be called; `parameters` is the JSON schema of its arguments."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)
    name: Annotated[str, Field(min_length=1, max_length=200)]
    parameters: dict[str, Any] | None = None

    @model_validator(mode="after")
    def check_parameters(self) -> Self:
        """What is no schema could not be shown to a model."""
        if not is_schema(self.parameters or {}):
            raise PydanticCustomError("parameters", "must be a JSON schema: an object with type, properties, required")
        return self


class Tool(Bounded):
    """A tool that may be used; only functions are known."""

    type: Literal["function"]
    function: DeclaredFunction


class NamedFunction(Bounded):
    """A function by its name."""

    name: Annotated[str, Field(min_length=1, max_length=200)]


class ToolChoice(Bounded):
    """Whether a function may (`auto`), may not (`none`) or must (`required`) be called, or must be this one."""

    type: Literal["auto", "none", "required", "function"]
    function: NamedFunction | None = None

    @model_validator(mode="after")
    def check_function(self) -> Self:
        """A name exactly where it belongs."""
        if (self.type == "function") != (self.function is not None):
            raise PydanticCustomError("function", 'goes with type = "function", and only with it')
        return self


def as_choice(value: Any) -> Any:
    """A word as the object that it stands for."""
    if isinstance(value, str) and value not in ("auto", "none", "required"):
        raise ValueError("a choice is auto, none, required or an object that names a function")
    return {"type": value} if isinstance(value, str) else value


Choice = Annotated[ToolChoice, BeforeValidator(as_choice, json_schema_input_type=Any)]


class ChatRequest(Bounded):
    """The body of POST /v1/chat/completions; every optional field may also be null."""

    model: Annotated[str, Field(min_length=1, max_length=200)]
    messages: Turns
    max_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    n: Annotated[int, Field(ge=1, le=MAX_ANSWERS)] | None = None
    best_of: Annotated[int, Field(ge=1, le=MAX_ANSWERS)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Stops | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_TOP_LOGPROBS)] | None = None
    response_format: ResponseFormat | None = None
    tools: Annotated[tuple[Tool, ...], Field(max_length=MAX_TOOLS)] | None = None
    tool_choice: Choice | None = None
    parallel_tool_calls: bool | None = None

    @model_validator(mode="after")
    def check_together(self) -> Self:
        """Rules over more than one field; the field to change is the error's type."""
        check_turns(self.messages)
        if self.top_logprobs is not None and not self.logprobs:
            raise PydanticCustomError("top_logprobs", "needs logprobs = true")
        if len(self.declared_tools or "") > MAX_SCHEMA_CHARACTERS:
            raise PydanticCustomError("tools", f"are longer than {MAX_SCHEMA_CHARACTERS:,} characters")
        self.check_tools()
        if self.best_of is not None:
            self.check_best_of(self.best_of)
        return self

    def check_tools(self) -> None:
        """Functions have different names, and what must be called is among them."""
        names = [tool.function.name for tool in self.tools or ()]
        if len(set(names)) < len(names):
            raise PydanticCustomError("tools", "hold two functions of the same name")
        if self.tool_choice is None or self.tool_choice.type in ("auto", "none"):
            return
        if not names:
            raise PydanticCustomError("tool_choice", "asks for a call, but there are no tools")
        if self.response_format is not None and self.response_format.as_schema:
            raise PydanticCustomError("tool_choice", "asks for a call, response_format for something else; drop one")
        if self.call_only is not None and self.call_only not in names:
            raise PydanticCustomError("tool_choice", "names a function that is not in tools")

    def check_best_of(self, best_of: int) -> None:
        """What choosing among several answers needs."""
        if best_of < (self.n or 1):
            raise PydanticCustomError("best_of", "must be at least n")
        if self.stream and best_of > 1:
            raise PydanticCustomError("best_of", "is not supported with stream = true: the best is known at the end")
        if self.temperature == 0 and best_of > 1:
            raise PydanticCustomError("best_of", "needs a temperature above 0: greedy answers are all the same")

    @property
    def token_limit(self) -> int:
        """The longest answer in tokens; `max_completion_tokens` is the newer name and wins."""
        return self.max_completion_tokens or self.max_tokens or Sampling().max_tokens

    @property
    def conversation(self) -> tuple[Message, ...]:
        """The messages in our own form; the results of several calls are one message."""
        return tuple(joined(self.messages))

    @property
    def wants_usage_chunk(self) -> bool:
        """A stream should end with the token counts."""
        return bool(self.stream_options and self.stream_options.include_usage)

    @property
    def chooses(self) -> bool:
        """Whether the expert's preference head chooses among answers."""
        return (self.best_of or 1) > 1

    @property
    def declared_tools(self) -> str | None:
        """The tools as JSON text, None where none may be called."""
        if not self.tools or (self.tool_choice and self.tool_choice.type == "none"):
            return None
        return json.dumps([tool.model_dump(exclude_unset=True) for tool in self.tools])

    @property
    def call_only(self) -> str | None:
        """The function that must be called."""
        return self.tool_choice.function.name if self.tool_choice and self.tool_choice.function else None

    @property
    def sampling(self) -> Sampling:
        """How to answer; what the request leaves open keeps our defaults (greedy, but sampled where one is chosen)."""
        default = Sampling()
        temperature = 1.0 if self.chooses else default.temperature
        return Sampling(
            max_tokens=self.token_limit,
            temperature=temperature if self.temperature is None else self.temperature,
            top_p=default.top_p if self.top_p is None else self.top_p,
            seed=self.seed,
            stop=self.stop or (),
            num_answers=max(self.n or 1, self.best_of or 1),
            logprobs=self.top_logprobs or 0 if self.logprobs else None,
            json_schema=self.response_format.as_schema if self.response_format else None,
            tools=self.declared_tools,
            call_required=bool(self.tool_choice and self.tool_choice.type == "required"),
            call_only=self.call_only,
            parallel_calls=self.parallel_tool_calls is not False,
        )


class RouteRequest(Bounded):
    """The body of POST /v1/route: a text, several texts, or messages."""

    text: Annotated[str, Field(min_length=1, max_length=MAX_CHARACTERS)] | None = None
    texts: Annotated[tuple[str, ...], Field(min_length=1, max_length=MAX_ROUTED)] | None = None
    messages: Turns | None = None

    @model_validator(mode="after")
    def check_together(self) -> Self:
        """Exactly one of them, with something to read in it."""
        if sum(value is not None for value in (self.text, self.texts, self.messages)) != 1:
            raise PydanticCustomError("text", "or texts or messages must be given, and only one of them")
        if self.text is not None and not self.text.strip():
            raise PydanticCustomError("text", "is blank; write the request to route")
        if self.texts is not None:
            check_texts(self.texts)
        if self.messages is not None:
            check_turns(self.messages)
        return self

    @property
    def conversations(self) -> list[tuple[Message, ...]]:
        """The requests as messages."""
        if self.messages is not None:
            return [tuple(joined(self.messages))]
        return [(Message("user", text),) for text in self.texts or (self.text or "",)]


def joined(turns: Sequence[Turn]) -> list[Message]:
    """Turns as messages; what functions returned one after the other is told at once."""
    messages: list[Message] = []
    turns = in_call_order(turns)
    for before, turn in zip([None, *turns], turns, strict=False):
        message = turn.message
        if before is not None and before.role == turn.role == "tool":
            message = Message(message.role, f"{messages.pop().content}\n{message.content}")
        messages.append(message)
    return messages


def in_call_order(turns: Sequence[Turn]) -> list[Turn]:
    """The turns with results in the order of the calls that they answer, where they say which; an id that is not among
    the calls right before is refused."""
    found: list[Turn] = []
    calls: list[str | None] = []
    for is_result, group in groupby(turns, key=lambda turn: turn.role == "tool"):
        each = list(group)
        unknown = {turn.tool_call_id for turn in each} - {None, *calls} if is_result else ()
        if unknown:
            raise PydanticCustomError(
                "messages", "hold a tool_call_id that is not among the tool_calls right before it"
            )
        named = is_result and all(turn.tool_call_id is not None for turn in each)
        found += sorted(each, key=lambda turn: calls.index(turn.tool_call_id)) if named else each
        calls = [call.id for call in each[-1].tool_calls or ()]
    return found


def check_turns(turns: Sequence[Turn]) -> None:
    """Refuse conversations that are too long or that ask nothing."""
    messages = joined(turns)
    num_characters = sum(len(message.content) for message in messages)
    if num_characters > MAX_CHARACTERS:
        raise PydanticCustomError(
            "messages", f"hold {num_characters:,} characters; at most {MAX_CHARACTERS:,}. Shorten the conversation"
        )
    if not any(message.role == "user" and message.content.strip() for message in messages):
        raise PydanticCustomError("messages", "need at least one user message with text")


def check_texts(texts: Sequence[str]) -> None:
    """Refuse texts that are too long together, or blank."""
    if sum(len(text) for text in texts) > MAX_CHARACTERS:
        raise PydanticCustomError("texts", f"hold more than {MAX_CHARACTERS:,} characters")
    if not all(text.strip() for text in texts):
        raise PydanticCustomError("texts", "hold a blank one; write the requests to route")


def parse(form: type[Request], body: bytes) -> Request:
    """The request in a JSON body; a bad field is a RequestError that names it."""
    try:
        return form.model_validate_json(body)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False)
        raise bad_field(max(problems, key=lambda problem: len(problem["loc"]))) from None


def notice_for(expert: str, notices: Mapping[str, str]) -> str:
    """The notice of the domain that an expert belongs to (`mortgage` of `mortgage/structured`), empty without one."""
    return notices.get(expert.partition("/")[0], "")
