"""A route of the race: one way of running the fused network on one machine. Data alone: importing this module costs nothing.

`export.runners` opens a route, in a process of its own (`export.worker`).
"""

from __future__ import annotations

import importlib.util
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

INSTALLED_BY = {
    "onnxruntime": "pip install onnxruntime",
    "openvino": "pip install openvino",
    "tensorrt": "pip install tensorrt",
    "tensorrt_rtx": "pip install tensorrt-rtx",
}


@dataclass(frozen=True)
class Route:
    """One way of running the network.

    Args:
        name: what the table calls it; its first word is the family.
        kind: "torch", "onnxruntime", "openvino", "session" (ours) or "tensorrt": which function of `export.runners` opens it.
        library: the module that the kind stands on, imported before anything is loaded.
        file: weights, graph or engine.
        mode: "eager", "amp", "compile" or "graphs" of torch; "" for the others.
        precision: "float32", "float16" or "bfloat16".
        device: "cpu" or "cuda".
        environment: variables that the process is started with.
        unfit: why this processor can't run it; "" if it can.
    """

    name: str
    kind: str
    library: str
    file: str
    mode: str = ""
    precision: str = "float32"
    device: str = "cpu"
    environment: dict[str, str] = field(default_factory=dict)
    unfit: str = ""

    @property
    def family(self) -> str:
        """The first word of the name."""
        return self.name.partition("-")[0]

    def to_dict(self) -> dict[str, Any]:
        """The fields, ready for JSON."""
        return asdict(self)

    def why_not(self, *, gpu: bool) -> str | None:
        """Why the route cannot be run here, where that is known before a process is started; None if nothing speaks against it.

        Args:
            gpu: whether the machine has a GPU that torch can use.
        """
        if self.device == "cuda" and not gpu:
            return "no GPU"
        if self.unfit:
            return self.unfit
        if importlib.util.find_spec(self.library) is None:
            return INSTALLED_BY.get(self.library, f"no module {self.library}")
        return None if Path(self.file).is_file() else f"no file {Path(self.file).name}"
