"""Conversion between TensorProto and arrays, checked against the signature before anything is unpacked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from itembed_tf.server.errors import invalid_argument
from itembed_tf.server.limits import Limits
from itembed_tf.server.request_validation import check_item_count

_PACKED = {np.dtype("float32"): 5, np.dtype("float64"): 6}  # field numbers of packed little-endian values
_FIELDS = {"int64": "int64_val", "bool": "bool_val", "uint32": "uint32_val", "uint64": "uint64_val"}
_FIELDS |= dict.fromkeys(("int32", "int16", "int8", "uint16", "uint8"), "int_val") | {"object": "string_val"}
_VALUES = {np.dtype(name): field for name, field in _FIELDS.items()}
# Keyed by dtype: NumPy builds the name of a dtype at every access.
_ENUMS = {dtype: tf.as_dtype(dtype).as_datatype_enum for dtype in (*_PACKED, *_VALUES)}


def read_inputs(protos: Mapping[str, Any], infos: Mapping[str, Any], limits: Limits) -> dict[str, np.ndarray]:
    """Inputs of a request as arrays; strings become bytes in arrays of dtype object.

    Args:
        protos: TensorProto by name.
        infos: TensorInfo by name, from the signature.
        limits: ``max_message`` bounds the number of values of a tensor.

    Raises:
        RequestError: names, dtypes or shapes differ from the signature, or the values do not fill the shape.
    """
    if protos.keys() != infos.keys():
        sent, expected = ",".join(sorted(protos)), ",".join(sorted(infos))
        extra, missing = ",".join(sorted(protos.keys() - infos.keys())), ",".join(sorted(infos.keys() - protos.keys()))
        raise invalid_argument(
            f"input size does not match signature: {len(protos)}!={len(infos)} len({{{sent}}}) != len({{{expected}}}). "
            f"Sent extra: {{{extra}}}. Missing but required: {{{missing}}}."
        )
    return {name: _read(name, protos[name], info, limits) for name, info in infos.items()}


def _read(name: str, proto: Any, info: Any, limits: Limits) -> np.ndarray:
    if proto.dtype != info.dtype:
        raise invalid_argument(f"{name} has dtype {_dtype(proto.dtype)}; the signature expects {_dtype(info.dtype)}")
    shape = [d.size for d in proto.tensor_shape.dim]
    check_shape(name, shape, info, limits)
    count = math.prod(shape)
    # The last value of a TensorProto fills the rest of the shape, so a few bytes can claim a tensor of any size.
    if count > limits.max_message:
        maximum = limits.max_message
        raise invalid_argument(f"{name} has the shape {shape}: {count} values do not fit into {maximum} bytes")
    if info.dtype == tf.string.as_datatype_enum:
        if len(proto.string_val) != count:
            raise invalid_argument(f"{name} has {len(proto.string_val)} strings for the shape {shape}")
        values = np.empty(count, object)
        values[:] = proto.string_val
        return values.reshape(shape)
    try:
        return tf.make_ndarray(proto)
    except (ValueError, TypeError) as error:
        raise invalid_argument(f"{name} has values that do not fill the shape {shape}: {error}") from None


def check_shape(name: str, shape: list[int], info: Any, limits: Limits) -> None:
    """Raise RequestError for a shape that does not match the signature, for an empty batch, and for too many items."""
    expected = [d.size for d in info.tensor_shape.dim]
    if len(shape) != len(expected) or any(e not in (-1, s) or s < 0 for s, e in zip(shape, expected)):
        described = ", ".join("any" if size == -1 else str(size) for size in expected)
        raise invalid_argument(f"{name} has the shape {shape}; the signature expects [{described}]")
    if shape and shape[0] == 0:
        raise invalid_argument(f"{name} is an empty batch: send at least one item")
    if shape:
        check_item_count(shape[0], limits)


def _dtype(number: int) -> str:
    try:
        return tf.as_dtype(number).name
    except (TypeError, KeyError):
        return f"number {number}"


def write_output(proto: Any, array: np.ndarray) -> None:
    """Fill a TensorProto, with numbers in the typed fields as TF Serving sends them by default."""
    dtype = array.dtype
    if dtype not in _ENUMS:
        proto.CopyFrom(tf.make_tensor_proto(array))
        return
    proto.dtype = _ENUMS[dtype]
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    if dtype in _VALUES:
        getattr(proto, _VALUES[dtype]).extend(array.ravel().tolist())
        return
    # Parse the packed field from its wire format: `extend` would create a Python float for each value.
    packed = np.ascontiguousarray(array, dtype.newbyteorder("<")).tobytes()
    proto.MergeFromString(bytes([_PACKED[dtype] << 3 | 2]) + _varint(len(packed)) + packed)


def _varint(number: int) -> bytes:
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)
