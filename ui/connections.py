"""Connections that say nothing: whoever has not sent the head of a request in time is hung up on, so that silent ones
do not take the places of others."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10.0


class PromptProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 with a bound on the time that the head of a request takes, from the connection's start or, for
    a later request on it, from its first byte."""

    head_seconds = HEAD_SECONDS
    head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """A new connection has to speak."""
        super().connection_made(transport)
        self.expect_head()

    def data_received(self, data: bytes) -> None:
        """Bytes of a request; once its head is whole, other bounds are there for the rest."""
        before = self.cycle
        if not self.in_request and self.head_timer is None:
            self.expect_head()
        super().data_received(data)
        if self.cycle is not before:
            self.forget_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more is expected."""
        self.forget_head()
        super().connection_lost(exc)

    @property
    def in_request(self) -> bool:
        """Whether a request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete

    def expect_head(self) -> None:
        """Start the clock."""
        self.head_timer = self.loop.call_later(self.head_seconds, self.transport.close)

    def forget_head(self) -> None:
        """Stop the clock."""
        if self.head_timer is not None:
            self.head_timer.cancel()
            self.head_timer = None
