"""TF Serving's TensorProto <-> arrays, checked against the signature before anything is unpacked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from itembed_tf.server.limits import Limits, invalid

_PACKED = {np.dtype("float32"): 5, np.dtype("float64"): 6}  # numbers of the fields of packed little-endian values
_FIELDS = {"int64": "int64_val", "bool": "bool_val", "uint32": "uint32_val", "uint64": "uint64_val"}
_FIELDS |= dict.fromkeys(("int32", "int16", "int8", "uint16", "uint8"), "int_val") | {"object": "string_val"}
_VALUES = {np.dtype(name): field for name, field in _FIELDS.items()}
# Looked up by dtype: numpy makes its name anew at every call.
_ENUMS = {dtype: tf.as_dtype(dtype).as_datatype_enum for dtype in (*_PACKED, *_VALUES)}


def read_inputs(protos: Mapping[str, Any], infos: Mapping[str, Any], limits: Limits) -> dict[str, np.ndarray]:
    """The inputs of a request as arrays; strings as bytes in arrays of dtype object.

    Args:
        protos: TensorProto by name.
        infos: TensorInfo by name, of the signature.

    Raises:
        Refused: other names, dtypes or shapes than the signature's, or values that do not fill the shape.
    """
    if protos.keys() != infos.keys():
        sent, wanted = ",".join(sorted(protos)), ",".join(sorted(infos))
        extra, missing = ",".join(sorted(protos.keys() - infos.keys())), ",".join(sorted(infos.keys() - protos.keys()))
        raise invalid(
            f"input size does not match signature: {len(protos)}!={len(infos)} len({{{sent}}}) != len({{{wanted}}}). "
            f"Sent extra: {{{extra}}}. Missing but required: {{{missing}}}."
        )
    return {name: _read(name, protos[name], info, limits) for name, info in infos.items()}


def _read(name: str, proto: Any, info: Any, limits: Limits) -> np.ndarray:
    if proto.dtype != info.dtype:
        raise invalid(f"{name} is of type {_dtype(proto.dtype)}; the signature takes {_dtype(info.dtype)}")
    shape = [d.size for d in proto.tensor_shape.dim]
    check_shape(name, shape, info)
    count = math.prod(shape)
    # The last value may stand for all that follow, so that a few bytes can promise a tensor of any size.
    if count > limits.max_message:
        raise invalid(f"{name} has the shape {shape}: {count} values, more than fit into a message")
    if info.dtype == tf.string.as_datatype_enum:
        if len(proto.string_val) != count:
            raise invalid(f"{name} holds {len(proto.string_val)} strings for the shape {shape}")
        values = np.empty(count, object)
        values[:] = proto.string_val
        return values.reshape(shape)
    try:
        return tf.make_ndarray(proto)
    except (ValueError, TypeError) as error:
        raise invalid(f"{name} holds values that do not fill the shape {shape}: {error}") from None


def check_shape(name: str, shape: list[int], info: Any) -> None:
    """Refuse a shape that the signature does not take, or that has no item."""
    wanted = [d.size for d in info.tensor_shape.dim]
    if len(shape) != len(wanted) or any(w not in (-1, s) or s < 0 for s, w in zip(shape, wanted)):
        free = ["any" if w == -1 else w for w in wanted]
        raise invalid(f"{name} has the shape {shape}; the signature takes {free}".replace("'", ""))
    if shape and shape[0] == 0:
        raise invalid(f"{name} is an empty batch: send at least one item")


def _dtype(number: int) -> str:
    try:
        return tf.as_dtype(number).name
    except (TypeError, KeyError):
        return f"number {number}"


def write_output(proto: Any, array: np.ndarray) -> None:
    """Fill a TensorProto; numbers in the typed fields, as a server with default settings sends them."""
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
    # The field as it is on the wire, parsed in one go: `extend` goes by way of a Python float for each value.
    packed = np.ascontiguousarray(array, dtype.newbyteorder("<")).tobytes()
    proto.MergeFromString(bytes([_PACKED[dtype] << 3 | 2]) + _varint(len(packed)) + packed)


def _varint(number: int) -> bytes:
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)
