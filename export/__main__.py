"""Command line of the export: `python -m export VERB --option value`. Only the module of the verb is imported."""

from __future__ import annotations

import sys
from importlib import import_module

import fire

from scripts.errors import say_plainly

VERBS = {
    "onnx": "export.to_onnx:export_onnx",
    "parity": "export.parity:parity",
    "tensorrt": "export.engine:export_tensorrt",
    "benchmark": "export.benchmark:benchmark",
    "benchmark-scaling": "export.scaling:benchmark_scaling",
}


def main(arguments: list[str]) -> None:
    """Run the verb named first; without one, list them."""
    wanted = [verb for verb in VERBS if arguments[:1] == [verb]] or list(VERBS)
    components = {}
    for verb in wanted:
        module, function = VERBS[verb].split(":")
        components[verb] = getattr(import_module(module), function)
    fire.Fire(components, command=arguments, name="python -m export")


if __name__ == "__main__":
    sys.excepthook = say_plainly
    main(sys.argv[1:])
