"""Prometheus metrics of the local server, under TF Serving's names, so that dashboards and alerts work with both."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import (
    CollectorRegistry,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from itembed_tf.server.batching import RequestPart

_MICROSECOND_BUCKETS = [10 * 1.8**i for i in range(32)]
_ITEM_BUCKETS = [2.0**i for i in range(14)]


class Metrics:
    """Metrics of one server; times in microseconds, as in TF Serving."""

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
        return generate_latest(self.registry)

    def _gauge(self, name: str, description: str, labels: list[str]) -> Gauge:
        return Gauge(f":tensorflow:serving:{name}", description, labels, registry=self.registry)

    def _histogram(self, name: str, description: str, labels: list[str]) -> Histogram:
        name, description = f":tensorflow:serving:{name}", f"{description}, in microseconds."
        return Histogram(name, description, labels, buckets=_MICROSECOND_BUCKETS, registry=self.registry)
