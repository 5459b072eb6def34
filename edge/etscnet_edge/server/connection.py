"""uvicorn's connection, with a time for a request's headers and for a farewell.

uvicorn itself waits for headers for ever, one connection a client, and asyncio 30 s for a TLS client's farewell.
"""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADERS_S = 15.0
FAREWELL_S = 3.0


class Connection(H11Protocol):
    """Closed when headers that have begun, or never begin on a new connection, are not there in time.

    When the server ends, a client that has its answer and does not close its own side is cut off.
    """

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A new client: its first request is due."""
        super().connection_made(transport)
        self._deadline = self.loop.call_later(HEADERS_S, transport.close)

    def data_received(self, data: bytes) -> None:
        """Set the deadline at the first piece of headers, take it back at their last."""
        super().data_received(data)
        waits = self.conn.their_state is h11.IDLE
        if not waits:
            self._forget_deadline()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(HEADERS_S, self.transport.close)

    def shutdown(self) -> None:
        """The server ends: a connection at rest is closed, by the client or without it."""
        super().shutdown()
        if self.transport.is_closing() and self.transport.get_write_buffer_size() == 0:
            self._forget_deadline()
            self._deadline = self.loop.call_later(FAREWELL_S, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is due any more."""
        self._forget_deadline()
        super().connection_lost(exc)

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
