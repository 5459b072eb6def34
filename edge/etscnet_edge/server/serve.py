"""`etscnet-edge serve`: one model behind HTTP on one address, until SIGTERM."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import uvicorn

from etscnet_edge.classifier import Classifier
from etscnet_edge.errors import InputError
from etscnet_edge.server.access import LOOPBACK, Access
from etscnet_edge.server.app import make_app
from etscnet_edge.server.body import BodyLimits
from etscnet_edge.server.connection import Connection
from etscnet_edge.server.service import Service

MIN_TOKEN = 16  # characters
MAX_CONNECTIONS = 500
GRACE_S = 120  # for the study in work; a client that does not read its answer is cut off then


class Server(uvicorn.Server):
    """uvicorn's, that closes the queue first when it is told to stop."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Refuse what waits, answer what runs."""
        self._service.jobs.close()
        await super().shutdown(sockets)


def run_server(
    load: Callable[[], Classifier],
    *,
    host: str,
    port: int,
    waiting: int,
    limits: BodyLimits,
    token_file: str | None,
    tls: tuple[str, str] | None,
) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        load: opens the classifier; called in the background.
        host: address; another than this machine's own only with a token or TLS.
        port: 0 for any that is free; the log says which.
        waiting: requests that may wait beside the one in work.
        limits: of a request's body.
        token_file: a file whose first line is the token that requests must bear.
        tls: files of the certificate and its key.

    Raises:
        InputError: an address that others reach without token or TLS, no token in the file, or a model that can't be loaded.
    """
    token = None if token_file is None else _read_token(Path(token_file))
    others = host not in LOOPBACK
    if others and token is None and tls is None:
        raise InputError(
            f"the address {host}, which others may reach",
            expected=f"one of {list(LOOPBACK)}, or a token or TLS",
            remedy="Give --token_file, or --tls_cert and --tls_key, or put a proxy before 127.0.0.1.",
        )
    for file in tls or ():
        if not Path(file).is_file():
            raise InputError("there is no such file", expected="a PEM file", remedy="Correct the path.", file=file)
    reasons: list[Exception] = []

    def failed(error: Exception) -> None:
        reasons.append(error)
        server.should_exit = True

    service = Service(load, waiting=waiting, failed=failed)
    app = make_app(service, limits=limits, access=Access(token, any_host=others))
    certificate, key = tls or (None, None)
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        ssl_certfile=certificate,
        ssl_keyfile=key,
        http=Connection,
        ws="none",
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=GRACE_S,
        limit_concurrency=MAX_CONNECTIONS,
    )
    server = Server(config, service)
    server.run()
    if reasons:
        raise reasons[0]


def _read_token(file: Path) -> str:
    try:
        token = file.read_text().split("\n", 1)[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        found = f"the token can't be read ({error})"
        raise InputError(found, expected="a file of ASCII", remedy="Correct --token_file.", file=file) from error
    if len(token) < MIN_TOKEN or not token.isascii():
        raise InputError(
            f"a token of {len(token)} characters",
            expected=f"{MIN_TOKEN} or more, of ASCII",
            remedy="Make one: python -c 'import secrets; print(secrets.token_urlsafe(32))'.",
            file=file,
        )
    return token
