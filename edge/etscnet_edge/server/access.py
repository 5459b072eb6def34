"""Who may ask: whoever is on this machine, or knows the token; and never another site's page in a browser.

A page of any site can make a browser send requests to this machine. It is told apart by the Host that it must name (DNS
rebinding) and by the Origin and Sec-Fetch-Site that browsers add (cross-site requests).
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from etscnet_edge.server.faults import Refused

LOOPBACK = ("localhost", "127.0.0.1", "::1")
OURSELVES = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)
OPEN = ("/", "/v2/health/live", "/v2/health/ready")  # and the page's own files: they hold nothing of anybody
OPEN_FOLDER = "/page/"
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; frame-ancestors 'none'; form-action 'none'"
)
HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": PAGE_POLICY,
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


@dataclass(frozen=True)
class Access:
    """Args:
    token: what "Authorization: Bearer ..." must say; None: no token is asked for.
    any_host: whether requests may name any host: a server that others reach has a name of its own.
    """

    token: str | None
    any_host: bool


class CheckAccess:
    """ASGI middleware: refuses who may not ask, and gives every answer the headers that a browser should have."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app, self.access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refused = self._refused(scope["path"], Headers(scope=scope))
        await (refused.response() if refused else self.app)(scope, receive, with_headers)

    def _refused(self, path: str, headers: Headers) -> Refused | None:
        host = headers.get("host", "")
        if not self.access.any_host and not OURSELVES.fullmatch(host):
            return Refused(421, f"The host {host[:80]!r}; expected one of {list(LOOPBACK)}. Ask this machine itself.")
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "same-origin")
        foreign = (origin is not None and _host(origin) != host) or site not in ("same-origin", "none")
        if foreign and path != "/":  # a link to the page may stand anywhere
            return Refused(403, "A page of another site asks; expected this server's own page, or no browser.")
        if self.access.token is None or path in OPEN or path.startswith(OPEN_FOLDER):
            return None
        scheme, _, given = headers.get("authorization", "").partition(" ")
        right = hmac.compare_digest(given.encode(), self.access.token.encode())
        if scheme.lower() != "bearer" or not right:
            return Refused(
                401,
                "No token, or a wrong one; expected the header Authorization: Bearer TOKEN.",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return None


def _host(origin: str) -> str:
    """An origin's host with its port; empty where it is none."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""
