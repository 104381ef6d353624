"""Bodies of REST requests: decompressed and parsed within the limits, in a thread where they are large."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, TypeVar

import grpc

from itembed_tf.server.bounded_json import Body
from itembed_tf.server.errors import RequestError, invalid_argument
from itembed_tf.server.http_messages import HttpRequest
from itembed_tf.server.limits import Limits
from itembed_tf.server.off_loop import run_off_loop
from itembed_tf.server.rest_json import parse_request

Read = TypeVar("Read")

_GZIP = ("gzip", "x-gzip")


async def read_body(request: HttpRequest, limits: Limits, read: Callable[[dict[str, Any]], Read]) -> Read:
    """What `read` makes of the parsed body, a JSON object.

    Raises:
        RequestError: a body that is not what its Content-Encoding says, is too large, or is not such an object.
    """
    # Gzip may hold a thousand times its size.
    size = limits.max_message if request.encoding in _GZIP else len(request.body)
    return await run_off_loop(size, lambda: read(parse_request(_decompressed(request, limits), limits)))


def _decompressed(request: HttpRequest, limits: Limits) -> Body:
    if request.encoding not in _GZIP:
        return request.body
    decompressor = zlib.decompressobj(wbits=31)  # with gzip's header
    try:
        body = decompressor.decompress(request.body, limits.max_message + 1)
    except zlib.error as error:
        raise invalid_argument(f"the body is not gzip, as Content-Encoding says: {error}") from None
    if len(body) > limits.max_message:
        message = f"the decompressed body is larger than the maximum of {limits.max_message} bytes"
        raise RequestError(grpc.StatusCode.RESOURCE_EXHAUSTED, message)
    if not decompressor.eof or decompressor.unused_data:
        raise invalid_argument("the gzip body ends early, or something follows it")
    return body
