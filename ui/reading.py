"""Answers that are read in worker threads, and clients that may leave before the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Generator, Iterator
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

from starlette.requests import Request

from router.assistant import Piece

Result = TypeVar("Result")


class ClientGone(Exception):
    """Nobody waits for the answer any more."""


async def read(pieces: Iterator[Piece], threads: Executor) -> AsyncGenerator[Piece]:
    """The pieces as they come. Whoever stops reading ends the answer."""
    reading: Future[Piece | None] | None = None
    try:
        while True:
            reading = threads.submit(next, pieces, None)
            piece = await asyncio.wrap_future(reading)
            if piece is None:
                return
            yield piece
    finally:
        end(pieces, reading)


def end(pieces: Iterator[Piece], reading: Future[Any] | None) -> None:
    """End an answer that may be unfinished. A generator cannot be closed while it runs, so that is done after."""
    if isinstance(pieces, Generator) and reading is not None:
        reading.add_done_callback(lambda _: pieces.close())
    elif hasattr(pieces, "close"):
        pieces.close()


async def while_connected(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """The result of some work, which is cancelled when the client hangs up (`ClientGone`)."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(disconnected(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGone
        return task.result()
    finally:
        task.cancel()
        gone.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def disconnected(request: Request) -> None:
    """Wait until the client hangs up."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
