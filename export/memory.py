"""What each form takes of a process's memory, measured, so that a device can refuse what does not fit before it loads it."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from export.forms import Form
from export.route import Route
from export.seeded_image import seeded_image
from export.worker import RouteFailed, Worker
from scripts.errors import InputError

RUNS = 2  # the second run's arena may be larger than the first's
LIMIT_S = 600.0


def form_memory(forms: Mapping[str, Form], folder: Path, *, shape: Sequence[int]) -> dict[str, int]:
    """Load and run each form in a process of its own, on ONNX Runtime's CPU with two threads.

    Args:
        forms: whose files lie in the folder.
        folder: of the export.
        shape: of the image, (1, M, x, y, z).

    Returns:
        Form -> MB (10^6 bytes) of resident memory at its peak, beyond the interpreter and its libraries.

    Raises:
        InputError: a form does not run, such as a blocked one of a network with fewer channels than a block.
    """
    _, channels, x, y, z = shape
    taken = {}
    with tempfile.TemporaryDirectory() as place:
        image = Path(place) / "image.npy"
        np.save(image, seeded_image(channels, (x, y, z), seed=0))
        for name, form in tqdm(forms.items(), desc="memory", disable=None):
            route = Route(name, "session", "onnxruntime", str(folder / form.file))
            try:
                with Worker(route, image, threads=2, limit_s=LIMIT_S) as worker:
                    before = worker.load()["imported_bytes"]
                    peak = max(worker.sample()["peak_bytes"] for _ in range(RUNS))
            except RouteFailed as error:
                raise InputError(
                    f"the form {name} of this network does not run ({error})",
                    expected="forms that run here",
                    remedy="Name the others by --forms, such as --forms standard.",
                ) from error
            taken[name] = math.ceil((peak - before) / 1e6)
    return taken
