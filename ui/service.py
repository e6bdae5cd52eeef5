"""The OpenAI-compatible HTTP service over an Assistant: `expertsmith serve`.

Every route but /health asks for the key, if there is one. The routes are here; who is let in is in `ui/guard.py`, what
requests and answers look like in `ui/schema.py` and `ui/bodies.py`, how the process starts and ends in `ui/server.py`.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from fastapi import FastAPI, Request, Response
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse

from domains.errors import unknown_name
from router.assistant import AUTO, Assistant, Piece, Reply
from router.fair import FairThreads
from router.route import Route
from ui.bodies import (
    Body,
    chunk_body,
    collected,
    completion_body,
    event,
    model_body,
    route_body,
    route_headers,
    route_list,
    usage_body,
)
from ui.guard import Bounds, Guard, is_loopback, read_body
from ui.metrics import Metrics
from ui.openai_errors import REFUSALS, RequestError, answer_error, log_bug, refusal
from ui.openapi import document
from ui.reading import ClientGone, end, read, while_connected
from ui.schema import ChatRequest, RouteRequest, notice_for, parse
from ui.tool_stream import CallEvents

__all__ = ["Service", "create_app", "is_loopback"]

ENDED = Piece("", "stop")
CLIENT_GONE = 499
Result = TypeVar("Result")
log = logging.getLogger(__name__)


def create_app(
    assistant: Assistant,
    api_key: str | None = None,
    notices: Mapping[str, str] | None = None,
    bounds: Bounds | None = None,
    log_prompts: bool = False,
) -> FastAPI:
    """The application; `notices` are texts by domain name, returned with each answer of that domain's experts.
    `api_key` may hold several keys, separated by spaces: each is a client with its own place in the queue."""
    app = FastAPI(title="expertsmith", docs_url=None, redoc_url=None, openapi_url=None)
    metrics = Metrics(assistant.gauges)
    service = Service(assistant, notices or {}, bounds or Bounds(), metrics, log_prompts)
    for path, method, handler in (
        ("/health", "GET", health),
        ("/ready", "GET", service.ready),
        ("/metrics", "GET", service.numbers),
        ("/openapi.json", "GET", openapi),
        ("/v1/models", "GET", service.models),
        ("/v1/models/{name:path}", "GET", service.model),
        ("/v1/route", "POST", service.route),
        ("/v1/chat/completions", "POST", service.chat),
    ):
        app.add_api_route(path, handler, methods=[method], response_model=None)
    kinds: tuple[type[Exception], ...] = (RequestError, *REFUSALS, Exception)
    for kind in kinds:
        app.add_exception_handler(kind, answer_error)
    app.add_exception_handler(ClientGone, nobody_there)
    app.add_middleware(Guard, keys=tuple((api_key or "").split()), bounds=service.bounds, metrics=metrics)
    return app


async def health() -> Body:
    """The process is up."""
    return {"status": "ok"}


async def openapi() -> Body:
    """What the service understands."""
    return document()


async def nobody_there(request: Request, error: Exception) -> Response:
    """For a client that has left; nothing arrives."""
    return Response(status_code=CLIENT_GONE)


@dataclass(frozen=True)
class Service:
    """The routes. The assistant blocks, so it is called in worker threads: answers are begun in one of `starters`, in
    which clients take turns and routing does not compete with itself, and read in `readers`. `watchers` ask whether it
    is ready, so that this answer does not wait behind any work."""

    assistant: Assistant
    notices: Mapping[str, str]
    bounds: Bounds
    metrics: Metrics
    log_prompts: bool = False
    created: int = field(default_factory=lambda: int(time.time()))
    starters: FairThreads = field(default_factory=lambda: FairThreads(2, "starter"))
    watchers: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(2, "watcher"))
    readers: ThreadPoolExecutor = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "readers", ThreadPoolExecutor(self.bounds.max_in_flight, "reader"))

    async def ready(self) -> Response:
        """GET /ready."""
        if await asyncio.wrap_future(self.watchers.submit(self.assistant.is_ready)):
            return JSONResponse({"status": "ready"})
        return JSONResponse({"status": "not ready"}, 503, {"Retry-After": "5"})

    async def numbers(self) -> Response:
        """GET /metrics."""
        return PlainTextResponse(self.metrics.text(), media_type="text/plain; version=0.0.4")

    async def models(self) -> Body:
        """GET /v1/models."""
        return {"object": "list", "data": [self.entry(name) for name in self.names]}

    async def model(self, name: str) -> Body:
        """GET /v1/models/NAME."""
        return self.entry(self.known(name))

    def entry(self, name: str) -> Body:
        """One model of the list."""
        return model_body(name, self.created, self.assistant.digest(name))

    async def route(self, request: Request) -> Body:
        """POST /v1/route: nothing is generated."""
        asked = parse(RouteRequest, await read_body(request, self.bounds))
        routes = await self.call(client_of(request), self.assistant.routes, asked.conversations)
        return routes[0].as_dict() if asked.texts is None else dict(route_list(routes))

    async def chat(self, request: Request) -> Response:
        """POST /v1/chat/completions."""
        asked = parse(ChatRequest, await read_body(request, self.bounds))
        self.known(asked.model)
        if self.log_prompts:
            log.info("asked %s: %s", asked.model, [message.as_dict() for message in asked.conversation])
        started = time.monotonic()
        client = client_of(request)
        self.assistant.check_room(client, asked.sampling.num_answers)
        if asked.chooses:
            return await while_connected(request, self.best(asked, client, started))
        reply = await while_connected(request, self.start(asked, asked.model, client))
        if asked.stream:
            return await self.streamed(asked, request, reply, started)
        return await while_connected(request, self.whole(asked, reply, started))

    async def start(self, asked: ChatRequest, model: str, client: str) -> Reply:
        """Route and begin the answer."""
        beginning = self.starters.submit(
            client, self.assistant.reply, asked.conversation, model, asked.sampling, client
        )
        try:
            reply = await asyncio.wrap_future(beginning)
        except asyncio.CancelledError:
            beginning.add_done_callback(end_unread)
            raise
        self.metrics.route(reply.route)
        return reply

    async def whole(self, asked: ChatRequest, reply: Reply, started: float) -> Response:
        """The answers in one body."""
        pieces = await self.gathered(reply, started)
        body = completion_body(self.head(asked, reply.route), collected(pieces), bool(asked.declared_tools))
        return JSONResponse(body | {"usage": usage_body(pieces)}, headers=route_headers(reply.route))

    async def best(self, asked: ChatRequest, client: str, started: float) -> Response:
        """The answers that the expert's preference head finds best, with their rewards. It reads one answer after the
        other, so that others get their turn in between, and none when the client has left."""
        route = await self.call(client, self.routed, asked)
        await self.call(client, self.assistant.rewards, asked.conversation, route.expert, ())
        reply = replace(await self.start(asked, route.expert, client), route=route)
        pieces = await self.gathered(reply, started)
        answers = collected(pieces)
        texts = [answer.text for answer in answers]
        rewards: list[float] = []
        for text in texts:
            rewards += await self.call(client, self.assistant.rewards, asked.conversation, route.expert, [text])
        order = sorted(range(len(answers)), key=lambda i: -rewards[i])[: asked.n or 1]
        head = self.head(asked, route)
        head["expertsmith"]["rewards"] = [rewards[i] for i in order]
        body = completion_body(head, [answers[i] for i in order], bool(asked.declared_tools))
        return JSONResponse(body | {"usage": usage_body(pieces)}, headers=route_headers(route))

    def routed(self, asked: ChatRequest) -> Route:
        """Who answers, before anything is begun."""
        return self.assistant.answering(asked.conversation, asked.model, asked.sampling)

    async def gathered(self, reply: Reply, started: float) -> list[Piece]:
        """All pieces, at least one."""
        pieces, first = [], 0.0
        async for piece in read(reply.pieces, self.readers):
            pieces.append(piece)
            first = first or time.monotonic() - started
        self.metrics.answered(pieces, first, time.monotonic() - started)
        return pieces or [ENDED]

    async def streamed(self, asked: ChatRequest, request: Request, reply: Reply, started: float) -> Response:
        """The answer as server-sent events; what fails before the first piece still gets its own status."""
        pieces = read(reply.pieces, self.readers)
        first = await while_connected(request, anext_or(pieces, ENDED))
        headers = route_headers(reply.route) | {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        events = self.events(asked, reply.route, first, pieces, started)
        return StreamingResponse(events, media_type="text/event-stream", headers=headers)

    async def events(
        self, asked: ChatRequest, route: Route, first: Piece, rest: AsyncGenerator[Piece], started: float
    ) -> AsyncIterator[str]:
        """The events of the answers; whoever hangs up ends them."""
        head = self.head(asked, route)
        seen, to_first = [], time.monotonic() - started
        calling = [CallEvents() for _ in range(asked.sampling.num_answers)] if asked.declared_tools else []
        try:
            for number in range(asked.sampling.num_answers):
                opening = Piece("", choice=number)
                yield event(chunk_body(head, {"role": "assistant", "content": ""}, opening))
                head.pop("expertsmith", None)
            async for piece in followed(first, rest):
                seen.append(piece)
                for body in calling[piece.choice].chunks(head, piece) if calling else chunks(head, piece):
                    yield event(body)
            if asked.wants_usage_chunk:
                yield event(chunk_body(head, {}) | {"choices": [], "usage": usage_body(seen)})
            yield "data: [DONE]\n\n"
            self.metrics.answered(seen, to_first, time.monotonic() - started)
        except Exception as error:
            found = refusal(error)
            if found.code == "internal_error":
                log_bug(error)
            yield event(found.body)
        finally:
            await rest.aclose()

    async def call(self, client: str, work: Callable[..., Result], *arguments: Any) -> Result:
        """Blocking work in a thread, when it is the client's turn."""
        return await asyncio.wrap_future(self.starters.submit(client, work, *arguments))

    @property
    def names(self) -> tuple[str, ...]:
        """The model names that can be asked for."""
        return (AUTO, *self.assistant.experts)

    def known(self, name: str) -> str:
        """A model name, checked."""
        if name not in self.names:
            raise RequestError(404, str(unknown_name("model", name, self.names)), "model_not_found", "model")
        return name

    def head(self, asked: ChatRequest, route: Route) -> Body:
        """What the body and all chunks of an answer begin with."""
        return {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "created": int(time.time()),
            "model": asked.model,
            "expertsmith": route_body(route, notice_for(route.expert, self.notices)),
        }


def client_of(request: Request) -> str:
    """Whose request it is: what the guard made of its key and address."""
    return str(request.scope.get("client_name", ""))


def end_unread(beginning: Future[Reply]) -> None:
    """End an answer whose reader left while it was begun."""
    if not beginning.cancelled() and beginning.exception() is None:
        end(beginning.result().pieces, None)


def chunks(head: Body, piece: Piece) -> Iterator[Body]:
    """A piece of a streamed answer without tools, and its end."""
    if piece.text or piece.logprobs:
        yield chunk_body(head, {"content": piece.text}, piece)
    if piece.finish_reason:
        yield chunk_body(head, {}, piece)


async def anext_or(pieces: AsyncIterator[Piece], default: Piece) -> Piece:
    """The next piece, or the default at the end."""
    return await anext(pieces, default)


async def followed(first: Piece, rest: AsyncIterator[Piece]) -> AsyncIterator[Piece]:
    """One piece and then the others."""
    yield first
    async for piece in rest:
        yield piece
