"""Requests' bodies: counted as they come, whatever length they claim, kept in memory alone, given up when they take too long."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Collection
from dataclasses import dataclass

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from etscnet_edge.server.faults import Refused
from etscnet_edge.source import Source

DRAIN_S = 10.0


@dataclass(frozen=True)
class BodyLimits:
    """What a body may be.

    Args:
        size: bytes.
        seconds: from its first byte to its last.
    """

    size: int
    seconds: float


class AnswerAfterBody:
    """ASGI middleware: what still comes of a refused body is read and thrown away, within the limits, before the answer goes out.

    A client that is still sending would otherwise be cut off, and not get to read what was wrong.
    """

    def __init__(self, app: ASGIApp, limits: BodyLimits) -> None:
        self.app, self.limits = app, limits

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
            if message["type"] == "http.response.start" and not ended:
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(drain(), DRAIN_S)
            await send(message)

        await self.app(scope, watched, drained)


async def read_body(request: Request, limits: BodyLimits, check_open: Callable[[], None]) -> bytes:
    """All of it.

    Args:
        request: whose.
        limits: of it.
        check_open: raises when the server stops.

    Raises:
        Refused: 413 too large, 408 too slow, 415 compressed, 400 broken off, or what `check_open` raises.
    """
    return b"".join([piece async for piece in _pieces(request, limits, check_open)])


async def read_files(
    request: Request, limits: BodyLimits, check_open: Callable[[], None], *, names: Collection[str]
) -> dict[str, Source]:
    """A multipart form's files, by the names of their fields.

    Args:
        request, limits, check_open: as `read_body`.
        names: of the fields that may be; each at most once.

    Raises:
        Refused: as `read_body`, and 415 no multipart form, 400 a broken form, or a field that is not among the names.
    """
    kind = request.headers.get("content-type", "")
    if not kind.lower().startswith("multipart/form-data"):
        raise Refused(415, f"The content type is {kind[:80]!r}; expected multipart/form-data with {list(names)}.")
    pieces = _pieces(request, limits, check_open)
    parser = MultiPartParser(request.headers, pieces, max_files=len(names), max_fields=0)
    parser.spool_max_size = limits.size  # never on the disk
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise Refused(400, f"No multipart form ({error.message}); expected files in {list(names)}.") from error
    try:
        found: dict[str, Source] = {}
        for name, value in form.multi_items():
            if not isinstance(value, UploadFile) or name not in names or name in found:
                raise Refused(400, f"The field {name[:80]!r}; expected files, at most one in each of {list(names)}.")
            found[name] = Source(value.filename or name, await value.read())
        return found
    finally:
        await form.close()


async def _pieces(request: Request, limits: BodyLimits, check_open: Callable[[], None]) -> AsyncGenerator[bytes, None]:
    if encoding := request.headers.get("content-encoding"):
        raise Refused(415, f"The content encoding is {encoding[:80]!r}; expected none: NIfTI files may be zipped.")
    claimed = request.headers.get("content-length", "0")
    too_large = Refused(413, f"The body is larger than {limits.size} bytes. Send one study at a time, zipped.")
    if claimed.isdecimal() and int(claimed) > limits.size:
        raise too_large
    size, until = 0, time.monotonic() + limits.seconds
    stream = request.stream()
    while True:
        check_open()
        try:
            piece = await asyncio.wait_for(anext(stream, None), max(0.0, until - time.monotonic()))
        except asyncio.TimeoutError as error:  # noqa: UP041 Python 3.10 has two of the name
            raise Refused(408, f"The body did not come within {limits.seconds:g} s. Send it again.") from error
        except ClientDisconnect as error:
            raise Refused(400, "The body broke off. Send it again.") from error
        if piece is None:
            return
        size += len(piece)
        if size > limits.size:
            raise too_large
        yield piece
