"""A server that reads a model repository and answers as Triton does, for tests without one: config.pbtxt by Triton's schema, the
graph by ONNX Runtime. What it says is compared with the real one's in test_triton_server.py."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from google.protobuf import json_format, text_format
from tritonclient.grpc import model_config_pb2 as schema

LENGTH = "Inference-Header-Content-Length"


def read_config(repository: Path, model: str = "etscnet") -> Any:
    """A field that Triton's schema does not have is an error."""
    return text_format.Parse((repository / model / "config.pbtxt").read_text(), schema.ModelConfig())


class Model:
    def __init__(self, repository: Path) -> None:
        self.config = read_config(repository)
        (self.version,) = self.config.version_policy.specific.versions
        folder = repository / self.config.name / str(self.version)
        self.session = onnxruntime.InferenceSession(
            folder / self.config.default_model_filename, providers=["CPUExecutionProvider"]
        )

    def metadata(self) -> dict[str, Any]:
        batch = [-1] if self.config.max_batch_size else []
        tensors = {
            kind: [
                {
                    "name": tensor.name,
                    "datatype": schema.DataType.Name(tensor.data_type).removeprefix("TYPE_"),
                    "shape": batch + list(tensor.dims),
                }
                for tensor in found
            ]
            for kind, found in (("inputs", self.config.input), ("outputs", self.config.output))
        }
        return {
            "name": self.config.name,
            "versions": [str(self.version)],
            "platform": self.config.platform,
            **tensors,
        }

    def infer(self, body: bytes, length: int | None) -> tuple[bytes, int]:
        said = json.loads(body[:length])
        (tensor,) = said["inputs"]
        raw = body[length:] if length is not None else b""
        image = np.frombuffer(raw, "<f4") if raw else np.array(tensor["data"], np.float32)
        names = [output["name"] for output in said["outputs"]]
        found = self.session.run(names, {tensor["name"]: image.reshape(tensor["shape"])})
        outputs, raws = [], []
        for asked, name, values in zip(said["outputs"], names, found, strict=True):
            output: dict[str, Any] = {"name": name, "datatype": "FP32", "shape": list(values.shape)}
            if asked.get("parameters", {}).get("binary_data"):
                raws.append(values.tobytes())
                output["parameters"] = {"binary_data_size": len(raws[-1])}
            else:
                output["data"] = values.ravel().tolist()
            outputs.append(output)
        head = {"model_name": self.config.name, "model_version": str(self.version), "outputs": outputs}
        text = json.dumps(head).encode()
        return b"".join([text, *raws]), len(text)


@contextmanager
def serving(repository: Path) -> Iterator[str]:
    """Its URL."""
    model = Model(repository)
    path = f"/v2/models/{model.config.name}/versions/{model.version}"
    configuration = json_format.MessageToDict(model.config, preserving_proto_field_name=True)
    said: dict[str, Any] = {
        "/v2": {"name": "triton", "version": "a stand-in"},
        "/v2/health/ready": {},
        path: model.metadata(),
        f"{path}/config": configuration,
        f"{path}/ready": {},
    }

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            known = self.path in said
            self._answer(json.dumps(said.get(self.path, {"error": "unknown"})).encode(), 200 if known else 404)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            length = self.headers.get(LENGTH)
            content, head = model.infer(body, None if length is None else int(length))
            self._answer(content, 200, {LENGTH: str(head)} if head < len(content) else {})

        def _answer(self, content: bytes, status: int, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
