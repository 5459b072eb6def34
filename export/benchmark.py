"""The benchmark: all routes of the fused network in one race on one machine, with the floor beneath them.

Writes `benchmark.json` (everything), `benchmark.md` (a table for people) and `benchmark.png`, `.svg` (latency against memory).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from export.benchmark_result import Benchmark
from export.floor import count, floor_of
from export.machine import describe_machine, measure_rates, versions
from export.manifest import read_manifest
from export.race import Settings, race
from export.race_picture import draw
from export.race_table import table
from export.route import Route
from export.routes import REFERENCE, all_routes, chosen
from export.seeded_image import seeded_image
from export.stock import stock_export, weights_modalities
from scripts.answer import Answer
from scripts.checkpoint import origin_warning, trained_size
from scripts.errors import InputError
from scripts.files import sha256, write_atomically


def benchmark(
    bundle_root: str | Path = "bundle",
    exports: str | Path | None = None,
    *,
    output_dir: str | Path = "results/benchmark",
    spatial_size: Sequence[int] | None = None,
    threads: int = 2,
    runs: int = 7,
    routes: Sequence[str] | str | None = None,
) -> Answer:
    """Race every way of running the network on this machine, and write what came of it.

    Args:
        bundle_root: folder of the bundle; its models/model.pt is the network.
        exports: folder of etscnet.json; None leaves our own forms out.
        output_dir: folder of the results, and of MONAI's stock export, which is made once.
        spatial_size: edges in voxels; None: that of `exports`, or of the training. Another one can be timed, and is said.
        threads: of each route.
        runs: samples a route.
        routes: names, such as torch-eager or ort-stock, or families: torch, ours, ort; None: all.

    Example:
        python -m export benchmark --bundle_root bundle --exports exports --output_dir results/benchmark --runs 7

    Returns:
        The table, and benchmark.json.

    Raises:
        InputError: no weights, no manifest in `exports`, files of another size there, an unknown route, too small a size.
    """
    weights, folder = Path(bundle_root) / "models" / "model.pt", Path(output_dir)
    exported = None if exports is None else read_manifest(exports)["spatial_size"]
    size = _checked_size(spatial_size or exported or trained_size(weights, otherwise=(256, 256, 128)))
    if exported is not None and tuple(exported) != size:
        raise InputError(
            f"files exported for {exported} voxels",
            expected=f"{list(size)}, as asked for",
            remedy=f'Export again: python -m export onnx --spatial_size "{list(size)}".',
            file=exports,
        )
    chosen(all_routes(weights, "", exports=exports), routes)  # a wrong name is said before the long export
    stock = stock_export(bundle_root, folder, spatial_size=size)
    running = chosen(all_routes(weights, stock, exports=exports), routes)
    settings = Settings(threads=int(threads), repeats=int(runs))
    result = run_race(running, weights, stock=stock, spatial_size=size, settings=settings)
    write_atomically(folder / "benchmark.json", json.dumps(result.to_dict(), indent=2) + "\n")
    text = table(result)
    write_atomically(folder / "benchmark.md", text)
    draw(result, folder)
    return Answer(text, result.to_dict())


def run_race(
    routes: Sequence[Route], weights: str | Path, *, stock: str | Path, spatial_size: Sequence[int], settings: Settings
) -> Benchmark:
    """The race alone, without a file.

    Args:
        routes: what is raced.
        weights: `model.pt`, for the reference.
        stock: MONAI's export, that the floor is counted from.
        spatial_size: (x, y, z).
        settings: how.
    """
    modalities = weights_modalities(weights)
    trained = trained_size(weights, otherwise=())
    gpu = torch.cuda.is_available()
    print("measuring the machine", file=sys.stderr, flush=True)
    floor = floor_of(count(stock), measure_rates(settings.threads))
    with TemporaryDirectory() as folder:
        image = Path(folder) / "image.npy"
        x, y, z = spatial_size
        np.save(image, seeded_image(len(modalities), (x, y, z)))
        rows = race(routes, image, settings=settings, gpu=gpu)
        reference = next((row for row in rows if row.route.name == REFERENCE and row.status == "ran"), None)
        if reference is None:
            only = [route for route in all_routes(weights, stock) if route.name == REFERENCE]
            once = Settings(threads=settings.threads, repeats=0, warmup=1)
            reference = race(only, image, settings=once, gpu=gpu)[0]
    network = {
        "weights_sha256": sha256(weights),
        "modalities": modalities,
        "spatial_size": list(spatial_size),
        "trained_size": trained,
        "weights_warning": origin_warning(weights),
    }
    return Benchmark(tuple(rows), settings, floor, reference.score, network, describe_machine(), versions())


def _checked_size(size: Sequence[int]) -> tuple[int, int, int]:
    edges = tuple(int(edge) for edge in size)
    if len(edges) != 3 or min(edges) < 32:
        raise InputError(
            f"a spatial size of {list(edges)}",
            expected="three edges of 32 voxels or more",
            remedy='Give e.g. --spatial_size "[256,256,128]".',
        )
    return edges[0], edges[1], edges[2]
