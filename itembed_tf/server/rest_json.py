"""Inputs of a model from the JSON of TF Serving's REST API: rows ("instances") or columns ("inputs")."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from itertools import chain
from typing import Any

import numpy as np
import tensorflow as tf

from itembed_tf.server.base64_strings import decode_base64
from itembed_tf.server.bounded_json import Body, LongString, parse_json
from itembed_tf.server.errors import invalid_argument
from itembed_tf.server.limits import Limits
from itembed_tf.server.request_validation import check_item_count
from itembed_tf.server.tensors import check_shape

_MAX_SHOWN = 256  # characters of a value that an error repeats
_VALUES_PER_ITEM, _STRINGS_PER_ITEM = 256, 16  # for each item that fits into the queue
_MIN_ITEMS = 256  # a short queue may still take long items
_MAX_ESCAPE = len(r"\u0061")  # the most bytes that stand for one


def parse_request(body: Body, limits: Limits) -> dict[str, Any]:
    """Parse the body of a predict request, a JSON object.

    Raises:
        RequestError: not JSON, or not such an object, or one of more values than any valid request has.
    """
    if not body:
        raise invalid_argument("JSON Parse error: The document is empty")
    items = max(limits.max_queue, _MIN_ITEMS)
    try:
        content = parse_json(body, max_values=_VALUES_PER_ITEM * items, max_strings=_STRINGS_PER_ITEM * items)
    except (ValueError, RecursionError) as error:
        raise invalid_argument(f"JSON Parse error: {str(error)[:_MAX_SHOWN]}") from None
    if not isinstance(content, dict):
        raise invalid_argument(f"JSON Value: {_show(content)} Is not object")
    if not isinstance(content.get("signature_name", ""), str):
        raise invalid_argument(
            f"JSON Value: {_show(content)} not formatted correctly. 'signature_name' key must be a string value."
        )
    return content


def read_json_inputs(content: Mapping[str, Any], infos: Mapping[str, Any], limits: Limits) -> dict[str, np.ndarray]:
    """Inputs of a parsed request as arrays; strings become bytes.

    Args:
        content: returned by `parse_request`.
        infos: TensorInfo by name, from the signature.
        limits: ``max_queue`` is the maximum number of items.

    Raises:
        RequestError: not either "instances" or "inputs", or names, types or shapes that differ from the signature; the
            message gives the index of the row.
    """
    if ("instances" in content) == ("inputs" in content):
        both = "Not formatted correctly expecting only one of" if "inputs" in content else "Missing"
        raise invalid_argument(f"JSON Value: {_show(content)} {both} 'inputs' or 'instances' key")
    rows = "instances" in content
    columns = _rows(content["instances"], infos, limits) if rows else _columns(content["inputs"], infos)
    return {name: _array(name, columns[name], info, rows, limits) for name, info in infos.items()}


def _rows(rows: Any, infos: Mapping[str, Any], limits: Limits) -> dict[str, Any]:
    if not isinstance(rows, list):
        raise invalid_argument(f"JSON Value: {_show(rows)} Expecting 'instances' to be an list/array")
    if not rows:
        raise invalid_argument("No values in 'instances' array")
    check_item_count(len(rows), limits)
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


def _array(name: str, value: Any, info: Any, rows: bool, limits: Limits) -> np.ndarray:
    """The array of one input: first its shape is checked, then every list against it, then all values at once."""
    shape: list[int] = []
    first = value
    while isinstance(first, list):
        shape.append(len(first))
        first = first[0] if first else None
    check_shape(name, shape, info, limits)
    parts = [value]
    for level, size in enumerate(shape):
        for i, part in enumerate(parts):
            if not isinstance(part, list) or len(part) != size:
                raise invalid_argument(f"{_place(name, i, shape[:level], rows)}: {_wrong_list(part, size, level)}")
        parts = list(chain.from_iterable(parts))
    return read_flat(name, parts, shape, info, limits, rows=rows)


def read_flat(
    name: str, values: list[Any], shape: list[int], info: Any, limits: Limits, *, rows: bool = False
) -> np.ndarray:
    """The array of an input whose values are in row-major order, as many as the shape has.

    Args:
        name: of the input.
        values: parsed JSON; strings, or ``{"b64": "..."}``, for an input of strings.
        shape: of the array, checked already.
        info: TensorInfo of the input.
        limits: ``max_text`` bounds the work for a string.
        rows: an error names the row of "instances".

    Raises:
        RequestError: a value of another type; the message gives its place.
    """
    dtype = tf.as_dtype(info.dtype)
    array = _strings(values, limits) if dtype == tf.string else _numbers(values, dtype)
    if isinstance(array, np.ndarray):
        return array.reshape(shape)
    raise invalid_argument(f"{_place(name, array, shape, rows)}: {_wrong_value(values[array], dtype)}")


def _strings(values: list[Any], limits: Limits) -> np.ndarray | int:
    """Bytes in an array of dtype object, or the index of the first value that is not a string."""
    array = np.empty(len(values), object)
    for i, value in enumerate(values):
        try:
            array[i] = read_string(value, limits)
        except ValueError:
            return i
    return array


def read_string(value: Any, limits: Limits) -> bytes:
    """The bytes of a parsed string, in UTF-8, or of ``{"b64": "..."}``; ValueError for another value."""
    if isinstance(value, LongString):
        if len(value.raw) > _MAX_ESCAPE * limits.max_text:
            return bytes(value.raw)  # whatever its escapes stand for, it is too long for a text, and no image
        value = value.text()
    if isinstance(value, str):
        return value.encode("utf-8")
    if not (isinstance(value, dict) and value.keys() == {"b64"}):
        raise ValueError
    value = value["b64"]
    if isinstance(value, str):
        return decode_base64(value.encode("ascii"))
    if not isinstance(value, LongString):
        raise ValueError
    return decode_base64(value.raw)


def _numbers(values: list[Any], dtype: tf.DType) -> np.ndarray | int:
    """The array, or the index of the first value that is not a number of this type."""
    allowed = {bool} if dtype == tf.bool else {int} if dtype.is_integer else {int, float}
    if not set(map(type, values)) <= allowed:
        return next(i for i, value in enumerate(values) if type(value) not in allowed)
    if dtype.is_integer and values:
        lowest, highest = dtype.min, dtype.max
        if min(values) < lowest or max(values) > highest:
            return next(i for i, value in enumerate(values) if not lowest <= value <= highest)
    try:
        return np.array(values, np.float64 if dtype.is_floating else dtype.as_numpy_dtype).astype(dtype.as_numpy_dtype)
    except OverflowError:  # an integer for a float
        return next(i for i, value in enumerate(values) if abs(value) > sys.float_info.max)


def _place(name: str, index: int, shape: list[int], rows: bool) -> str:
    """Where a value is in the request, for an error: the row, or the input with an index for each dimension."""
    where = np.unravel_index(index, shape) if shape else ()
    if rows:
        return f"Failed to process element: {int(where[0]) if where else 0} of 'instances' list"
    return name + "".join(f"[{i}]" for i in where)


def _wrong_list(part: Any, size: int, level: int) -> str:
    if isinstance(part, list):
        return f"Encountered list at unexpected size: {len(part)} at level: {level} expected size: {size}"
    return f"JSON Value: {_show(part)} found at incorrect level: {level} in the JSON DOM. Expected a list of {size}"


def _wrong_value(value: Any, dtype: tf.DType) -> str:
    if isinstance(value, list):
        return f"Encountered list of {len(value)} where a value of type {dtype.name} was expected"
    if dtype == tf.string:
        if isinstance(value, dict) and "b64" in value:
            if not _is_object(value):
                return "Unable to base64 decode"
            return f"JSON Value: {_show(value)} not formatted correctly for base64 data"
        if isinstance(value, (str, LongString)):
            return "JSON Parse error: The surrogate pair in string is invalid, or the string is not UTF-8"
    json_types = {dict: "Object", str: "String", LongString: "String", bool: str(value), type(None): "Null"}
    json_type = json_types.get(type(value), "Number")
    return f"JSON Value: {_show(value)} Type: {json_type} is not of expected type: {dtype.name}"


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and not (value.keys() == {"b64"} and isinstance(value["b64"], (str, LongString)))


def _show(value: Any) -> str:
    """The beginning of a value, for an error message."""
    if isinstance(value, LongString):
        return json.dumps(bytes(value.raw[:_MAX_SHOWN]).decode("utf-8", "replace"))
    if isinstance(value, str):
        return json.dumps(value[:_MAX_SHOWN])
    if isinstance(value, list):
        return "[" + ", ".join(_show(part) if not isinstance(part, (list, dict)) else "..." for part in value[:4]) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(json.dumps(key[:_MAX_SHOWN]) + ": ..." for key in list(value)[:8]) + "}"
    if isinstance(value, int) and abs(value) > 2**64:
        return f"a number of {int(math.log10(abs(value))) + 1} digits"
    return json.dumps(value)
