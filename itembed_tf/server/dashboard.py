"""Grafana dashboard of the served encoders."""

from __future__ import annotations

from typing import Any, NamedTuple

_WIDTH, _HEIGHT = 12, 8  # Grafana's grid is 24 wide: two panels a row
_SOURCE = {"type": "prometheus", "uid": "${source}"}
_RESOLUTION = "Interpolated within histogram buckets; each bucket is 1.8 times as wide as the previous one."


class Panel(NamedTuple):
    """One panel.

    Attributes:
        title: shown above it.
        unit: Grafana's identifier of the unit.
        series: PromQL expression by legend.
        description: shown as a tooltip.
    """

    title: str
    unit: str
    series: dict[str, str]
    description: str = ""


def _rate(metric: str, *matchers: str) -> str:
    return f"rate(:tensorflow:serving:{metric}{{{', '.join(matchers)}}}[$__rate_interval])"


def _quantiles(metric: str, label: str, *matchers: str) -> dict[str, str]:
    buckets = f"sum by (le, {label}) ({_rate(metric + '_bucket', *matchers)})"
    return {f"p{share} {{{{{label}}}}}": f"histogram_quantile(0.{share}, {buckets})" for share in (50, 95, 99)}


_MODEL, _OK, _FAILED = 'model_name=~"$model"', 'status="OK"', 'status!="OK"'
PANELS = (
    Panel(
        "Successful requests",
        "reqps",
        {"{{model_name}}": f"sum by (model_name) ({_rate('request_count', _MODEL, _OK)})"},
        "A request holds one or more items.",
    ),
    Panel(
        "Failed requests",
        "reqps",
        {"{{model_name}} {{status}}": f"sum by (model_name, status) ({_rate('request_count', _MODEL, _FAILED)})"},
        "INVALID_ARGUMENT: an invalid image or a wrong shape, an error of the caller. UNAVAILABLE: the queue is full.",
    ),
    Panel("Request latency", "µs", _quantiles("request_latency", "model_name", _MODEL), _RESOLUTION),
    Panel(
        "Model latency",
        "µs",
        _quantiles("runtime_latency", "model_name", _MODEL),
        f"With batching, TF Serving includes the time in the batching queue. {_RESOLUTION}",
    ),
    Panel("Time in the batching queue", "µs", _quantiles("batching_session:queuing_latency", "thread_pool_name")),
    Panel(
        "Batch size",
        "short",
        {
            "TF Serving, requests": f"sum({_rate('request_count', _OK)}) / "
            f"sum({_rate('batching_session:wrapped_run_count')})",
            "local server, items": f"sum({_rate('batching_session:processed_batch_size_sum')}) / "
            f"sum({_rate('batching_session:processed_batch_size_count')})",
        },
        "TF Serving exports the number of batches but not of their items; the local server exports both.",
    ),
    Panel("Servers up", "short", {"{{job}}": "sum by (job) (up)"}),
    Panel(
        "Memory of the local server",
        "bytes",
        {"{{instance}}": "process_resident_memory_bytes"},
        "TF Serving does not export it; read it from the container runtime.",
    ),
)


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana's JSON; the data source and the models are variables of the dashboard."""
    source = {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    values = "label_values(:tensorflow:serving:request_count, model_name)"
    model = {
        "name": "model",
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": values, "refId": "model"},
        "definition": values,
        "refresh": 2,  # when the time range changes
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }
    return {
        "uid": "itembed-encoders",
        "title": "itembed_tf encoders",
        "tags": ["itembed_tf"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "15s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [source, model]},
        "panels": [_panel(i, panel) for i, panel in enumerate(PANELS)],
    }


def _panel(i: int, panel: Panel) -> dict[str, Any]:
    return {
        "id": i + 1,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.description,
        "datasource": _SOURCE,
        "gridPos": {"x": i % 2 * _WIDTH, "y": i // 2 * _HEIGHT, "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"tooltip": {"mode": "multi", "sort": "desc"}},
        "targets": [
            {"refId": chr(ord("A") + k), "datasource": _SOURCE, "expr": expression, "legendFormat": legend}
            for k, (legend, expression) in enumerate(panel.series.items())
        ],
    }
