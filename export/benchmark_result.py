"""What a race of all routes found, with the floor beneath them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from export.floor import Floor
from export.race import Row, Settings
from export.routes import STOCK


@dataclass(frozen=True)
class Benchmark:
    """A finished race. `reference` is the score of torch in float32 on the same image; None where torch itself failed."""

    rows: tuple[Row, ...]
    settings: Settings
    floor: Floor
    reference: float | None
    network: dict[str, Any]
    machine: dict[str, Any]
    versions: dict[str, str | None]

    @property
    def stock_ms(self) -> float:
        """Median latency of MONAI's stock export on ONNX Runtime, ms; NaN where it did not run."""
        return next((row.latency_ms(50) for row in self.rows if row.route.name == STOCK), float("nan"))

    def difference(self, row: Row) -> float | None:
        """|score - torch float32's|; None where either is missing."""
        return None if row.score is None or self.reference is None else abs(row.score - self.reference)

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        rows = []
        for row in self.rows:
            figures: dict[str, Any] = {"score_difference": self.difference(row)}
            if row.samples:
                figures["times_floor"] = row.latency_ms(50) / self.floor.node_by_node_ms
                if self.stock_ms > 0:
                    figures["times_faster_than_stock"] = self.stock_ms / row.latency_ms(50)
            rows.append({**row.to_dict(), **figures})
        return {
            "network": self.network,
            "machine": self.machine,
            "versions": self.versions,
            "settings": asdict(self.settings),
            "reference_score": self.reference,
            "floor": self.floor.to_dict(),
            "routes": rows,
        }
