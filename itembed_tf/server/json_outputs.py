"""Outputs of a model as the JSON of TF Serving's REST API: rows ("predictions") or columns ("outputs")."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np


def write_json_outputs(outputs: Mapping[str, np.ndarray], rows: bool) -> bytes:
    """Response body in the format of the request: "predictions" as rows, or "outputs" as columns."""
    if not rows:
        columns = {name: _text(values) for name, values in outputs.items()}
        return f'{{"outputs": {_single_or_object(columns)}}}'.encode()
    parts = {name: [_text(value) for value in values] for name, values in outputs.items()}
    count = len(next(iter(parts.values())))
    predictions = ", ".join(_single_or_object({name: part[i] for name, part in parts.items()}) for i in range(count))
    return f'{{"predictions": [{predictions}]}}'.encode()


def _single_or_object(texts: Mapping[str, str]) -> str:
    """The only output of a model is written without its name."""
    if len(texts) == 1:
        return next(iter(texts.values()))
    return "{" + ", ".join(f"{json.dumps(name)}: {text}" for name, text in sorted(texts.items())) + "}"


def _text(values: Any) -> str:
    """An array as JSON; float32 with the fewest digits that parse to the same float32."""
    array = np.asarray(values)
    if array.dtype.kind != "f" or not np.isfinite(array).all() or not array.ndim:
        return json.dumps(_plain(array.tolist()))
    if array.ndim > 1:
        return "[" + ", ".join(_text(part) for part in array) + "]"
    return "[" + ", ".join(array.astype("U").tolist()) + "]"


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return {"b64": base64.b64encode(value).decode("ascii")} if isinstance(value, bytes) else value
