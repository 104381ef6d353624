"""Cost of parsing a PredictRequest, from its wire format: large strings are cheap, millions of small fields are not.

Protocol Buffers parses a message in one call, during which no other thread of the process runs. Of 32 MB, a few large
strings take a few milliseconds; 16 million empty strings take seconds.
"""

from __future__ import annotations

import grpc

from itembed_tf.server.errors import RequestError, invalid_argument

# Paths of field numbers from the PredictRequest.
_INPUTS, _TENSOR = (2,), (2, 2)
_BLOCKS = {(2, 2, 4), (2, 2, 8)}  # tensor_content and string_val are copied as one block; all others cost their length
_FIELD_COST = 16  # bytes that cost as much as one field
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_SIZES = {_FIXED64: 8, _FIXED32: 4}


def check_message_cost(content: bytes, maximum: int) -> None:
    """Check that parsing a PredictRequest is cheap.

    Args:
        content: the serialised message.
        maximum: bytes of the fields that are not copied as one block, where each field counts as 16 more.

    Raises:
        RequestError: RESOURCE_EXHAUSTED above `maximum`, INVALID_ARGUMENT for what is not a message.
    """
    try:
        _walk(content, 0, len(content), (), maximum)
    except IndexError:
        raise invalid_argument("the message is not a valid tensorflow.serving.PredictRequest") from None


def _walk(content: bytes, position: int, end: int, path: tuple[int, ...], left: int) -> int:
    """Read the fields between two positions; returns what is left of the maximum."""
    while position < end:
        tag, position = _varint(content, position)
        here, kind = (*path, tag >> 3), tag & 7
        left -= _FIELD_COST
        if kind == _VARINT:
            _, position = _varint(content, position)
        elif kind in _FIXED_SIZES:
            position += _FIXED_SIZES[kind]
        elif kind == _BYTES:
            length, position = _varint(content, position)
            if position + length > end:
                raise IndexError
            if here in (_INPUTS, _TENSOR):
                left = _walk(content, position, position + length, here, left)
            elif here not in _BLOCKS:
                left -= length
            position += length
        else:  # groups, which no version of these messages has
            raise IndexError
        if left < 0:
            message = "the message has more values than any valid request; send fewer items, or tensor_content"
            raise RequestError(grpc.StatusCode.RESOURCE_EXHAUSTED, message)
    return left


def _varint(content: bytes, position: int) -> tuple[int, int]:
    """A variable-length integer, and the position after it."""
    value = shift = 0
    while True:
        byte = content[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise IndexError
