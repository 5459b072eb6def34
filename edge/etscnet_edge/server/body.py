"""Requests' bodies: counted as they come, whatever length they claim, kept in memory alone, given up when they take too long."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Collection
from dataclasses import dataclass

from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from etscnet_edge.server.faults import LEFT, Refused
from etscnet_edge.server.jobs import stopping
from etscnet_edge.source import Source

DRAIN_S = 10.0
MAX_NAME = 255
MAX_DIGITS = 15


@dataclass(frozen=True)
class BodyLimits:
    """What a body may be.

    Args:
        size: bytes.
        seconds: from its first byte to its last.
        remedy: what to do where it is too large.
    """

    size: int
    seconds: float
    remedy: str = "Send one study at a time, zipped."


class AnswerAfterBody:
    """ASGI middleware: what still comes of a refused body is read and thrown away, within the limits, before the answer goes out.

    A client that is still sending would otherwise be cut off, and not get to read what was wrong. One that was too slow, or that
    the server's stop finds sending, has had its time.
    """

    def __init__(self, app: ASGIApp, limits: BodyLimits, closed: asyncio.Event) -> None:
        self.app, self.limits, self.closed = app, limits, closed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        # A client that waits for "100 Continue" sends nothing until something is received.
        ended = any(name == b"expect" for name, _ in scope["headers"])

        async def watched() -> Message:
            nonlocal ended
            message = await receive()
            ended = message["type"] != "http.request" or not message.get("more_body", False)
            return message

        async def drain() -> None:
            size = 0
            while not ended and size <= self.limits.size:
                size += len((await watched()).get("body", b""))

        async def drained(message: Message) -> None:
            answers = message["type"] == "http.response.start" and message["status"] != 408
            if answers and not ended and not self.closed.is_set():
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(drain(), DRAIN_S)
            await send(message)

        await self.app(scope, watched, drained)


class InMemory(MultiPartParser):
    """Starlette's parser, that keeps files in memory whatever their size: none is ever on the disk."""

    spool_max_size = 2**62


async def read_body(request: Request, limits: BodyLimits, closed: asyncio.Event) -> bytes:
    """All of it.

    Args:
        request: whose.
        limits: of it.
        closed: set when the server stops.

    Raises:
        Refused: 413 too large, 408 too slow, 415 compressed, 503 the server stops, LEFT broken off.
    """
    return b"".join([piece async for piece in _pieces(request, limits, closed)])


async def read_files(
    request: Request, limits: BodyLimits, closed: asyncio.Event, *, names: Collection[str]
) -> dict[str, Source]:
    """A multipart form's files, by the names of their fields.

    Args:
        request, limits, closed: as `read_body`.
        names: of the fields that may be; each at most once.

    Raises:
        Refused: as `read_body`, and 415 no multipart form, 400 a broken form, or a field that is not among the names.
    """
    said = request.headers.get("content-type", "")
    kind, options = parse_options_header(said)
    if kind != b"multipart/form-data" or options.get(b"charset", b"utf-8").lower() != b"utf-8":
        raise Refused(415, f"The content type is {said[:80]!r}; expected multipart/form-data with {list(names)}.")
    pieces = _pieces(request, limits, closed)
    try:
        form = await InMemory(request.headers, pieces, max_files=len(names), max_fields=0).parse()
    except MultiPartException as error:
        raise Refused(400, f"No multipart form ({error.message}); expected files in {list(names)}.") from error
    try:
        found: dict[str, Source] = {}
        for name, value in form.multi_items():
            if not isinstance(value, UploadFile) or name not in names or name in found:
                raise Refused(400, f"The field {name[:80]!r}; expected files, at most one in each of {list(names)}.")
            found[name] = Source(_printable(value.filename or name), await value.read())
            await value.close()  # its bytes are held once
        return found
    finally:
        await form.close()


def _printable(name: str) -> str:
    """A client's name for a file, fit for JSON and for a line."""
    return "".join(letter if letter.isprintable() else "?" for letter in name[-MAX_NAME:])


async def _pieces(request: Request, limits: BodyLimits, closed: asyncio.Event) -> AsyncGenerator[bytes, None]:
    if encoding := request.headers.get("content-encoding"):
        raise Refused(415, f"The content encoding is {encoding[:80]!r}; expected none: NIfTI files may be zipped.")
    claimed = request.headers.get("content-length", "0")
    too_large = Refused(413, f"The body is larger than {limits.size} bytes. {limits.remedy}")
    if claimed.isdecimal() and (len(claimed) > MAX_DIGITS or int(claimed) > limits.size):
        raise too_large
    size, until = 0, time.monotonic() + limits.seconds
    stream = request.stream()
    stop = asyncio.ensure_future(closed.wait())
    try:
        while True:
            coming = asyncio.ensure_future(anext(stream, None))
            left = max(0.0, until - time.monotonic())
            await asyncio.wait({coming, stop}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if not coming.done():
                coming.cancel()
                if closed.is_set():
                    raise stopping()
                raise Refused(408, f"The body did not come within {limits.seconds:g} s. Send it again.")
            try:
                piece = coming.result()
            except ClientDisconnect as error:
                raise Refused(LEFT, "The body broke off.") from error
            if piece is None:
                return
            size += len(piece)
            if size > limits.size:
                raise too_large
            yield piece
    finally:
        stop.cancel()
