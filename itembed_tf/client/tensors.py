"""Conversion between arrays and TensorProto, and between arrays and the JSON of the REST API."""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy as np

from itembed_tf.client.messages import DTYPES, TensorProto

STRING = next(number for number, name in DTYPES.items() if name == "object")
_DTYPE_NUMBERS = {name: number for number, name in DTYPES.items()}
_VALUES = {"float32": "float_val", "float64": "double_val", "int64": "int64_val", "bool": "bool_val"}
_VALUES |= {"uint32": "uint32_val", "uint64": "uint64_val", "object": "string_val"}  # all others: int_val


def as_array(values: Any) -> np.ndarray:
    """Convert lists, strings or arrays to an array; strings become bytes in an array of dtype object.

    Raises:
        ValueError: lists of different lengths, or values of a type that a tensor cannot hold.
    """
    items = list(values) if isinstance(values, (list, tuple)) else values
    if isinstance(items, list) and any(isinstance(item, (str, bytes)) for item in items):
        array = np.empty(len(items), object)
        for i, item in enumerate(items):
            if not isinstance(item, (str, bytes)):
                raise ValueError(f"item {i} is {type(item).__name__}, but other items are strings or bytes")
            array[i] = item.encode("utf-8", "surrogatepass") if isinstance(item, str) else item
        return array
    array = np.asarray(items)
    if array.dtype.kind in "SUO":
        texts = [v.encode("utf-8", "surrogatepass") if isinstance(v, str) else v for v in array.ravel().tolist()]
        if any(not isinstance(text, bytes) for text in texts):
            raise ValueError("an array of objects must hold only strings or bytes, and lists must have the same length")
        flat = np.empty(len(texts), object)
        flat[:] = texts
        return flat.reshape(array.shape)
    if array.dtype.name not in _DTYPE_NUMBERS:
        raise ValueError(f"a tensor cannot hold {array.dtype.name}; allowed dtypes: {', '.join(_DTYPE_NUMBERS)}")
    return array


def to_proto(values: Any) -> Any:
    """Convert an array, or a value that `as_array` takes, to a TensorProto."""
    array = as_array(values)
    proto = TensorProto(dtype=_DTYPE_NUMBERS[array.dtype.name])
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    if array.dtype == object:
        proto.string_val.extend(array.ravel().tolist())
    else:
        proto.tensor_content = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
    return proto


def from_proto(proto: Any) -> np.ndarray:
    """Convert a TensorProto to an array; strings become bytes in an array of dtype object.

    Raises:
        ValueError: a dtype that is not in `DTYPES`, or more values than the shape holds.
    """
    if proto.dtype not in DTYPES:
        raise ValueError(f"the response has a tensor of unknown dtype number {proto.dtype}")
    name, shape = DTYPES[proto.dtype], [d.size for d in proto.tensor_shape.dim]
    if proto.tensor_content:
        dtype = np.dtype(name).newbyteorder("<")
        return np.frombuffer(proto.tensor_content, dtype).astype(dtype.newbyteorder("=")).reshape(shape)
    values = np.array(getattr(proto, _VALUES.get(name, "int_val")), dtype=name)
    count = math.prod(shape)
    if len(values) > count:
        raise ValueError(f"the response has {len(values)} values for the shape {shape}")
    if 0 < len(values) < count:  # the last value fills the rest of the shape
        values = np.concatenate([values, np.repeat(values[-1:], count - len(values))])
    return (values if len(values) else np.zeros(count, name)).reshape(shape)


def to_json(values: Any) -> Any:
    """Convert an array to nested lists; bytes that are UTF-8 become strings, others {"b64": ...}."""

    def plain(value: Any) -> Any:
        if isinstance(value, list):
            return [plain(part) for part in value]
        if not isinstance(value, bytes):
            return value
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return {"b64": base64.b64encode(value).decode("ascii")}

    return plain(as_array(values).tolist())


def from_json(value: Any, dtype: str) -> np.ndarray:
    """Convert nested lists to an array; of dtype "object", strings and {"b64": ...} become bytes."""
    if dtype != "object":
        return np.asarray(value, dtype)
    plain = np.asarray(value, object)
    flat = np.empty(plain.size, object)
    for i, text in enumerate(plain.ravel().tolist()):
        flat[i] = base64.b64decode(text["b64"]) if isinstance(text, dict) else text.encode("utf-8", "surrogatepass")
    return flat.reshape(plain.shape)
