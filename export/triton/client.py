"""A client of the model `etscnet` on any server of the Open Inference Protocol v2 (HTTP): the edge server, Triton, KServe.

    with open_client("http://127.0.0.1:8080") as client:
        model = describe(client)                # names, shapes, threshold, modalities: what the server says of itself
        answer = score(client, model, image)    # image (1, M, x, y, z) float32 in [0, 1]
        controlled = answer.pred[0, 0] >= model.said["threshold"]

Nothing in it depends on which server answers. What the protocol has no place for (threshold, version, intended use) the edge
server says as parameters of the model's metadata, Triton as parameters of its configuration: `describe` reads either.
Source: github.com/kserve/open-inference-protocol, github.com/triton-inference-server/client.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import tritonclient.http as http
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from export.triton import NAME
from scripts.errors import InputError

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Client:
    """A connection.

    Attributes:
        url: of the server.
        connection: tritonclient's.
        headers: of every request.
    """

    url: str
    connection: http.InferenceServerClient
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Description:
    """What a server says of the model.

    Attributes:
        name, version: of the model, by the protocol.
        server: the server's name and version.
        platform: "onnxruntime_onnx" or "tensorrt_plan".
        inputs, outputs: name -> (datatype, shape).
        said: parameters, read: "threshold" is a number, "modalities" a list.
    """

    name: str
    version: str
    server: str
    platform: str
    inputs: dict[str, tuple[str, list[int]]]
    outputs: dict[str, tuple[str, list[int]]]
    said: dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """Scores.

    Attributes:
        pred: (1, 1) float32.
        branch_scores: (1, M) float32.
        said: the answer's own parameters, if any.
    """

    pred: Array
    branch_scores: Array
    said: dict[str, Any]


@contextmanager
def open_client(
    url: str, *, token_file: str | Path | None = None, ca_file: str | Path | None = None, seconds: float = 60.0
) -> Iterator[Client]:
    """Connect.

    Args:
        url: "http://HOST:PORT" or "https://...", with a path where a proxy adds one.
        token_file: holds the token of "Authorization: Bearer".
        ca_file: the certificates that vouch for the server; None: the system's.
        seconds: the longest wait for an answer.

    Raises:
        InputError: no such URL or file; whatever the server refuses within the context, and no connection to it.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise InputError(f"--url {url!r}", expected="http://HOST:PORT or https://HOST:PORT", remedy="Correct --url.")
    headers = {"Authorization": f"Bearer {_token(Path(token_file))}"} if token_file else {}
    try:
        connection = http.InferenceServerClient(
            parts.netloc + parts.path.rstrip("/"),
            ssl=parts.scheme == "https",
            ssl_options={"ca_certs": str(ca_file)} if ca_file else None,
            connection_timeout=seconds,
            network_timeout=seconds,
        )
        with connection:
            yield Client(url, connection, headers)
    except InferenceServerException as error:
        found, remedy = f"{url} answers: {error}", "See the server's log."
        raise InputError(found, expected=f"an answer for the model {NAME}", remedy=remedy) from error
    except OSError as error:
        found, remedy = f"no answer from {url} ({type(error).__name__}: {error})", "Start the server, or correct --url."
        raise InputError(found, expected="a server of the Open Inference Protocol", remedy=remedy) from error


def describe(client: Client, *, version: str = "1") -> Description:
    """Ask what the server serves.

    Raises:
        InputError: server or model is not ready.
    """
    connection, headers = client.connection, dict(client.headers)
    server = connection.get_server_metadata(headers)  # first: a server that refuses says why
    if not (connection.is_server_ready(headers) and connection.is_model_ready(NAME, version, headers)):
        found, expected = f"{client.url} is not ready", f"the model {NAME}, version {version}, ready"
        raise InputError(found, expected=expected, remedy="Wait, or see the server's log.")
    metadata = connection.get_model_metadata(NAME, version, headers)
    config = connection.get_model_config(NAME, version, headers)
    said = {name: _read(value.get("string_value")) for name, value in config.get("parameters", {}).items()}
    inputs, outputs = (
        {tensor["name"]: (tensor["datatype"], [int(edge) for edge in tensor["shape"]]) for tensor in metadata[kind]}
        for kind in ("inputs", "outputs")
    )
    return Description(
        name=metadata["name"],
        version=version,
        server=f"{server['name']} {server['version']}",
        platform=metadata["platform"],
        inputs=inputs,
        outputs=outputs,
        said={**said, **metadata.get("parameters", {})},
    )


def score(
    client: Client, model: Description, image: Array, *, binary_input: bool = True, binary_output: bool = True
) -> Answer:
    """Have an image scored.

    Args:
        client: of the server.
        model: of `describe`.
        image: (1, M, x, y, z) float32, prepared: in [0, 1], the background 0.
        binary_input, binary_output: as raw bytes behind the JSON; numbers in it otherwise.

    Raises:
        InputError: the answer lacks an output.
    """
    tensor = http.InferInput("image", list(image.shape), "FP32")
    tensor.set_data_from_numpy(image, binary_data=binary_input)
    outputs = [http.InferRequestedOutput(name, binary_data=binary_output) for name in ("pred", "branch_scores")]
    result = client.connection.infer(
        model.name, [tensor], model_version=model.version, outputs=outputs, headers=dict(client.headers)
    )
    pred, branch_scores = result.as_numpy("pred"), result.as_numpy("branch_scores")
    if pred is None or branch_scores is None:
        expected, remedy = "pred and branch_scores", "See the server's log."
        raise InputError(f"{client.url} leaves an output out", expected=expected, remedy=remedy)
    return Answer(pred, branch_scores, result.get_response().get("parameters", {}))


def _read(text: str | None) -> Any:
    """A parameter of Triton's configuration is text: JSON where it is a number, a list, an object."""
    try:
        return json.loads(text or "null")
    except ValueError:
        return text


def _token(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError as error:
        found, remedy = f"no token ({error.strerror})", "Correct --token_file."
        raise InputError(found, expected="a file with the server's token", remedy=remedy, file=file) from error
