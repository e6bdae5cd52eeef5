"""Lets requests in: host names, the bearer key, how many at once, how long, and the headers of every answer.

Without a key the service is for this machine: other host names and pages of other sites are refused, so that a web page
cannot reach it (DNS rebinding, cross-site requests).
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from router.assistant import TimedOut
from ui.metrics import Metrics
from ui.openai_errors import RequestError, answer_error, later, told
from ui.reading import ClientGone
from ui.schema import MAX_BODY_BYTES

MAX_IN_FLIGHT = 96
BODY_SECONDS = 20.0
RESPONSE_SECONDS = 300.0
OPEN_PATH = "/health"
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def is_loopback(host: str) -> bool:
    """Whether an address or name is reachable from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True)
class Bounds:
    """How much is let in: requests at once, the body's size and time, and the time of a whole response."""

    max_in_flight: int = MAX_IN_FLIGHT
    max_body_bytes: int = MAX_BODY_BYTES
    body_seconds: float = BODY_SECONDS
    response_seconds: float = RESPONSE_SECONDS


@dataclass(frozen=True)
class Guard:
    """The outermost layer. `keys` are the API keys, of which any opens; empty for this machine only."""

    app: ASGIApp
    keys: tuple[str, ...]
    bounds: Bounds
    metrics: Metrics
    in_flight: set[int] = field(default_factory=set)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401, 403 or 429; whatever happens is counted."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        seen = Seen(send)
        answer = None if scope["path"] == OPEN_PATH else self.refused(Request(scope))
        place = id(scope)
        if answer is None and scope["path"] != OPEN_PATH:
            self.in_flight.add(place)
        try:
            async with asyncio.timeout(self.bounds.response_seconds):
                await (answer or self.app)(scope, receive, seen)
        except Exception as error:
            await self.failed(error, Request(scope, receive), seen)
        finally:
            self.in_flight.discard(place)
            self.metrics.request(scope, seen.status, time.monotonic() - seen.started)

    async def failed(self, error: Exception, request: Request, seen: Seen) -> None:
        """Answer what nobody below has answered; when the answer has begun already, it stays cut off."""
        if isinstance(error, TimeoutError):
            error = TimedOut(f"The response was given up after {self.bounds.response_seconds:g} seconds.")
        response = await answer_error(request, error)
        if not seen.status:
            await response(request.scope, request.receive, seen)

    def refused(self, request: Request) -> Response | None:
        """The refusal, or None to let the request in."""
        if self.keys:
            client = key_number(bearer_key(request), self.keys)
            if client is None:
                message = "The API key is missing or wrong. Send it as 'Authorization: Bearer KEY'."
                return told(RequestError(401, message, "invalid_api_key"))
        elif not self.is_local(request):
            message = "Without an API key this service answers to localhost only. Start it with an API key."
            return told(RequestError(403, message, "host_not_allowed"))
        else:
            client = 0
        if len(self.in_flight) >= self.bounds.max_in_flight:
            message = f"{self.bounds.max_in_flight} requests are in work already. Try again in a moment."
            return told(later(429, message, "busy", 1))
        request.scope["client_name"] = f"{client}@{request.client.host if request.client else ''}"
        return None

    def is_local(self, request: Request) -> bool:
        """Whether a request names this machine, and comes from no page of another site."""
        host = hostname(f"//{request.headers.get('host', '')}")
        origin = request.headers.get("origin")
        return is_loopback(host) and (origin is None or is_loopback(hostname(origin)))


def hostname(address: str) -> str:
    """The host in an address, empty where there is none."""
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


@dataclass
class Seen:
    """A response on its way out: headers are added, its status is remembered."""

    send: Send
    status: int = 0
    started: float = field(default_factory=time.monotonic)
    extra: Mapping[str, str] = field(default_factory=lambda: HEADERS | {"X-Request-Id": uuid.uuid4().hex})

    async def __call__(self, message: Message) -> None:
        """Send on."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in self.extra.items():
                headers.setdefault(name, value)
        await self.send(message)


def bearer_key(request: Request) -> str:
    """The key that the request carries, empty without one."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    return given.strip() if scheme.lower() == "bearer" else ""


def key_number(given: str, keys: tuple[str, ...]) -> int | None:
    """Which of the keys was given; all are compared, so that the time tells nothing."""
    found = [same_key(given, key) for key in keys]
    return found.index(True) if any(found) else None


def same_key(given: str, expected: str) -> bool:
    """Whether two keys are equal, in a time that tells nothing about either."""
    digests = [hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest() for key in (given, expected)]
    return hmac.compare_digest(*digests)


async def read_body(request: Request, bounds: Bounds) -> bytes:
    """The body, refused as soon as it is known to be too large or too slow."""
    body = bytearray()
    too_large = RequestError(
        413, f"The body is larger than {bounds.max_body_bytes:,} bytes. Send less.", "body_too_large"
    )
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > bounds.max_body_bytes:
        raise too_large
    try:
        async with asyncio.timeout(bounds.body_seconds):
            async for part in request.stream():
                body += part
                if len(body) > bounds.max_body_bytes:
                    raise too_large
    except ClientDisconnect:
        raise ClientGone from None
    except TimeoutError:
        message = f"The body did not arrive within {bounds.body_seconds:g} seconds."
        raise RequestError(408, message, "body_too_slow") from None
    return bytes(body)
