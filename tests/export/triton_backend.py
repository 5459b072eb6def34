"""The backend `onnxruntime` for a Triton that lacks it, as Triton takes one in Python: `backends/onnxruntime/model.py`.

Run by Triton's own Python backend, in a process of the server's, on the packages that $PYTHONPATH names. It takes of the model's
configuration what the real backend takes: file, names, threads, memory pattern.
Source: github.com/triton-inference-server/backend (docs/python_based_backends.md).
"""

import json
import os
import sys
from typing import Any

sys.path.extend(os.environ["PYTHONPATH"].split(os.pathsep))  # the interpreter in it is an isolated one
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime as ort
import triton_python_backend_utils as triton


class TritonPythonModel:
    """One instance."""

    @staticmethod
    def auto_complete_config(config: Any) -> Any:
        return config

    def initialize(self, args: dict[str, str]) -> None:
        config = json.loads(args["model_config"])
        settings = {name: value["string_value"] for name, value in config["parameters"].items()}
        options = ort.SessionOptions()
        options.enable_mem_pattern = settings["enable_mem_pattern"] == "1"
        options.intra_op_num_threads = int(settings.get("intra_op_thread_count", 0))
        file = os.path.join(args["model_repository"], args["model_version"], config["default_model_filename"])
        self.session = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        self.inputs = [tensor["name"] for tensor in config["input"]]

    def execute(self, requests: list[Any]) -> list[Any]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        feeds = {name: triton.get_input_tensor_by_name(request, name).as_numpy() for name in self.inputs}
        names = list(request.requested_output_names())
        found = self.session.run(names, feeds)
        return triton.InferenceResponse([triton.Tensor(name, value) for name, value in zip(names, found, strict=True)])
