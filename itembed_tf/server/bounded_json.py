"""JSON of bounded cost: its structure is counted before it is parsed, and long strings are never parsed as JSON.

`json.loads` does not let other threads run before it has finished, so its input must be small, also in a thread. A
legitimate body is large because of its strings (images), and has few values; a hostile one has millions of values.
"""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc

from itembed_tf.server.errors import RequestError

Body = bytes | bytearray
LONG = 512  # bytes; a longer string becomes a LongString
MAX_PLAIN = 4 * 2**20  # bytes outside of strings
MAX_DIGITS = 400  # of a number; converting one takes time that grows with the square of its digits
MAX_ESCAPES = 1_000_000  # backslashes: each costs as much as a value
_SLICE = 2**20  # bytes that are counted in one call
_SHORT = 16  # bytes between two strings that are not worth counting: each is taken for a value
_QUOTE, _BACKSLASH = b'"', 0x5C
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# Takes the place of a long string. Random, so that no request can contain it.
_PLACEHOLDER = secrets.token_hex(16)


@dataclass(frozen=True)
class LongString:
    """A string of more than `LONG` bytes, as it stands between its quotes."""

    raw: memoryview

    def text(self) -> str:
        """The string that it stands for; ValueError if it is not valid JSON or UTF-8."""
        return json.loads(b'"' + bytes(self.raw) + b'"')


def parse_json(body: Body, *, max_values: int, max_strings: int) -> Any:
    """Parse JSON; of a name that an object has twice, the first value counts, as in TF Serving.

    Args:
        body: UTF-8, with or without a byte-order mark.
        max_values: numbers, strings, lists and objects.
        max_strings: strings.

    Raises:
        ValueError, RecursionError: not JSON.
        RequestError: RESOURCE_EXHAUSTED above one of the limits.
    """
    start = len(_BYTE_ORDER_MARK) if body.startswith(_BYTE_ORDER_MARK) else 0
    skeleton, strings = _skeleton(body, start, max_values, max_strings)

    def first_wins(pairs: list[tuple[str, Any]]) -> Any:
        if pairs and pairs[0][0] == _PLACEHOLDER:
            return strings[pairs[0][1]]
        return dict(reversed(pairs))

    text = skeleton.decode("utf-8")
    return json.loads(text, object_pairs_hook=first_wins, parse_int=_integer, parse_float=_float)


def _integer(digits: str) -> int:
    if len(digits) > 20:  # more than 64 bits
        _float(digits)
    return int(digits)


def _float(digits: str) -> float:
    if len(digits) > MAX_DIGITS or math.isinf(value := float(digits)):
        raise ValueError("Number too big to be stored in double")
    return value


def _skeleton(body: Body, start: int, max_values: int, max_strings: int) -> tuple[bytes, Sequence[LongString]]:
    """The document with a placeholder for each long string, and the long strings."""
    if _count(body, b"\\", 0, len(body)) > MAX_ESCAPES:
        raise _too_large(f"{MAX_ESCAPES:,} escaped characters; send UTF-8, or fewer items")
    view = memoryview(body)
    pieces: list[Any] = []
    strings: list[LongString] = []
    copied = position = start
    values = plain = found = 0
    while True:
        quote = body.find(_QUOTE, position)
        end = quote if quote >= 0 else len(body)
        plain += end - position
        if plain > MAX_PLAIN:
            raise _too_large(f"{MAX_PLAIN:,} bytes outside of strings; send fewer items")
        values += _values(body, position, end)
        if values > max_values:
            raise _too_large(f"{max_values:,} values; send fewer items")
        if quote < 0:
            break
        found += 1
        if found > max_strings:
            raise _too_large(f"{max_strings:,} strings; send fewer items")
        close = _closing_quote(body, quote + 1)
        if close - quote > LONG:
            pieces += [view[copied:quote], b'{"%s":%d}' % (_PLACEHOLDER.encode(), len(strings))]
            strings.append(LongString(view[quote + 1 : close]))
            copied = close + 1
        position = close + 1
    return b"".join([*pieces, view[copied:]]), strings


def _values(body: Body, start: int, end: int) -> int:
    """Upper bound of the number of values that begin between two strings."""
    if end - start <= _SHORT:
        return end - start
    return sum(_count(body, character, start, end) for character in (b",", b":", b"[", b"{"))


def _count(body: Body, character: bytes, start: int, end: int) -> int:
    return sum(body.count(character, i, min(i + _SLICE, end)) for i in range(start, end, _SLICE))


def _closing_quote(body: Body, start: int) -> int:
    """Index of the quote that ends a string: the first one after an even number of backslashes."""
    while (quote := body.find(_QUOTE, start)) >= 0:
        first = quote
        while first > start and body[first - 1] == _BACKSLASH:
            first -= 1
        if (quote - first) % 2 == 0:
            return quote
        start = quote + 1
    raise ValueError("Unterminated string")


def _too_large(limit: str) -> RequestError:
    return RequestError(grpc.StatusCode.RESOURCE_EXHAUSTED, f"the request body has more than {limit}")
