"""What was asked, how it ended, how long it took: for Prometheus under Triton's names, and for `/v2/models/etscnet/stats`.

Source: docs.nvidia.com/deeplearning/triton-inference-server (Metrics; Statistics Extension).
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from etscnet_edge.server.faults import LEFT

STAGES = ("queue", "compute_input", "compute_infer", "compute_output")
HELP = {
    "nv_inference_request_success": "Number of successful inference requests",
    "nv_inference_request_failure": "Number of failed inference requests",
    "nv_inference_count": "Number of inferences performed",
    "nv_inference_exec_count": "Number of model executions performed",
    "nv_inference_request_duration_us": "Cumulative inference request duration in microseconds",
    "nv_inference_queue_duration_us": "Cumulative inference queuing duration in microseconds",
    "nv_inference_compute_input_duration_us": "Cumulative compute input duration in microseconds",
    "nv_inference_compute_infer_duration_us": "Cumulative compute inference duration in microseconds",
    "nv_inference_compute_output_duration_us": "Cumulative inference compute output duration in microseconds",
    "nv_inference_pending_request_count": "Instantaneous number of pending requests awaiting execution",
}


@dataclass(eq=False)
class Statistics:
    """Counted in the event loop alone.

    Attributes:
        model, version: as the protocol names them.
        success: requests that were answered.
        failures: requests that were not, by Triton's reasons: "REJECTED" no room, "CANCELED" broken off, "OTHER" a fault in the
            input, "BACKEND" a fault of ours.
        seconds: of the answered, by stage and "request", the whole.
        failed_seconds: of those that were not.
        pending: in work or waiting now.
        last: when the last was answered, ms since 1970.
    """

    model: str
    version: str
    success: int = 0
    failures: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("REJECTED", "CANCELED", "OTHER", "BACKEND"), 0)
    )
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys((*STAGES, "request"), 0.0))
    failed_seconds: float = 0.0
    pending: int = 0
    last: int = 0

    def answered(self, seconds: dict[str, float]) -> None:
        """Count a request by the seconds of its stages and of the whole."""
        self.success += 1
        self.last = int(time.time() * 1e3)
        for stage in self.seconds:
            self.seconds[stage] += seconds[stage]

    def refused(self, status: int, seconds: float) -> None:
        """Count a request that was answered with this status."""
        reason = {503: "REJECTED", 408: "CANCELED", LEFT: "CANCELED"}.get(
            status, "OTHER" if status < 500 else "BACKEND"
        )
        self.failures[reason] += 1
        self.failed_seconds += seconds

    def to_dict(self) -> dict[str, Any]:
        """As the protocol's statistics extension says it."""
        nothing = {"count": 0, "ns": 0}
        stages = {stage: {"count": self.success, "ns": int(self.seconds[stage] * 1e9)} for stage in STAGES}
        model = {
            "name": self.model,
            "version": self.version,
            "last_inference": self.last,
            "inference_count": self.success,
            "execution_count": self.success,
            "inference_stats": {
                "success": {"count": self.success, "ns": int(self.seconds["request"] * 1e9)},
                "fail": {"count": sum(self.failures.values()), "ns": int(self.failed_seconds * 1e9)},
                **stages,
                "cache_hit": nothing,
                "cache_miss": nothing,
            },
            "batch_stats": [],
        }
        return {"model_stats": [model]}

    def exposition(self) -> bytes:
        """Prometheus's text format, with the process's memory, time and open files."""
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        registry.register(self)
        return generate_latest(registry)

    def collect(self) -> Iterable[Metric]:
        """The metrics. Their kind is left unsaid: prometheus_client ends a counter's name in _total, Triton does not."""
        labels = {"model": self.model, "version": self.version}
        values = {
            "nv_inference_request_success": self.success,
            "nv_inference_count": self.success,
            "nv_inference_exec_count": self.success,
            "nv_inference_pending_request_count": self.pending,
            "nv_inference_request_duration_us": self.seconds["request"] * 1e6,
            **{f"nv_inference_{stage}_duration_us": self.seconds[stage] * 1e6 for stage in STAGES},
        }
        for name, text in HELP.items():
            metric = Metric(name, text, "unknown")
            if name == "nv_inference_request_failure":
                for reason, count in self.failures.items():
                    metric.add_sample(name, {**labels, "reason": reason}, count)
            else:
                metric.add_sample(name, labels, values[name])
            yield metric
