"""Outputs of a model as the JSON of TF Serving's REST API: rows ("predictions") or columns ("outputs")."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

BYTES_PER_NUMBER = 8  # in JSON, roughly
_PART = 2**14  # numbers, which orjson writes in a millisecond


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
        return dump_json(content)
    # orjson would write null; TF Serving writes NaN, Infinity and -Infinity.
    return json.dumps(content, default=lambda value: value.tolist()).encode()


def dump_json(content: Any) -> bytes:
    """Content as JSON, with arrays of finite numbers in it.

    An array is written in parts: orjson lets no other thread run before it has finished, and the event loop would wait.
    """
    return orjson.dumps(content, default=_fragment)


def _fragment(value: Any) -> orjson.Fragment:
    """An array or a number of NumPy, written; orjson asks for it where it finds one."""
    return orjson.Fragment(_dump_array(value) if isinstance(value, np.ndarray) else _dump_numbers(value))


def _dump_array(array: np.ndarray) -> bytes:
    if array.ndim > 1:
        return b"[" + b",".join(map(_dump_array, array)) + b"]"
    if len(array) <= _PART:
        return _dump_numbers(array)
    parts = [_dump_numbers(array[start : start + _PART])[1:-1] for start in range(0, len(array), _PART)]
    return b"[" + b",".join(parts) + b"]"


def _dump_numbers(numbers: Any) -> bytes:
    return orjson.dumps(numbers, option=orjson.OPT_SERIALIZE_NUMPY)


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
