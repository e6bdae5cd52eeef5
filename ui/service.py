"""The OpenAI-compatible HTTP service over an Assistant: `expertsmith serve`.

Binds to this machine by default; any other address needs an API key. Every route but /health asks for the key.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import json
import logging
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

import uvicorn
from fastapi import FastAPI, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from domains.errors import UserError, unknown_name
from router.assistant import AUTO, Assistant, Piece, Reply, Sampling
from router.route import Route
from ui.schema import (
    MAX_BODY_BYTES,
    Body,
    ChatRequest,
    RequestError,
    RouteRequest,
    chunk_body,
    completion_body,
    logprobs_body,
    model_body,
    notice_for,
    parse,
    route_body,
    usage_body,
)

MAX_IN_FLIGHT = 16
BODY_SECONDS = 20
CLOSING_SECONDS = 5
OPEN_PATH = "/health"
ENDED = Piece("", "stop")
log = logging.getLogger(__name__)


def is_loopback(host: str) -> bool:
    """Whether an address or name is reachable from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_bind(host: str, api_key: str | None) -> None:
    """Refuse to serve other machines without a key."""
    if api_key is not None and not api_key.strip():
        raise UserError("The API key is blank. Give a key of at least one character, or none for this machine only.")
    if api_key is None and not is_loopback(host):
        raise UserError(
            f"Serving on '{host}' lets other machines in, and there is no API key. Give an API key, "
            "or serve on 127.0.0.1."
        )


def serve(
    assistant: Assistant,
    host: str = "127.0.0.1",
    port: int = 8000,
    api_key: str | None = None,
    notices: Mapping[str, str] | None = None,
) -> None:
    """Serve until interrupted."""
    check_bind(host, api_key)
    app = create_app(assistant, api_key, notices)
    uvicorn.run(
        app,
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=CLOSING_SECONDS,
    )


def create_app(assistant: Assistant, api_key: str | None = None, notices: Mapping[str, str] | None = None) -> FastAPI:
    """The application; `notices` are texts by domain name, returned with each answer of that domain's experts."""
    app = FastAPI(title="expertsmith", docs_url=None, redoc_url=None, openapi_url=None)
    service = Service(assistant, notices or {})
    app.add_api_route("/health", health, methods=["GET"], response_model=None)
    app.add_api_route("/v1/models", service.models, methods=["GET"], response_model=None)
    app.add_api_route("/v1/models/{name:path}", service.model, methods=["GET"], response_model=None)
    app.add_api_route("/v1/route", service.route, methods=["POST"], response_model=None)
    app.add_api_route("/v1/chat/completions", service.chat, methods=["POST"], response_model=None)
    for kind in (RequestError, UserError, HTTPException, Exception):
        app.add_exception_handler(kind, answer_error)
    app.add_middleware(Guard, api_key=api_key)
    return app


async def health() -> Body:
    """The service is up."""
    return {"status": "ok"}


@dataclass(frozen=True)
class Service:
    """The routes. The assistant blocks, so it is called in worker threads."""

    assistant: Assistant
    notices: Mapping[str, str]
    created: int = field(default_factory=lambda: int(time.time()))

    async def models(self) -> Body:
        """GET /v1/models."""
        return {"object": "list", "data": [model_body(name, self.created) for name in self.names]}

    async def model(self, name: str) -> Body:
        """GET /v1/models/NAME."""
        return model_body(self.known(name), self.created)

    async def route(self, request: Request) -> Body:
        """POST /v1/route."""
        asked = parse(RouteRequest, await read_body(request))
        reply = await run_in_threadpool(self.assistant.reply, asked.conversation, AUTO, Sampling(max_tokens=1))
        await run_in_threadpool(drain, reply)
        return reply.route.as_dict()

    async def chat(self, request: Request) -> Response:
        """POST /v1/chat/completions."""
        asked = parse(ChatRequest, await read_body(request))
        self.known(asked.model)
        if asked.stream:
            return await self.streamed(asked)
        return await run_in_threadpool(self.first_token if asked.logprobs else self.whole, asked)

    def whole(self, asked: ChatRequest) -> Response:
        """The answer in one body."""
        reply = self.assistant.reply(asked.conversation, asked.model, asked.sampling)
        pieces = drain(reply)
        last = pieces[-1]
        text = "".join(piece.text for piece in pieces)
        body = completion_body(self.head(asked, reply.route), text, last.finish_reason or "stop")
        return JSONResponse(body | {"usage": usage_body(last)}, headers=route_headers(reply.route))

    def first_token(self, asked: ChatRequest) -> Response:
        """The most likely first token and its rivals: how a judge reads label probabilities. Tokens are not counted."""
        route = Route(asked.model, 1.0, {asked.model: 1.0})
        if asked.model == AUTO:
            reply = self.assistant.reply(asked.conversation, AUTO, asked.sampling)
            drain(reply)
            route = reply.route
        top = asked.top_logprobs or 0
        logprobs = self.assistant.label_logprobs(asked.conversation, route.expert, max(top, 1))
        details = logprobs_body(logprobs, top)
        body = completion_body(self.head(asked, route), details["content"][0]["token"], "length", details)
        return JSONResponse(body, headers=route_headers(route))

    async def streamed(self, asked: ChatRequest) -> Response:
        """The answer as server-sent events; what fails before the first piece still gets its own status."""
        reply = await run_in_threadpool(self.assistant.reply, asked.conversation, asked.model, asked.sampling)
        first = await run_in_threadpool(next, reply.pieces, ENDED)
        headers = route_headers(reply.route) | {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        events = self.events(asked, reply, first)
        return StreamingResponse(events, media_type="text/event-stream", headers=headers)

    async def events(self, asked: ChatRequest, reply: Reply, first: Piece) -> AsyncIterator[str]:
        """The events of one answer; whoever hangs up frees the assistant."""
        head = self.head(asked, reply.route)
        try:
            yield event(chunk_body(head, {"role": "assistant", "content": ""}))
            del head["expertsmith"]
            piece: Piece | None = first
            last = first
            while piece is not None:
                if piece.text:
                    yield event(chunk_body(head, {"content": piece.text}))
                last = piece
                piece = await run_in_threadpool(next, reply.pieces, None)
            yield event(chunk_body(head, {}, last.finish_reason or "stop"))
            if asked.wants_usage_chunk:
                yield event(chunk_body(head, {}) | {"choices": [], "usage": usage_body(last)})
            yield "data: [DONE]\n\n"
        except Exception as error:
            log.exception("An answer broke off.")
            yield event(refusal(error).body)
        finally:
            close(reply)

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


def drain(reply: Reply) -> list[Piece]:
    """All pieces of an answer, at least one."""
    return list(reply.pieces) or [ENDED]


def close(reply: Reply) -> None:
    """End an answer that may be unfinished, so that the next request can start."""
    if hasattr(reply.pieces, "close"):
        reply.pieces.close()


def event(body: Body) -> str:
    """One server-sent event."""
    return f"data: {json.dumps(body)}\n\n"


def route_headers(route: Route) -> dict[str, str]:
    """The routing decision for clients that see only headers; names outside ASCII are percent-encoded."""
    return {
        "X-Expertsmith-Expert": quote(route.expert, safe="/"),
        "X-Expertsmith-Confidence": f"{route.confidence:.4f}",
    }


async def read_body(request: Request) -> bytes:
    """The body, refused as soon as it is known to be too large or too slow."""
    body = b""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                body += part
                if len(body) > MAX_BODY_BYTES:
                    message = f"The body is larger than {MAX_BODY_BYTES:,} bytes. Send less."
                    raise RequestError(413, message, "body_too_large")
    except TimeoutError:
        raise RequestError(408, f"The body did not arrive within {BODY_SECONDS} seconds.", "body_too_slow") from None
    return body


def refusal(error: Exception) -> RequestError:
    """What the client is told: users' errors in full, HTTP errors by status, a bug in no detail."""
    if isinstance(error, RequestError):
        return error
    if isinstance(error, UserError):
        return RequestError(400, str(error), "user_error")
    if isinstance(error, HTTPException):
        return RequestError(error.status_code, f"{error.detail}. See /v1/models for a first request.", "http_error")
    return RequestError(500, "The service failed on this request. The cause is in its log.", "internal_error")


async def answer_error(request: Request, error: Exception) -> Response:
    """Any exception as an OpenAI error body."""
    return told(refusal(error))


def told(error: RequestError) -> Response:
    """The response for a refusal."""
    headers = {401: {"WWW-Authenticate": "Bearer"}, 429: {"Retry-After": "1"}}.get(error.status)
    return JSONResponse(error.body, error.status, headers)


@dataclass(frozen=True)
class Guard:
    """Lets requests in. It asks for the bearer key and bounds how many wait for the assistant.

    Without a key the service is for this machine: other host names are refused, so that a web page cannot reach it by
    a name of its own (DNS rebinding).
    """

    app: ASGIApp
    api_key: str | None
    in_flight: set[int] = field(default_factory=set)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401, 403 or 429."""
        if scope["type"] != "http" or scope["path"] == OPEN_PATH:
            await self.app(scope, receive, send)
            return
        answer = self.refused(Request(scope))
        place = id(scope)
        if answer is None:
            self.in_flight.add(place)
        try:
            await (answer or self.app)(scope, receive, send)
        finally:
            self.in_flight.discard(place)

    def refused(self, request: Request) -> Response | None:
        """The refusal, or None to let the request in."""
        if self.api_key is None:
            host = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
            if not is_loopback(host):
                message = "Without an API key this service answers to localhost only. Start it with an API key."
                return told(RequestError(403, message, "host_not_allowed"))
        elif not same_key(bearer_key(request), self.api_key):
            message = "The API key is missing or wrong. Send it as 'Authorization: Bearer KEY'."
            return told(RequestError(401, message, "invalid_api_key"))
        if len(self.in_flight) >= MAX_IN_FLIGHT:
            message = f"{MAX_IN_FLIGHT} requests are waiting already. Try again in a moment."
            return told(RequestError(429, message, "busy"))
        return None


def bearer_key(request: Request) -> str:
    """The key that the request carries, empty without one."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    return given.strip() if scheme.lower() == "bearer" else ""


def same_key(given: str, expected: str) -> bool:
    """Whether two keys are equal, in a time that tells nothing about either."""
    digests = [hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest() for key in (given, expected)]
    return hmac.compare_digest(*digests)
