"""Outputs of a model as the JSON of TF Serving's REST API: rows ("predictions") or columns ("outputs")."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

BYTES_PER_NUMBER = 8  # in JSON, roughly


def write_json_outputs(outputs: Mapping[str, np.ndarray], rows: bool) -> bytes:
    """Response body in the format of the request: "predictions" as rows, or "outputs" as columns.

    A float32 has the fewest digits that parse to the same float32.
    """
    values = {name: _json_values(np.asarray(outputs[name])) for name in sorted(outputs)}
    finite = all(np.isfinite(array).all() for array in outputs.values() if np.asarray(array).dtype.kind == "f")
    if not rows:
        content = {"outputs": _single_or_object(values)}
    elif len(values) == 1:
        content = {"predictions": next(iter(values.values()))}
    else:
        content = {"predictions": [dict(zip(values, row)) for row in zip(*values.values())]}
    if finite:
        return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    # orjson would write null; TF Serving writes NaN, Infinity and -Infinity.
    return json.dumps(content, default=lambda value: value.tolist()).encode()


def _json_values(array: np.ndarray) -> Any:
    """An array that orjson writes as it is, or its values as lists, with strings as ``{"b64": "..."}``."""
    if array.dtype.kind in "biuf" and array.ndim:
        return np.ascontiguousarray(array)
    return _plain(array.tolist())


def _single_or_object(values: Mapping[str, Any]) -> Any:
    """The only output of a model is written without its name."""
    return next(iter(values.values())) if len(values) == 1 else values


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return {"b64": base64.b64encode(value).decode("ascii")} if isinstance(value, bytes) else value
