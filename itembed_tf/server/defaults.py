"""Defaults of the local server and of the TF Serving kit."""

from __future__ import annotations

GRPC_PORT, REST_PORT = 8500, 8501
METRICS_PATH = "/monitoring/prometheus/metrics"
SERVER_IMAGE = "tensorflow/serving:2.21.0"
ENCODERS_IMAGE = "itembed-encoders"  # the image with the encoders that the kit builds
