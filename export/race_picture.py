"""The picture of a finished race: latency against memory, one mark a route, the better the further down and left.

Colours are those of Okabe and Ito, which the colour-blind can tell apart; families differ in shape too.
"""

from __future__ import annotations

import io
import logging
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from matplotlib.transforms import Bbox

from export.benchmark_result import Benchmark
from export.race import Row
from scripts.files import write_atomically

MARKS = {
    "torch": ("#E69F00", "s", "PyTorch"),
    "ort": ("#CC79A7", "D", "MONAI's stock export, ONNX Runtime"),
    "openvino": ("#56B4E9", "^", "OpenVINO on the stock export"),
    "ours": ("#0072B2", "o", "ours"),
    "gpu": ("#009E73", "P", "on the GPU (host memory)"),
}
PLACES = (
    (9, 0),
    (9, 11),
    (9, -11),
    (0, 13),
    (0, -13),
    (-9, 0),
    (-9, 11),
    (-9, -11),
    (9, 23),
    (9, -23),
    (-9, 23),
    (-9, -23),
)


def draw(result: Benchmark, output_dir: str | Path) -> None:
    """Write benchmark.png and benchmark.svg into `output_dir`; nothing is written where no route ran."""
    rows = [row for row in result.rows if row.samples]
    if not rows:
        logging.getLogger(__name__).warning("no route ran: no picture")
        return
    figure = Figure(figsize=(9, 5.6), layout="constrained")
    axes = figure.add_subplot()
    for family, (colour, shape, label) in MARKS.items():
        points = [_point(row) for row in rows if row.route.family == family]
        if points:
            x, y = zip(*points, strict=True)
            axes.scatter(x, y, s=75, c=colour, marker=shape, label=label, edgecolors="black", zorder=3)
    axes.set(
        xscale="log", yscale="log", xlabel="median latency (ms)", ylabel="peak resident memory of the process (MB)"
    )
    axes.margins(0.14)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_formatter(NullFormatter())
    axes.grid(color="#DDDDDD", zorder=0)
    edges = " x ".join(str(edge) for edge in result.network["spatial_size"])
    axes.set_title(
        f"{' + '.join(result.network['modalities'])}, {edges}, {result.settings.threads} threads, {result.machine['cpu']}",
        loc="left",
        fontsize=10,
    )
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=3, fontsize=9, frameon=False)
    _label(axes, rows)
    with matplotlib.rc_context({"svg.hashsalt": "etscnet"}):  # the same race gives the same bytes
        for kind in ("png", "svg"):
            content = io.BytesIO()
            figure.savefig(content, format=kind, dpi=130, metadata={"Date": None} if kind == "svg" else None)
            write_atomically(Path(output_dir) / f"benchmark.{kind}", content.getvalue())


def _point(row: Row) -> tuple[float, float]:
    return row.latency_ms(50), row.peak_bytes / 1e6


def _label(axes: Axes, rows: list[Row]) -> None:
    """Name every mark at the first of several places where neither another mark nor another name is."""
    figure = axes.figure
    figure.draw_without_rendering()  # type: ignore[union-attr]
    marks = [axes.transData.transform(_point(row)) for row in rows]
    taken = [Bbox.from_extents(x - 7, y - 7, x + 7, y + 7) for x, y in marks]
    for row in sorted(rows, key=_point):
        for dx, dy in PLACES:
            name = axes.annotate(
                row.route.name,
                _point(row),
                (dx, dy),
                textcoords="offset points",
                fontsize=8,
                ha="left" if dx > 0 else "right" if dx < 0 else "center",
                va="center",
                arrowprops={"arrowstyle": "-", "color": "#888888", "linewidth": 0.6} if dy else None,
            )
            box = name.get_window_extent()
            inside = axes.bbox.contains(box.x0, box.y0) and axes.bbox.contains(box.x1, box.y1)
            if inside and not any(box.overlaps(other) for other in taken):
                break
            if (dx, dy) != PLACES[-1]:
                name.remove()
        taken.append(box)
