"""Arrays <-> TF Serving's TensorProto, and <-> the JSON of its REST API."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from itembed_tf.client.messages import DTYPES, TensorProto

STRING = next(number for number, name in DTYPES.items() if name == "object")
_NUMBERS = {name: number for number, name in DTYPES.items()}
_VALUES = {"float32": "float_val", "float64": "double_val", "int64": "int64_val", "bool": "bool_val"}
_VALUES |= {"uint32": "uint32_val", "uint64": "uint64_val", "object": "string_val"}  # all others: int_val


def as_array(values: Any) -> np.ndarray:
    """Lists, strings or arrays -> an array; strings and bytes become one of dtype object that holds bytes.

    Raises:
        ValueError: lists of uneven lengths, or values of a type that no tensor holds.
    """
    items = list(values) if isinstance(values, (list, tuple)) else values
    if isinstance(items, list) and any(isinstance(item, (str, bytes)) for item in items):
        array = np.empty(len(items), object)
        for i, item in enumerate(items):
            if not isinstance(item, (str, bytes)):
                raise ValueError(
                    f"item {i} is {type(item).__name__}; the others are strings or bytes, which it must be too"
                )
            array[i] = item.encode("utf-8", "surrogatepass") if isinstance(item, str) else item
        return array
    array = np.asarray(items)
    if array.dtype.kind in "SUO":
        texts = [v.encode("utf-8", "surrogatepass") if isinstance(v, str) else v for v in array.ravel().tolist()]
        if any(not isinstance(text, bytes) for text in texts):
            raise ValueError("an array of objects must hold strings or bytes alone, and lists must be of even lengths")
        flat = np.empty(len(texts), object)
        flat[:] = texts
        return flat.reshape(array.shape)
    if array.dtype.name not in _NUMBERS:
        raise ValueError(f"no tensor holds {array.dtype.name}; choose one of {', '.join(_NUMBERS)}")
    return array


def to_proto(values: Any) -> Any:
    """An array, or what `as_array` takes, as a TensorProto."""
    array = as_array(values)
    proto = TensorProto(dtype=_NUMBERS[array.dtype.name])
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    if array.dtype == object:
        proto.string_val.extend(array.ravel().tolist())
    else:
        proto.tensor_content = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
    return proto


def from_proto(proto: Any) -> np.ndarray:
    """A TensorProto as an array; strings as bytes in an array of dtype object.

    Raises:
        ValueError: a dtype that is not in `DTYPES`, or more values than the shape has places.
    """
    if proto.dtype not in DTYPES:
        raise ValueError(f"the answer holds a tensor of type number {proto.dtype}, which this client does not read")
    name, shape = DTYPES[proto.dtype], [d.size for d in proto.tensor_shape.dim]
    if proto.tensor_content:
        dtype = np.dtype(name).newbyteorder("<")
        return np.frombuffer(proto.tensor_content, dtype).astype(dtype.newbyteorder("=")).reshape(shape)
    found = np.array(getattr(proto, _VALUES.get(name, "int_val")), dtype=name)
    count = math.prod(shape)
    if len(found) > count:
        raise ValueError(f"the answer holds {len(found)} values for the shape {shape}")
    if 0 < len(found) < count:  # the last value stands for the rest
        found = np.concatenate([found, np.repeat(found[-1:], count - len(found))])
    return (found if len(found) else np.zeros(count, name)).reshape(shape)


def to_json(values: Any) -> Any:
    """An array as nested lists; strings that are UTF-8 as such, other bytes as {"b64": ...}."""

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


def from_json(value: Any, info: Mapping[str, Any]) -> np.ndarray:
    """Nested lists -> an array of the dtype that the metadata give (``{"dtype": ..., "shape": [...]}``)."""
    if info["dtype"] != "object":
        return np.asarray(value, info["dtype"])
    plain = np.asarray(value, object)
    flat = np.empty(plain.size, object)
    for i, text in enumerate(plain.ravel().tolist()):
        flat[i] = base64.b64decode(text["b64"]) if isinstance(text, dict) else text.encode("utf-8", "surrogatepass")
    return flat.reshape(plain.shape)
