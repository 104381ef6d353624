"""The Grafana board of the served encoders: a table of panels -> Grafana's JSON."""

from __future__ import annotations

from typing import Any, NamedTuple

_WIDTH, _HEIGHT = 12, 8  # Grafana's grid is 24 wide: two panels a row
_SOURCE = {"type": "prometheus", "uid": "${source}"}
_COARSE = "Interpolated within buckets of which each is 1.8 times as wide as the one before."


class Panel(NamedTuple):
    """One panel: title, Grafana's name of the unit, legend -> PromQL, and what its reader must know."""

    title: str
    unit: str
    series: dict[str, str]
    about: str = ""


def _rate(metric: str, *matchers: str) -> str:
    return f"rate(:tensorflow:serving:{metric}{{{', '.join(matchers)}}}[$__rate_interval])"


def _quantiles(metric: str, label: str, *matchers: str) -> dict[str, str]:
    buckets = f"sum by (le, {label}) ({_rate(metric + '_bucket', *matchers)})"
    return {f"p{share} {{{{{label}}}}}": f"histogram_quantile(0.{share}, {buckets})" for share in (50, 95, 99)}


_MODEL, _OK, _FAILED = 'model_name=~"$model"', 'status="OK"', 'status!="OK"'
PANELS = (
    Panel(
        "Requests answered",
        "reqps",
        {"{{model_name}}": f"sum by (model_name) ({_rate('request_count', _MODEL, _OK)})"},
        "A request is one item or many.",
    ),
    Panel(
        "Requests refused or failed",
        "reqps",
        {"{{model_name}} {{status}}": f"sum by (model_name, status) ({_rate('request_count', _MODEL, _FAILED)})"},
        "INVALID_ARGUMENT is a caller's fault: no picture, a wrong shape. UNAVAILABLE is a full queue.",
    ),
    Panel("Time of a request", "µs", _quantiles("request_latency", "model_name", _MODEL), _COARSE),
    Panel(
        "Time in the model",
        "µs",
        _quantiles("runtime_latency", "model_name", _MODEL),
        f"With batching, TF Serving counts the wait for a batch here too. {_COARSE}",
    ),
    Panel("Wait for a batch", "µs", _quantiles("batching_session:queuing_latency", "thread_pool_name")),
    Panel(
        "Requests a batch",
        "short",
        {
            "TF Serving": f"sum({_rate('request_count', _OK)}) / sum({_rate('batching_session:wrapped_run_count')})",
            "local server, items": f"sum({_rate('batching_session:processed_batch_size_sum')}) / "
            f"sum({_rate('batching_session:processed_batch_size_count')})",
        },
        "TF Serving counts batches but not, in this format, their items; the local server counts both.",
    ),
    Panel("Servers that answer", "short", {"{{job}}": "sum by (job) (up)"}),
    Panel(
        "Memory of the local server",
        "bytes",
        {"{{instance}}": "process_resident_memory_bytes"},
        "TF Serving does not say; the container runtime does.",
    ),
)


def board() -> dict[str, Any]:
    """The dashboard as Grafana's JSON; Prometheus and the models shown are chosen at its top."""
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
        "description": panel.about,
        "datasource": _SOURCE,
        "gridPos": {"x": i % 2 * _WIDTH, "y": i // 2 * _HEIGHT, "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"tooltip": {"mode": "multi", "sort": "desc"}},
        "targets": [
            {"refId": chr(ord("A") + k), "datasource": _SOURCE, "expr": expression, "legendFormat": legend}
            for k, (legend, expression) in enumerate(panel.series.items())
        ],
    }
