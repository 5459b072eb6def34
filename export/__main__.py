"""Command line of the export: `python -m export VERB --option value`."""

from __future__ import annotations

import sys

from scripts.command_line.commands import run

VERBS = {
    "onnx": "export.to_onnx:export_onnx",
    "brain-extraction": "export.brain_extraction:export_brain_extraction",
    "parity": "export.parity:parity",
    "tensorrt": "export.engine:export_tensorrt",
    "triton": "export.triton.repository:write_repository",
    "triton-check": "export.triton.check:check_server",
    "kserve-edge": "export.triton.kserve:write_edge_service",
    "benchmark": "export.benchmark:benchmark",
    "benchmark-scaling": "export.scaling:benchmark_scaling",
    "metadata": "export.distribution.metadata:write_metadata",
    "package": "export.distribution.package:package",
    "zoo-check": "export.distribution.zoo_check:zoo_check",
    "unpack": "export.distribution.unpack:unpack_archive",
    "licences": "export.distribution.licences:write_licences",
    "audit": "export.distribution.advisories:audit_dependencies",
    "keygen": "export.distribution.signature:make_key",
    "release": "export.distribution.release:release",
    "verify": "export.distribution.release_manifest:verify_release",
}

if __name__ == "__main__":
    run("export", VERBS, sys.argv[1:])
