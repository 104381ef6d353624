"""JSON of bounded cost: the same values as `json.loads`, and limits that are checked before anything is parsed."""

from __future__ import annotations

import json
import random
import time

import pytest

from itembed_tf.server.bounded_json import LONG, LongString, parse_json
from itembed_tf.server.errors import RequestError

TEXTS = ["", "a", '"', "\\", "\\\\", '\\"', "{}[],:", "\n", "é", "犬", "\U0001f600"]


def parse(body, **limits):
    return whole(parse_json(bytearray(body), **{"max_values": 1000, "max_strings": 1000} | limits))


def whole(value):
    """A value with its long strings decoded."""
    if isinstance(value, LongString):
        return value.text()
    if isinstance(value, list):
        return [whole(part) for part in value]
    return {name: whole(part) for name, part in value.items()} if isinstance(value, dict) else value


def drawn(draw, depth):
    kind = draw.randrange(7 if depth else 4)
    if kind == 0:
        return draw.choice([1, -3, 1.5, 1e-9, None, True, 10**30])
    if kind == 1:
        return "".join(draw.choices(TEXTS, k=draw.randrange(9)))
    if kind == 2:
        return "".join(draw.choices(TEXTS, k=LONG))
    if kind == 3:
        return "x" * draw.randrange(LONG - 3, LONG + 3)
    if kind in (4, 5):
        return [drawn(draw, depth - 1) for _ in range(draw.randrange(4))]
    return {f"{i}{draw.choice(TEXTS)}": drawn(draw, depth - 1) for i in range(draw.randrange(4))}


@pytest.mark.parametrize("seed", range(20))
def test_values_are_those_of_json_loads(seed):
    value = drawn(random.Random(seed), 5)
    for ascii_only in (True, False):
        for indent in (None, 2):
            assert parse(json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()) == value


def test_a_byte_order_mark_is_skipped_and_the_first_of_two_values_counts():
    assert parse(b'\xef\xbb\xbf{"a": 1, "b": 2, "a": 3}') == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'["a',
        b'["' + b"x" * 600,
        b'{"' + b"x" * 600 + b'": 1}',
        b"[1e400]",
        b"[" + b"9" * 309 + b"]",
        b"[01]",
    ],
)
def test_what_is_not_json(body):
    with pytest.raises(ValueError, match=r"."):
        parse(body)


@pytest.mark.parametrize(
    ("body", "limit"),
    [
        (b"[" + b"1," * 1000 + b"1]", "1,000 values"),
        (b"[" + b"[]," * 1000 + b"1]", "1,000 values"),
        (b"[" + b'"",' * 1000 + b'""]', "values|strings"),
        (b" " * 5_000_000 + b"1", "4,194,304 bytes outside of strings"),
        (b'["' + b"\\n" * 1_000_001 + b'"]', "1,000,000 escaped characters"),
    ],
)
def test_limits(body, limit):
    started = time.process_time()
    with pytest.raises(RequestError, match=limit) as caught:
        parse(body)
    assert caught.value.code.name == "RESOURCE_EXHAUSTED" and time.process_time() - started < 0.5
