"""How the service process starts and ends: where it binds, and what happens to accepted requests at the end."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

import uvicorn
from fastapi import FastAPI

from domains.errors import UserError
from router.assistant import Assistant
from ui.connections import PromptProtocol
from ui.guard import is_loopback

DRAIN_SECONDS = 30.0
TELLING_SECONDS = 5
MAX_CONNECTIONS = 512
log = logging.getLogger(__name__)


def check_bind(host: str, api_key: str | None) -> None:
    """Refuse to serve other machines without a key."""
    if api_key is not None and not api_key.strip():
        raise UserError("The API key is blank. Give a key of at least one character, or none for this machine only.")
    if api_key is None and not is_loopback(host):
        raise UserError(
            f"Serving on '{host}' lets other machines in, and there is no API key. Give an API key, "
            "or serve on 127.0.0.1."
        )


@dataclass(frozen=True)
class Address:
    """Where to serve, and how long accepted requests have when the process is asked to end."""

    host: str = "127.0.0.1"
    port: int = 8000
    drain_seconds: float = DRAIN_SECONDS


def serve(app: FastAPI, assistant: Assistant, address: Address, api_key: str | None = None) -> None:
    """Serve until interrupted or terminated; then finish every accepted request or say that it is unfinished."""
    check_bind(address.host, api_key)
    asyncio.run(serve_and_drain(uvicorn.Server(config_of(app, address)), assistant, address.drain_seconds))


def config_of(app: Any, address: Address) -> uvicorn.Config:
    """The server's settings."""
    return uvicorn.Config(
        app,
        host=address.host,
        port=address.port,
        log_level="warning",
        access_log=False,
        server_header=False,
        http=PromptProtocol,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=int(address.drain_seconds) + TELLING_SECONDS,
    )


async def serve_and_drain(server: uvicorn.Server, assistant: Assistant, drain_seconds: float) -> None:
    """Run a server; when it is to end, close the assistant while the server still waits for its connections."""
    serving = asyncio.ensure_future(server.serve())
    while not (server.should_exit or serving.done()):
        await asyncio.wait({serving}, timeout=0.1)
    unfinished = await asyncio.to_thread(assistant.close, drain_seconds)
    if unfinished:
        log.warning("%d accepted answers were not finished in %g seconds; each was told.", unfinished, drain_seconds)
    await serving
