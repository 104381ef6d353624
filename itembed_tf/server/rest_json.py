"""Conversion between arrays and the JSON of TF Serving's REST API: rows ("instances") and columns ("inputs")."""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from itembed_tf.server.errors import invalid_argument
from itembed_tf.server.tensors import check_shape

_MAX_SHOWN = 256  # characters of a value that an error repeats


def parse_request(body: bytes) -> dict[str, Any]:
    """Parse the body of a predict request: a JSON object with either "instances" or "inputs".

    Raises:
        RequestError: not JSON, or not such an object.
    """
    if not body:
        raise invalid_argument("JSON Parse error: The document is empty")
    try:
        content = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise invalid_argument(f"JSON Parse error: {str(error)[:_MAX_SHOWN]}") from None
    if not isinstance(content, dict):
        raise invalid_argument(f"JSON Value: {_show(content)} Is not object")
    if not isinstance(content.get("signature_name", ""), str):
        raise invalid_argument(
            f"JSON Value: {_show(content)} not formatted correctly. 'signature_name' key must be a string value."
        )
    if ("instances" in content) == ("inputs" in content):
        both = "Not formatted correctly expecting only one of" if "inputs" in content else "Missing"
        raise invalid_argument(f"JSON Value: {_show(content)} {both} 'inputs' or 'instances' key")
    return content


def read_json_inputs(content: Mapping[str, Any], infos: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Inputs of a parsed request as arrays; strings become bytes.

    Args:
        content: returned by `parse_request`.
        infos: TensorInfo by name, from the signature.

    Raises:
        RequestError: names, types or shapes differ from the signature; the message gives the index of the row.
    """
    columns = _rows(content["instances"], infos) if "instances" in content else _columns(content["inputs"], infos)
    return {name: _array(name, columns[name], info, "instances" in content) for name, info in infos.items()}


def _rows(rows: Any, infos: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(rows, list):
        raise invalid_argument(f"JSON Value: {_show(rows)} Expecting 'instances' to be an list/array")
    if not rows:
        raise invalid_argument("No values in 'instances' array")
    named = _is_object(rows[0])
    if not named and len(infos) > 1:
        raise invalid_argument(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map"
        )
    for i, row in enumerate(rows):
        if _is_object(row) != named:
            problem = "Expecting object but got list" if named else "Expecting value/list but got object"
            raise invalid_argument(f"{problem} at item {i} of input list")
        if named and row.keys() != infos.keys():
            raise invalid_argument(
                f"Failed to process element: {i} of 'instances' list. JSON object: {_show(row)} keys must be equal to: "
                + ",".join(sorted(infos))
            )
    return {name: [row[name] if named else row for row in rows] for name in infos}


def _columns(columns: Any, infos: Mapping[str, Any]) -> dict[str, Any]:
    if not _is_object(columns):
        if len(infos) > 1:
            raise invalid_argument(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map"
            )
        return dict.fromkeys(infos, columns)
    for name in infos:
        if name not in columns:
            raise invalid_argument(f"Missing named input: {name} in 'inputs' object.")
    return columns


def _array(name: str, value: Any, info: Any, rows: bool) -> np.ndarray:
    shape: list[int] = []
    inner = value
    while isinstance(inner, list):
        shape.append(len(inner))
        if not inner:
            break
        inner = inner[0]
    flat: list[Any] = []
    _flatten(name, value, shape, 0, tf.as_dtype(info.dtype), flat, "" if rows else name)
    check_shape(name, shape, info)
    array = np.empty(len(flat), tf.as_dtype(info.dtype).as_numpy_dtype)
    try:
        array[:] = flat
    except OverflowError as error:
        raise invalid_argument(f"{name}: {error}") from None
    return array.reshape(shape)


def _flatten(name: str, value: Any, shape: list[int], level: int, dtype: tf.DType, flat: list[Any], place: str) -> None:
    """Append all values in order, each checked; `place` is the position in the request, for the error."""
    if isinstance(value, list):
        if level >= len(shape) or len(value) != shape[level]:
            expected = f"size: {shape[level]}" if level < len(shape) else f"level < {len(shape)}"
            raise invalid_argument(f"{place}: Encountered list of {len(value)} at level: {level} expected {expected}")
        for i, part in enumerate(value):
            here = f"Failed to process element: {i} of 'instances' list" if not (place or level) else f"{place}[{i}]"
            _flatten(name, part, shape, level + 1, dtype, flat, here)
        return
    if level != len(shape):
        raise invalid_argument(
            f"{place}: JSON Value: {_show(value)} found at incorrect level: {level + 1} in the JSON DOM. "
            f"Expected at level: {len(shape)}"
        )
    flat.append(_value(value, dtype, place))


def _value(value: Any, dtype: tf.DType, place: str) -> Any:
    if dtype == tf.string:
        if isinstance(value, str):
            return value.encode("utf-8", "replace")
        if isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str):
            try:
                return base64.b64decode(value["b64"], validate=True)
            except (binascii.Error, ValueError):
                raise invalid_argument(f"{place}: Unable to base64 decode") from None
        if isinstance(value, dict):
            raise invalid_argument(f"{place}: JSON Value: {_show(value)} not formatted correctly for base64 data")
    elif dtype == tf.bool:
        if isinstance(value, bool):
            return value
    elif dtype.is_integer:
        if isinstance(value, int) and not isinstance(value, bool) and dtype.min <= value <= dtype.max:
            return value
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            pass
    json_types = {dict: "Object", list: "Array", str: "String", bool: str(value), type(None): "Null"}
    json_type = json_types.get(type(value), "Number")
    raise invalid_argument(
        f"{place}: JSON Value: {_show(value)} Type: {json_type} is not of expected type: {dtype.name}"
    )


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


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and not (value.keys() == {"b64"} and isinstance(value["b64"], str))


def _show(value: Any) -> str:
    """The beginning of a value, for an error message."""
    if isinstance(value, str):
        return json.dumps(value[:_MAX_SHOWN])
    if isinstance(value, list):
        return "[" + ", ".join(_show(part) if not isinstance(part, (list, dict)) else "..." for part in value[:4]) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(json.dumps(key[:_MAX_SHOWN]) + ": ..." for key in list(value)[:8]) + "}"
    if isinstance(value, int) and abs(value) > 2**64:
        return f"a number of {int(math.log10(abs(value))) + 1} digits"
    return json.dumps(value)
