"""The table of a finished race, for people: Markdown, with everything that a reader needs to judge it."""

from __future__ import annotations

from export.benchmark_result import Benchmark
from export.race import Row

HEAD = (
    "route",
    "latency median (ms)",
    "p95 (ms)",
    "x stock",
    "process peak (MB)",
    "after imports (MB)",
    "score difference",
    "x floor",
    "remarks",
)


def table(result: Benchmark) -> str:
    """The whole text of benchmark.md. MB are 10^6 bytes; "x stock" is how many times faster than MONAI's stock export."""
    lines = [markdown_row(HEAD), markdown_row(["---", *["---:"] * (len(HEAD) - 2), "---"])]
    lines += [markdown_row(_cells(result, row)) for row in result.rows]
    return "\n".join([*_introduction(result), "", *lines, "", *_floor(result), ""])


def markdown_row(cells: list[str] | tuple[str, ...]) -> str:
    """One line of a table; a bar inside a cell can't end it."""
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _cells(result: Benchmark, row: Row) -> list[str]:
    if row.status != "ran":
        return [row.route.name, *[""] * (len(HEAD) - 2), f"{row.status}: {row.reason}"]
    median, difference = row.latency_ms(50), result.difference(row)
    return [
        row.route.name,
        f"{median:.1f}",
        f"{row.latency_ms(95):.1f}",
        f"{result.stock_ms / median:.2f}" if result.stock_ms > 0 else "",
        f"{row.peak_bytes / 1e6:.0f}",
        f"{row.imported_bytes / 1e6:.0f}",
        "" if difference is None else f"{difference:.1e}",
        f"{median / result.floor.node_by_node_ms:.2f}",
        "; ".join(_remarks(row)),
    ]


def _remarks(row: Row) -> list[str]:
    remarks = [row.note] if row.note else []
    if row.noisy:
        remarks.append(f"noisy: {row.noisy} of {len(row.samples)} samples while others used the machine")
    if row.device_bytes is not None:
        remarks.append(
            f"{row.device_bytes / 1e6:.0f} MB of the GPU's memory, image there in {row.prepare_s * 1e3:.1f} ms"
        )
    return remarks


def _introduction(result: Benchmark) -> list[str]:
    network, machine, settings = result.network, result.machine, result.settings
    size = _size(network["spatial_size"])
    kind = "virtual machine, " if machine["virtual_machine"] else ""
    packages = ", ".join(f"{name} {number}" for name, number in result.versions.items() if number)
    lines = [
        f"# One race: {' + '.join(network['modalities'])}, {size} voxels, {settings.threads} threads",
        "",
        f"{settings.repeats} samples a route, interleaved, each route in a process of its own, batch 1, one image for all.",
        f"Machine: {machine['cpu']}, {machine['logical_cores']} logical cores, {kind}{machine['memory_bytes'] / 1e9:.0f} GB, "
        f"{', '.join(machine['vector_flags']) or 'no known vector flags'}; GPU: {machine['gpu'] or 'none'}.",
        f"Versions: {packages}.",
    ]
    if network["trained_size"] and network["trained_size"] != network["spatial_size"]:
        lines.append(
            f"The weights were trained on {_size(network['trained_size'])} voxels: at {size} their scores mean nothing; times "
            "and differences are valid."
        )
    if network["weights_warning"]:
        lines.append(network["weights_warning"])
    noisy = sum(row.noisy for row in result.rows)
    if noisy:
        taken = sum(len(row.samples) for row in result.rows)
        lines.append(
            f"**{noisy} of {taken} samples were taken while others used the machine: judge these times with care.**"
        )
    return [line + "  " if line else line for line in lines]


def _floor(result: Benchmark) -> list[str]:
    floor = result.floor
    cost, rates = floor.cost, floor.rates
    return [
        "The floor, counted from the 3-D graph and the rates that this machine was measured to reach "
        f"({rates.bytes_per_s / 1e9:.1f} GB/s copied, {rates.multiply_adds_per_s / 1e9:.1f} G multiply-adds/s, "
        f"{rates.threads} threads):",
        "",
        markdown_row(("bound", "counted", "ms")),
        markdown_row(("---", "---:", "---:")),
        markdown_row(("every node through memory", f"{cost.bytes_by_node / 1e9:.2f} GB", f"{floor.all_bytes_ms:.1f}")),
        markdown_row(
            (
                "convolutions alone through memory",
                f"{cost.bytes_of_products / 1e9:.2f} GB",
                f"{floor.products_bytes_ms:.1f}",
            )
        ),
        markdown_row(
            ("arithmetic", f"{cost.total_multiply_adds / 1e9:.2f} G multiply-adds", f"{floor.arithmetic_ms:.1f}")
        ),
        "",
        f"The table's floor is max(every node through memory, arithmetic) = {floor.node_by_node_ms:.1f} ms. A route under it "
        "keeps tensors in the caches between nodes, or the rates were measured while others used the machine.",
    ]


def _size(edges: list[int]) -> str:
    return " x ".join(str(edge) for edge in edges)
