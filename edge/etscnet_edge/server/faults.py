"""What is answered to a request that can't be served: a status and one sentence in JSON, {"error": "..."}."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

LEFT = 499  # no status of HTTP: nobody is there to read it


class Refused(Exception):
    """A request that is answered by a fault of the client's, or a server that has no room.

    Args:
        status: of HTTP, 4xx or 503.
        reason: what was found, what is expected, what to do.
        headers: of the answer.
    """

    def __init__(self, status: int, reason: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status, self.reason, self.headers = status, reason, dict(headers or {})

    def response(self) -> JSONResponse:
        """The answer."""
        return JSONResponse({"error": self.reason}, status_code=self.status, headers=self.headers)


async def answer_refused(request: Request, error: Exception) -> Response:
    """Starlette's handler of `Refused`."""
    if not isinstance(error, Refused):
        raise error
    return error.response()


async def answer_http_error(request: Request, error: Exception) -> Response:
    """Starlette's own: no such path, no such method."""
    if not isinstance(error, HTTPException):
        raise error
    reason = f"{request.method} {request.url.path[:120]}: {error.detail}."
    return JSONResponse({"error": reason}, status_code=error.status_code, headers=error.headers)


async def answer_fault(request: Request, error: Exception) -> Response:
    """A fault of ours: what it was stands in the log alone."""
    return JSONResponse({"error": "A fault of the server's; its log says more. Report it."}, status_code=500)
