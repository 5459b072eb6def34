"""One export of the shipped weights, in every float32 form, for all tests that only read it."""

from __future__ import annotations

from pathlib import Path

import pytest

from export.forms import chosen
from export.machine import cpu_flags
from export.to_onnx import export_onnx
from tests.conftest import BUNDLE

FLOAT32_FORMS = (*chosen(None, cpu_flags(), lean=True), "gpu-batch", "volume")


@pytest.fixture(scope="session")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every float32 form of the shipped weights, preprocess.onnx, golden.npz, etscnet.json and parity.json."""
    folder = tmp_path_factory.mktemp("export") / "exports"
    export_onnx(BUNDLE, folder, forms=FLOAT32_FORMS)
    return folder
