"""How the cost grows with voxels and with modalities, for ours and for MONAI's stock export.

Each point is a race of its own over a *variant* of the bundle: the same weights, their branches repeated for further modalities,
said to be trained at the size. Scores mean nothing there; times do.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from export.benchmark import run_race
from export.benchmark_result import Benchmark
from export.bundle import load_bundle
from export.forms import chosen
from export.machine import cpu_flags
from export.manifest import write_manifest
from export.race import Settings
from export.race_table import markdown_row
from export.routes import STOCK, all_routes
from export.stock import stock_export, weights_modalities
from export.to_onnx import write_forms
from export.worker import ROOT
from scripts.answer import Answer
from scripts.checkpoint import read_weights, save
from scripts.files import write_atomically

SIZES = ((64, 64, 32), (128, 128, 64), (256, 256, 128))
MODALITIES = (1, 2, 3, 4)


def benchmark_scaling(
    bundle_root: str | Path = "bundle",
    output_dir: str | Path = "results/scaling",
    *,
    sizes: Sequence[Sequence[int]] = SIZES,
    modality_counts: Sequence[int] = MODALITIES,
    threads: int = 2,
    runs: int = 5,
) -> Answer:
    """Race our forms and the stock ones over sizes (with the bundle's modalities) and over numbers of modalities.

    Args:
        bundle_root: folder of the bundle whose weights are used.
        output_dir: folder of scaling.json and scaling.md.
        sizes: edges in voxels, (x, y, z) each.
        modality_counts: numbers of modalities, raced at the middle size.
        threads: of each route.
        runs: samples a route and point.

    Example:
        python -m export benchmark-scaling --sizes "[[64,64,32],[128,128,64]]" --modality_counts 1 2 --output_dir results/scaling

    Returns:
        The table, and scaling.json.

    Raises:
        InputError: no weights, or an export failed.
    """
    settings, own = Settings(threads=int(threads), repeats=int(runs)), len(weights_modalities(_weights(bundle_root)))
    middle = sizes[len(sizes) // 2]
    points = dict.fromkeys(
        [(tuple(size), own) for size in sizes] + [(tuple(middle), count) for count in modality_counts]
    )
    races: list[tuple[Sequence[int], int, Benchmark]] = []
    content: list[dict[str, Any]] = []
    for size, count in points:
        races.append((size, count, _race_at(bundle_root, size, count, settings)))
        content = [{"spatial_size": at, "modalities": number, **race.to_dict()} for at, number, race in races]
        write_atomically(Path(output_dir) / "scaling.json", json.dumps(content, indent=2) + "\n")  # so far: it is long
    text = _table(races)
    write_atomically(Path(output_dir) / "scaling.md", text)
    return Answer(text, {"races": content})


def _race_at(bundle_root: str | Path, size: Sequence[int], count: int, settings: Settings) -> Benchmark:
    print(f"{list(size)}, {count} modalities", file=sys.stderr, flush=True)
    with TemporaryDirectory() as folder:
        variant = make_variant(bundle_root, Path(folder) / "bundle", spatial_size=size, count=count)
        stock = stock_export(variant, folder, spatial_size=size)
        exports = Path(folder) / "exports"
        exports.mkdir()
        bundle = load_bundle(variant)
        forms = {name: form for name, form in chosen(None, cpu_flags()).items() if not name.startswith("gpu")}
        write_forms(bundle, forms, exports, spatial_size=size)
        write_manifest(bundle, forms, exports, spatial_size=size)
        routes = all_routes(_weights(variant), stock, exports=exports)
        running = [route for route in routes if route.name == STOCK or route.kind == "session"]
        return run_race(running, _weights(variant), stock=stock, spatial_size=size, settings=settings)


def make_variant(bundle_root: str | Path, target: Path, *, spatial_size: Sequence[int], count: int) -> Path:
    """A bundle of `count` modalities at another size: weights repeated in turn, fused equally.

    Returns:
        `target`, laid out as an unzipped bundle.
    """
    state, names = read_weights(_weights(bundle_root)), weights_modalities(_weights(bundle_root))
    modalities = [f"m{index}" for index in range(count)]
    repeated: dict[str, Any] = {name: value for name, value in state.items() if not name.startswith("branches.")}
    for index, modality in enumerate(modalities):
        own = f"branches.{names[index % len(names)]}."
        repeated |= {name.replace(own, f"branches.{modality}."): state[name] for name in state if name.startswith(own)}
    repeated["fusion_weights"] = torch.full((count,), 1 / count)
    repeated["spatial_size"] = torch.tensor(list(spatial_size))
    shutil.copytree(Path(bundle_root) / "configs", target / "configs")
    (target / "scripts").symlink_to(ROOT / "scripts")
    save(repeated, _weights(target))
    _change(target / "configs" / "inference.json", {"modalities": modalities})
    return target


def _change(path: Path, changes: dict[str, Any]) -> None:
    write_atomically(path, json.dumps({**json.loads(path.read_text()), **changes}, indent=4))


def _table(races: Sequence[tuple[Sequence[int], int, Benchmark]]) -> str:
    head = ("voxels", "modalities", "route", "median (ms)", "ns a voxel and modality", "process peak (MB)", "remarks")
    lines = [markdown_row(head), markdown_row(("---", "---:", "---", "---:", "---:", "---:", "---"))]
    for size, count, race in races:
        voxels = size[0] * size[1] * size[2] * count
        for row in race.rows:
            where = [" x ".join(map(str, size)), str(count), row.route.name]
            if row.samples:
                noisy = f"noisy: {row.noisy} of {len(row.samples)}" if row.noisy else ""
                median = row.latency_ms(50)
                figures = [f"{median:.1f}", f"{median * 1e6 / voxels:.1f}", f"{row.peak_bytes / 1e6:.0f}", noisy]
            else:
                figures = ["", "", "", f"{row.status}: {row.reason}"]
            lines.append(markdown_row([*where, *figures]))
    return "\n".join([*lines, ""])


def _weights(bundle_root: str | Path) -> Path:
    return Path(bundle_root) / "models" / "model.pt"
