"""Prometheus metrics of the local server, under TF Serving's names, so that dashboards and alerts work with both."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from itembed_tf.server.batching import RequestPart

_MICROSECOND_BUCKETS = [10 * 1.8**i for i in range(32)]
_ITEM_BUCKETS = [2.0**i for i in range(14)]


class Metrics:
    """Metrics of one server; times in microseconds, as in TF Serving.

    With several workers, prometheus_client counts for all of them in the folder of PROMETHEUS_MULTIPROC_DIR, and each
    worker answers with the sums.
    """

    def __init__(self) -> None:
        disable_created_metrics()  # *_created series, which TF Serving does not export
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        # A Gauge, not a Counter: prometheus_client appends "_total" to the name of a Counter.
        self._requests = self._gauge("request_count", "Number of requests.", ["model_name", "status"])
        self._latency = self._histogram(
            "request_latency", "Latency of successful requests", ["model_name", "API", "entrypoint"]
        )
        self._runtime = self._histogram(
            "runtime_latency", "Latency of the model, per batch", ["model_name", "API", "runtime"]
        )
        self._queued = self._histogram(
            "batching_session:queuing_latency", "Time in the batching queue", ["thread_pool_name"]
        )
        name, description = ":tensorflow:serving:batching_session:processed_batch_size", "Number of items in a batch."
        self._batch = Histogram(name, description, buckets=_ITEM_BUCKETS, registry=self.registry)

    def request(self, model: str, status: str, api: str, entrypoint: str, seconds: float) -> None:
        """Record one request; `model` is "" for an unknown model, to bound label cardinality."""
        self._requests.labels(model, status).inc()
        if status == "OK":
            self._latency.labels(model, api, entrypoint).observe(seconds * 1e6)

    def batch(self, model: str, engine: str, batch: Sequence[RequestPart], started: float, seconds: float) -> None:
        """Record one batch that started at `started` (time.monotonic) and ran for `seconds`."""
        self._runtime.labels(model, "Predict", "TF2" if engine == "TensorFlow" else engine).observe(seconds * 1e6)
        self._batch.observe(sum(part.items for part in batch))
        for part in batch:
            self._queued.labels(model).observe((started - part.enqueued) * 1e6)

    def page(self) -> bytes:
        """All metrics in the Prometheus text format."""
        folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
        if not folder:
            return generate_latest(self.registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry, folder)
        registry.register(_WorkerProcesses(Path(folder)))
        return generate_latest(registry)

    def _gauge(self, name: str, description: str, labels: list[str]) -> Gauge:
        return Gauge(
            f":tensorflow:serving:{name}", description, labels, registry=self.registry, multiprocess_mode="sum"
        )

    def _histogram(self, name: str, description: str, labels: list[str]) -> Histogram:
        name, description = f":tensorflow:serving:{name}", f"{description}, in microseconds."
        return Histogram(name, description, labels, buckets=_MICROSECOND_BUCKETS, registry=self.registry)


class _WorkerProcesses:
    """Memory, CPU time and open files of all workers that run, as sums; the start time is that of the oldest."""

    def __init__(self, folder: Path) -> None:
        """`folder` is where the workers count: files are named KIND_PROCESS.db."""
        numbers = {int(file.stem.rpartition("_")[2]) for file in folder.glob("*.db")}
        self._processes = [number for number in numbers if Path(f"/proc/{number}").exists()]

    def collect(self) -> Iterator[Any]:
        by_name: dict[str, Any] = {}
        for number in self._processes:
            for metric in ProcessCollector(pid=partial(int, number), registry=None).collect():
                (sample,) = metric.samples
                total = by_name.setdefault(metric.name, metric)
                if total is not metric:
                    (former,) = total.samples
                    values = former.value, sample.value
                    combined = min(values) if metric.name == "process_start_time_seconds" else sum(values)
                    total.samples = [former._replace(value=combined)]
        return iter(by_name.values())
