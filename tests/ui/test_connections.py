"""Connections that send no request are hung up on; those that do are not."""

from __future__ import annotations

import asyncio

import pytest
import uvicorn

from ui.connections import PromptProtocol
from ui.server import Address, config_of

HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n"


class Hasty(PromptProtocol):
    """With little patience."""

    head_seconds = 0.3


async def slow_app(scope, receive, send):
    """Answers after a time that is longer than a head may take."""
    await asyncio.sleep(0.6)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


async def said_by(parts):
    """What a server says to bytes that are sent 0.2 seconds apart, until it hangs up or two seconds are over."""
    config = uvicorn.Config(slow_app, port=0, http=Hasty, lifespan="off", log_level="critical")
    server = uvicorn.Server(config)
    serving = asyncio.ensure_future(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for part in parts:
        writer.write(part)
        await asyncio.sleep(0.2)
    try:
        found = await asyncio.wait_for(reader.read(200), 2)
    except TimeoutError:
        found = None
    writer.close()
    server.should_exit = True
    await serving
    return found


@pytest.mark.parametrize("parts", [[], [HEAD], [HEAD[:4], HEAD[4:8]]])
def test_silent_and_dripping_connections_are_ended(parts):
    assert asyncio.run(said_by(parts)) == b""


def test_a_whole_head_has_time():
    """The answer takes longer than a head may."""
    assert asyncio.run(said_by([HEAD, b"\r\n"])).startswith(b"HTTP/1.1 200")


def test_the_service_uses_it():
    assert config_of(None, Address()).http is PromptProtocol
