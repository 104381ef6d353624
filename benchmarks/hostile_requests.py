"""Hostile requests to a server of the encoders: each function sends one and returns its status code."""

from __future__ import annotations

import base64
import gzip
import json
import random
import socket
import struct
import zlib
from collections import deque
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np

from benchmarks.image_files import many_scans
from benchmarks.served import sample_image
from itembed_tf.client.calls import Call
from itembed_tf.client.grpc_transport import encode_request
from itembed_tf.client.messages import PredictRequest
from itembed_tf.client.tensors import as_array

PREDICT = "/tensorflow.serving.PredictionService/Predict"
TEXT, IMAGE = "/v1/models/text_encoder:predict", "/v1/models/image_encoder:predict"
MAX_HELD = 64  # half-open connections at a time
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "AVIF")


class Attack:
    """Connections to both ports, and a random number generator."""

    def __init__(self, address: str, rest: str, draw: random.Random) -> None:
        host, _, port = rest.rpartition(":")
        self.rest, self.host, self.draw = (host, int(port)), rest, draw
        self.grpc_place = (address.rpartition(":")[0], int(address.rpartition(":")[2]))
        options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
        self.channel = grpc.insecure_channel(address, options=options)
        self.held: deque[socket.socket] = deque()

    def predict(self, content: bytes, method: str = PREDICT, timeout: float = 30) -> str:
        self.channel.unary_unary(method)(content, timeout=timeout)
        return "OK"

    def arrays(self, model: str = "text_encoder", signature: str = "serving_default", **inputs: Any) -> str:
        values = {name: as_array(value) for name, value in inputs.items()}
        return self.predict(encode_request(Call("predict", model, signature=signature, inputs=values)))

    def raw(self, content: bytes, *, rest: bool = True, answer: bool = True) -> str:
        """Send bytes on a new connection; returns the status of the response."""
        with socket.create_connection(self.rest if rest else self.grpc_place, timeout=30) as connection:
            connection.sendall(content)
            if not answer:
                return "left"
            line = connection.recv(4096).split(b"\r\n")[0]
        return "HTTP " + line.split()[1].decode() if line.startswith(b"HTTP/1.1 ") else "closed"

    def post(self, path: str, body: bytes, method: str = "POST", header: str = "") -> str:
        head = f"{method} {path} HTTP/1.1\r\nHost: {self.host}\r\nContent-Length: {len(body)}\r\n{header}"
        return self.raw(head.encode("latin-1") + b"Connection: close\r\n\r\n" + body)

    def hold(self, content: bytes, *, rest: bool = True) -> str:
        """Open a connection, send part of a request, and stall."""
        self.held.append(socket.create_connection(self.rest if rest else self.grpc_place, timeout=30))
        self.held[-1].sendall(content)
        if len(self.held) > MAX_HELD:
            self.held.popleft().close()
        return "held"

    def close(self) -> None:
        while self.held:
            self.held.pop().close()
        self.channel.close()


def _good_message() -> bytes:
    return encode_request(Call("predict", "text_encoder", inputs={"text": as_array(["a dog runs"])}))


def _claim_terabytes(a: Attack) -> str:
    request = PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "text_encoder", "ids"
    proto = request.inputs["ids"]
    proto.dtype = 3
    for size in (a.draw.choice([2**40, 10**7, -1]), 6):
        proto.tensor_shape.dim.add(size=size)
    proto.int_val.append(1)
    return a.predict(request.SerializeToString())


def _bomb() -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(10**6)))


def _truncated(a: Attack) -> bytes:
    data = sample_image(a.draw.randrange(4), a.draw.choice(FORMATS), (300, 200))
    return data[: a.draw.randrange(len(data))]


def _flipped(a: Attack) -> bytes:
    data = bytearray(sample_image(a.draw.randrange(4), a.draw.choice(FORMATS)))
    for _ in range(5):
        data[a.draw.randrange(len(data))] = a.draw.randrange(256)
    return bytes(data)


def _in_json(data: bytes) -> bytes:
    return json.dumps({"inputs": [{"b64": base64.b64encode(data).decode()}]}).encode()


def _batch(a: Attack) -> str:
    """One invalid image in a batch of valid ones."""
    images = [sample_image(0)] * 7
    images[a.draw.randrange(7)] = _truncated(a)
    return a.arrays("image_encoder", image_bytes=images)


def _entry(tensor: bytes) -> bytes:
    """A PredictRequest whose input "text" is a serialised TensorProto."""
    request = PredictRequest()
    request.model_spec.name = "text_encoder"
    value = b"\x0a\x04text\x12" + _varint(len(tensor)) + tensor
    return request.SerializeToString() + b"\x12" + _varint(len(value)) + value


def _varint(number: int) -> bytes:
    return bytes([number & 0x7F | 0x80]) + _varint(number >> 7) if number > 0x7F else bytes([number])


SCANS = many_scans(1500, 1500, 3000)
BOMB, LARGE, TOO_LARGE = _bomb(), b"a " * 5_000_000, b"a" * 40_000_000
LISTS = b'{"inputs": [' + b"[]," * 10_000_000 + b"[]]}"
SEGMENTS = b"\xff\xd8" + b"\xff\xe1\x00\x02" * 5900
HEAD = f"POST {TEXT} HTTP/1.1\r\nHost: a\r\n"
WRONG = [{"inputs": 1}, {"instances": [1, [2]]}, {"inputs": [None]}, {"inputs": {}}, {"instances": {}}, {}, []]

RARER = 20  # HEAVY requests are sent 20 times less often: they measure the loopback, not the server

KINDS: dict[str, Callable[[Attack], str]] = {
    "garbage to Predict": lambda a: a.predict(a.draw.randbytes(a.draw.randrange(300))),
    "a truncated message": lambda a: a.predict(_good_message()[: a.draw.randrange(60)]),
    "a message with flipped bytes": lambda a: a.predict(
        bytes(b ^ (a.draw.randrange(256) if a.draw.random() < 0.05 else 0) for b in _good_message())
    ),
    "a tensor that claims terabytes": _claim_terabytes,
    "a wrong type": lambda a: a.arrays(text=np.ones(3, np.float32)),
    "a wrong shape": lambda a: a.arrays(text=[["a", "b"]]),
    "ids out of the vocabulary": lambda a: a.arrays(signature="ids", ids=np.full((2, 6), 10**6, np.int32)),
    "a wrong model": lambda a: a.arrays(a.draw.randbytes(8).hex(), text=["a"]),
    "a wrong signature": lambda a: a.arrays(signature="x" * a.draw.randrange(1000), text=["a"]),
    "a wrong input": lambda a: a.arrays(words=["a"]),
    "a wrong method": lambda a: a.predict(_good_message(), "/tensorflow.serving.PredictionService/Nothing"),
    "invalid UTF-8": lambda a: a.arrays(text=[a.draw.randbytes(50) for _ in range(3)]),
    "many items": lambda a: a.arrays(text=["a"] * 5000),
    "not an image": lambda a: a.arrays("image_encoder", image_bytes=[a.draw.randbytes(a.draw.randrange(2000))]),
    "a truncated image": lambda a: a.arrays("image_encoder", image_bytes=[_truncated(a)]),
    "an image with flipped bytes": lambda a: a.arrays("image_encoder", image_bytes=[_flipped(a)]),
    "an invalid image among valid ones": _batch,
    "a decompression bomb": lambda a: a.arrays("image_encoder", image_bytes=[BOMB]),
    "a JPEG of many scans": lambda a: a.arrays("image_encoder", image_bytes=[SCANS]),
    "a deadline of 0.5 ms": lambda a: a.predict(_good_message(), timeout=0.0005),
    "HTTP to the gRPC port": lambda a: a.raw(b"GET / HTTP/1.1\r\n\r\n", rest=False, answer=False),
    "noise to the gRPC port": lambda a: a.raw(a.draw.randbytes(200), rest=False, answer=False),
    "REST: garbage": lambda a: a.post(TEXT, a.draw.randbytes(a.draw.randrange(300))),
    "REST: wrong forms": lambda a: a.post(TEXT, json.dumps(a.draw.choice(WRONG)).encode()),
    "REST: deep JSON": lambda a: a.post(TEXT, b"[" * 50_000),
    "REST: a number of 10,000 digits": lambda a: a.post(TEXT, b'{"inputs": [' + b"9" * 10_000 + b"]}"),
    "REST: not base64": lambda a: a.post(
        IMAGE, b'{"inputs": [{"b64": "' + a.draw.randbytes(40).hex().encode() + b'!"}]}'
    ),
    "REST: a truncated image": lambda a: a.post(IMAGE, _in_json(_truncated(a))),
    "REST: a length above the limit": lambda a: a.raw(
        f"POST {TEXT} HTTP/1.1\r\nContent-Length: {10**12}\r\nHost: a\r\n\r\n".encode()
    ),
    "REST: wrong paths": lambda a: a.post(
        "/v1/models/" + a.draw.randbytes(20).hex() + a.draw.choice(["", ":predict"]), b"{}"
    ),
    "REST: wrong methods": lambda a: a.post(TEXT, b"", a.draw.choice(["DELETE", "HEAD", "GET", "PATCH"])),
    "REST: not HTTP": lambda a: a.raw(a.draw.randbytes(100) + b"\r\n\r\n"),
    "REST: an endless header": lambda a: a.raw(b"GET / HTTP/1.1\r\n" + b"X: " + b"a" * 60_000 + b"\r\n\r\n"),
    "REST: Content-Length and Transfer-Encoding": lambda a: a.raw(
        (HEAD + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").encode()
    ),
    "REST: not gzip": lambda a: a.post(TEXT, a.draw.randbytes(99), header="Content-Encoding: gzip\r\n"),
    "REST: names twice": lambda a: a.post(TEXT, b'{"inputs": 1, "inputs": ["a"], "signature_name": "x"}'),
    "REST: disconnect within a body": lambda a: a.raw(
        f"POST {TEXT} HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc".encode(), answer=False
    ),
    "REST: half a header": lambda a: a.hold(b"GET /v1/models/text_enc"),
    "REST: half a body": lambda a: a.hold(f"POST {TEXT} HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{{".encode()),
    "REST: an idle connection": lambda a: a.hold(b""),
    "an idle gRPC connection": lambda a: a.hold(b"", rest=False),
}

HEAVY: dict[str, Callable[[Attack], str]] = {
    "a text of 10 MB": lambda a: a.arrays(text=[LARGE]),
    "a message above the limit": lambda a: a.predict(TOO_LARGE),
    "millions of empty strings": lambda a: a.predict(_entry(b"\x42\x00" * 10_000_000)),
    "millions of packed integers": lambda a: a.predict(_entry(b"\x3a" + _varint(20_000_000) + b"\x01" * 20_000_000)),
    "millions of inputs": lambda a: a.predict(_good_message() + b"\x12\x00" * 10_000_000),
    "images of many segments": lambda a: a.arrays("image_encoder", image_bytes=[SEGMENTS] * 500),
    "REST: a text of 10 MB": lambda a: a.post(TEXT, b'{"inputs": ["' + LARGE + b'"]}'),
    "REST: a decompression bomb": lambda a: a.post(IMAGE, _in_json(BOMB)),
    "REST: millions of lists": lambda a: a.post(TEXT, LISTS),
    "REST: millions of lists in gzip": lambda a: a.post(
        TEXT, gzip.compress(LISTS, 1), header="Content-Encoding: gzip\r\n"
    ),
    "REST: millions of rows": lambda a: a.post(TEXT, b'{"instances": [' + b'"a",' * 3_000_000 + b'"a"]}'),
    "REST: a million ids": lambda a: a.post(TEXT, b'{"signature_name": "ids", "inputs": [' + b"1," * 10**6 + b"1]}"),
    "REST: a million escaped quotes": lambda a: a.post(TEXT, b'{"inputs": ["' + b'\\"' * 990_000 + b'"]}'),
    "REST: long numbers": lambda a: a.post(TEXT, b'{"inputs": [' + (b"9" * 4300 + b",") * 900 + b"9]}"),
    "REST: tiny chunks": lambda a: a.raw(
        (HEAD + "Transfer-Encoding: chunked\r\n\r\n").encode() + b"1\r\na\r\n" * 50_000
    ),
    "REST: half a large body": lambda a: a.hold((HEAD + "Content-Length: 30000000\r\n\r\n").encode() + LARGE),
}
KINDS |= HEAVY


def draw_kinds(draw: random.Random, count: int) -> list[str]:
    """Names of `count` requests: each kind once, then at random."""
    weights = [1 / RARER if name in HEAVY else 1.0 for name in KINDS]
    return [*KINDS, *draw.choices(list(KINDS), weights, k=max(count - len(KINDS), 0))]
