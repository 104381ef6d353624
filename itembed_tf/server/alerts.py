"""Alert rules of the served encoders, for Prometheus."""

from __future__ import annotations

from typing import NamedTuple


class Alert(NamedTuple):
    """One rule.

    Attributes:
        name: of the alert.
        expression: PromQL; the alert fires while it has a result.
        duration: for which it must hold.
        severity: "critical" needs somebody now, "warning" today.
        summary: what it means and what to do.
    """

    name: str
    expression: str
    duration: str
    severity: str
    summary: str


_REQUESTS = ":tensorflow:serving:request_count"
_SLOW_SECONDS = 2


def make_alerts(job: str) -> tuple[Alert, ...]:
    """The rules for a Prometheus job, or a PodMonitor whose name ends so."""
    selected = f'job=~"(.*/)?{job}"'
    failed = f'sum(rate({_REQUESTS}{{{selected}, status!~"OK|INVALID_ARGUMENT|NOT_FOUND"}}[5m]))'
    every = f"sum(rate({_REQUESTS}{{{selected}}}[5m]))"
    latency = f"sum by (le, model_name) (rate(:tensorflow:serving:request_latency_bucket{{{selected}}}[5m]))"
    return (
        Alert(
            "EncodersDown",
            f"sum(up{{{selected}}}) == 0 or absent(up{{{selected}}})",
            "2m",
            "critical",
            "No server of the encoders answers Prometheus.",
        ),
        Alert(
            "EncodersFail",
            f"{failed} / {every} > 0.05",
            "5m",
            "critical",
            "More than 5 % of the requests fail, not counting errors of the callers; see the servers' logs.",
        ),
        Alert(
            "EncodersOverloaded",
            f'sum(rate({_REQUESTS}{{{selected}, status="UNAVAILABLE"}}[5m])) > 0',
            "10m",
            "warning",
            "Requests have been refused for ten minutes because the queue is full: add servers or cores.",
        ),
        Alert(
            "EncodersSlow",
            f"histogram_quantile(0.99, {latency}) > {_SLOW_SECONDS * 1e6:.0f}",
            "10m",
            "warning",
            f"One in a hundred requests has taken more than {_SLOW_SECONDS} s for ten minutes.",
        ),
        Alert(
            "TooManyMetrics",
            f"up{{{selected}}} == 0 and on (instance, job) scrape_samples_post_metric_relabeling{{{selected}}} > 0",
            "5m",
            "warning",
            "A server's metrics are refused, for example because they exceed sample_limit.",
        ),
    )
