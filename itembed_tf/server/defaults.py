"""Ports and paths that the local server and the TF Serving kit have in common."""

from __future__ import annotations

GRPC_PORT, REST_PORT = 8500, 8501
METRICS_PATH = "/monitoring/prometheus/metrics"
