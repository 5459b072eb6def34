"""Who may ask the server: this machine, or whoever knows the token, by TLS where it is given; no other site's page."""

from __future__ import annotations

import signal
import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from etscnet_edge.__main__ import main
from etscnet_edge.server.connection import FAREWELL_S

from tests.edge.conftest import Server

TOKEN = "correct-horse-battery-staple"


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    return path


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "evil@127.0.0.1", "[::1", ""]
)
def test_a_host_of_another_name_is_refused(server: Server, host: str) -> None:
    answer = requests.get(f"{server.url}/v2", headers={"Host": host}, timeout=30)
    assert answer.status_code in (400, 421)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_page_of_another_site_is_refused(server: Server, headers: dict[str, str]) -> None:
    answer = requests.post(f"{server.url}/v1/studies", headers=headers, timeout=30)
    assert answer.status_code == 403 and "another site" in answer.json()["error"]


def test_the_own_page_is_served_with_a_policy(server: Server) -> None:
    headers = {"Origin": server.url, "Sec-Fetch-Site": "same-origin"}
    assert requests.get(f"{server.url}/v2", headers=headers, timeout=30).status_code == 200
    page = requests.get(server.url, timeout=30)
    assert "Research only, not for diagnosis." in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff" and "server" not in page.headers


def test_a_token_is_asked_for_everything_but_health_and_the_page(
    start_server: Callable[..., Any], token_file: Path
) -> None:
    with start_server("--host", "0.0.0.0", "--token_file", str(token_file)) as server:
        url = f"http://127.0.0.1:{urlsplit(server.url).port}"
        for path in ("/", "/v2/health/live", "/v2/health/ready"):
            assert requests.get(url + path, timeout=30).status_code == 200
        for path in ("/v2", "/metrics", "/v2/models/etscnet", "/v2/models/etscnet/stats", "/nothing"):
            for given in (None, "Bearer wrong", f"Basic {TOKEN}", "Bearer "):
                headers = {} if given is None else {"Authorization": given}
                answer = requests.get(url + path, headers=headers, timeout=30)
                assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
        headers = {"Authorization": f"Bearer {TOKEN}", "Host": "scanner.hospital:8080"}
        assert requests.get(f"{url}/v2", headers=headers, timeout=30).status_code == 200
        assert requests.post(f"{url}/v1/studies", timeout=30).status_code == 401


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """Files of a certificate of 127.0.0.1 that nobody else has signed, and of its key."""
    files = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-out", str(files[0]), "-keyout", str(files[1])]
    subprocess.run(command, check=True, capture_output=True)
    return files


def test_tls(start_server: Callable[..., Any], certificate: tuple[Path, Path]) -> None:
    with start_server("--tls_cert", str(certificate[0]), "--tls_key", str(certificate[1]), ready=False) as server:
        assert server.url.startswith("https://")
        answer = requests.get(f"{server.url}/v2/health/live", verify=str(certificate[0]), timeout=30)
        assert answer.status_code == 200
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(f"{server.url}/v2/health/live", timeout=30)


def test_a_tls_client_that_says_no_farewell_does_not_keep_the_server(
    start_server: Callable[..., Any], certificate: tuple[Path, Path]
) -> None:
    with start_server("--tls_cert", str(certificate[0]), "--tls_key", str(certificate[1]), ready=False) as server:
        address = urlsplit(server.url)
        trusting = ssl.create_default_context(cafile=str(certificate[0]))
        with socket.create_connection((address.hostname, address.port)) as plain:
            client = trusting.wrap_socket(plain, server_hostname="127.0.0.1")
            client.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 200")
            server.process.send_signal(signal.SIGTERM)
            server.process.wait(FAREWELL_S + 12)  # asyncio's own would be 30; the rest is for a busy machine
            client.close()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--host", "0.0.0.0"], "the address 0.0.0.0, which others may reach"),
        (["--host", "192.168.1.5"], "put a proxy before 127.0.0.1"),
        (["--tls_cert", "a.pem"], "one of --tls_cert, --tls_key"),
        (["--tls_cert", "a.pem", "--tls_key", "b.pem"], "file a.pem: there is no such file"),
        (["--token_file", "nowhere"], "file nowhere: the token can't be read"),
        (["--token_file", "{short}"], "a token of 5 characters; expected 16 or more"),
    ],
)
def test_a_server_that_anybody_could_ask_is_not_started(
    options: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = tmp_path / "short"
    short.write_text("12345\n")
    with pytest.raises(SystemExit):
        main(["serve", "--exports", str(tmp_path), *(option.format(short=short) for option in options)])
    assert words in capsys.readouterr().err
