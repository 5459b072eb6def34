"""uvicorn's connection, with a time for a request's headers: uvicorn itself waits for them for ever, one connection a client."""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADERS_S = 15.0


class Connection(H11Protocol):
    """Closed when headers that have begun, or never begin on a new connection, are not there in time."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A new client: its first request is due."""
        super().connection_made(transport)
        self._deadline = self.loop.call_later(HEADERS_S, transport.close)

    def data_received(self, data: bytes) -> None:
        """Set the deadline at the first piece of headers, take it back at their last."""
        super().data_received(data)
        waits = self.conn.their_state is h11.IDLE
        if self._deadline is not None and not waits:
            self._deadline.cancel()
            self._deadline = None
        elif self._deadline is None and waits:
            self._deadline = self.loop.call_later(HEADERS_S, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is due any more."""
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)
