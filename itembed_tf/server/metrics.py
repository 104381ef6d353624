"""What the local server counts, under TF Serving's names, so that the same board and alarms read both."""

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

from itembed_tf.server.batching import Piece

PATH = "/monitoring/prometheus/metrics"
_MICROSECONDS = [10 * 1.8**i for i in range(32)]
_ITEMS = [2.0**i for i in range(14)]


class Metrics:
    """The counters of one server; times in microseconds, as TF Serving's."""

    def __init__(self) -> None:
        disable_created_metrics()  # a time for each series, which TF Serving does not give
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        # Gauges that only rise: prometheus_client would write the name of a Counter with "_total" behind it.
        self._requests = self._gauge("request_count", "Requests.", ["model_name", "status"])
        self._latency = self._times("request_latency", "Answered requests.", ["model_name", "API", "entrypoint"])
        self._runtime = self._times("runtime_latency", "Runs of the model.", ["model_name", "API", "runtime"])
        self._queued = self._times("batching_session:queuing_latency", "Waits in the queue.", ["thread_pool_name"])
        name, words = ":tensorflow:serving:batching_session:processed_batch_size", "Items that ran together."
        self._batch = Histogram(name, words, buckets=_ITEMS, registry=self.registry)

    def request(self, model: str, status: str, api: str, entrypoint: str, seconds: float) -> None:
        """One request; `model` is "" where there is none of the name sent, lest callers fill the memory with names."""
        self._requests.labels(model, status).inc()
        if status == "OK":
            self._latency.labels(model, api, entrypoint).observe(seconds * 1e6)

    def batch(self, model: str, batch: Sequence[Piece], started: float, seconds: float) -> None:
        """One batch that ran for `seconds` and began at `started` (time.monotonic)."""
        self._runtime.labels(model, "Predict", "TF2").observe(seconds * 1e6)
        self._batch.observe(sum(piece.items for piece in batch))
        for piece in batch:
            self._queued.labels(model).observe((started - piece.since) * 1e6)

    def page(self) -> bytes:
        """All of them in Prometheus's text format."""
        return generate_latest(self.registry)

    def _gauge(self, name: str, words: str, labels: list[str]) -> Gauge:
        return Gauge(f":tensorflow:serving:{name}", words, labels, registry=self.registry)

    def _times(self, name: str, words: str, labels: list[str]) -> Histogram:
        words = f"{words} In microseconds."
        return Histogram(f":tensorflow:serving:{name}", words, labels, buckets=_MICROSECONDS, registry=self.registry)
