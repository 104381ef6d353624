"""No request keeps the event loop busy: while one is parsed and answered, all others wait for less than 50 ms."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import json
import socket
import struct
import time

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef, TensorInfo

from itembed_tf.client.messages import PredictRequest
from itembed_tf.server import grpc_api, http_server, rest_api
from itembed_tf.server.errors import RequestError
from itembed_tf.server.limits import Limits
from itembed_tf.server.metrics import Metrics

LONGEST = 0.05  # seconds
TRIES = 4  # the best one counts: on a busy machine the task may be late for other reasons
MB = 10**6
TEXT, IMAGE = "/v1/models/text_encoder:predict", "/v1/models/image_encoder:predict"


def info(dtype, *shape):
    tensor_info = TensorInfo(dtype=dtype.as_datatype_enum)
    for size in shape:
        tensor_info.tensor_shape.dim.add(size=size)
    return tensor_info


INPUTS = {
    "text_encoder": {"text": info(tf.string, -1)},
    "ids": {"ids": info(tf.int32, -1, 16)},
    "image_encoder": {"image_bytes": info(tf.string, -1)},
}


class Version:
    """Answers every item with 512 random numbers."""

    number, contract = 1, "c" * 64

    def __init__(self, name):
        self.name = name

    def signature(self, name, code):
        inputs = INPUTS["ids" if name == "ids" else self.name]
        return name, SignatureDef(inputs=inputs, outputs={"embedding": info(tf.float32, -1, 512)})

    async def predict(self, signature, inputs, costs):
        return {"embedding": np.random.default_rng(0).normal(size=(len(costs), 512)).astype(np.float32)}


class Models:
    models = ("image_encoder", "text_encoder")

    @contextlib.contextmanager
    def lease(self, spec):
        yield Version(spec.name)

    def statuses(self, spec):
        raise RequestError(grpc.StatusCode.NOT_FOUND, f"Could not find any versions of model {spec.name}")


def post(path, body, *headers):
    lines = [f"POST {path} HTTP/1.1", "Host: a", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def encoded(*images):
    return json.dumps({"instances": [{"b64": base64.b64encode(image).decode()} for image in images]}).encode()


VALID = ("ids that fit into the limits", "many texts")
REST = {
    "lists": lambda: post(TEXT, b'{"inputs": [' + b"[]," * (10 * MB) + b"[]]}"),
    "rows": lambda: post(TEXT, b'{"instances": [' + b'"a",' * (3 * MB) + b'"a"]}'),
    "rows of objects": lambda: post(TEXT, b'{"instances": [' + b'{"text":"a"},' * 5000 + b'{"text":"a"}]}'),
    "ids": lambda: post(TEXT, b'{"signature_name": "ids", "inputs": [' + b"1," * MB + b"1]}"),
    "ids that fit into the limits": lambda: post(
        TEXT, json.dumps({"signature_name": "ids", "inputs": [[1] * 16] * 1024}).encode()
    ),
    "nested ids": lambda: post(TEXT, b'{"signature_name": "ids", "inputs": [' + b"[1]," * 60_000 + b"[1]]}"),
    "objects": lambda: post(TEXT, b'{"inputs": [' + b"{}," * 85_000 + b"{}]}"),
    "names": lambda: post(TEXT, b"{" + b",".join(b'"%d":0' % i for i in range(16_000)) + b"}"),
    "quotes": lambda: post(TEXT, b'{"inputs": ["' + b'\\"' * (15 * MB) + b'"]}'),
    "a million quotes": lambda: post(TEXT, b'{"inputs": ["' + b'\\"' * 999_000 + b'"]}'),
    "numbers": lambda: post(TEXT, b'{"inputs": [' + (b"9" * 4300 + b",") * 900 + b"9]}"),
    "spaces": lambda: post(TEXT, b" " * (30 * MB) + b"{}"),
    "depth": lambda: post(TEXT, b"[" * (30 * MB)),
    "one text": lambda: post(TEXT, b'{"inputs": ["' + b"a " * (15 * MB) + b'"]}'),
    "one text of wide characters": lambda: post(TEXT, b'{"inputs": ["' + "犬".encode() * (10 * MB) + b'"]}'),
    "many texts": lambda: post(TEXT, json.dumps({"inputs": ["a dog, a cat " * 1500] * 1024}).encode()),
    "one image": lambda: post(IMAGE, b'{"inputs": [{"b64": "' + b"AAAA" * (7 * MB) + b'"}]}'),
    "base64 in lines": lambda: post(IMAGE, b'{"inputs": [{"b64": "' + (b"A" * 76 + b"\\n") * 380_000 + b'"}]}'),
    "images of many segments": lambda: post(IMAGE, encoded(*[b"\xff\xd8" + b"\xff\xe1\x00\x02" * 5900] * 300)),
    "images of many blocks": lambda: post(
        IMAGE, encoded(*[b"GIF89a" + bytes(7) + b"\x21\xfe" + b"\x01a" * 15_000] * 300)
    ),
    "an image of stuffing": lambda: post(IMAGE, encoded(b"\xff\xd8\xff\xe0\x00\x02" + b"\xff\x00" * (11 * MB))),
    "gzip": lambda: post(TEXT, gzip.compress(b'{"inputs": [' + b"[]," * (10 * MB)), "Content-Encoding: gzip"),
    "tiny chunks": lambda: (
        f"POST {TEXT} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + b"1\r\na\r\n" * MB
    ),
    "many requests": lambda: b"GET /v1/models/nothing HTTP/1.1\r\nHost: a\r\n\r\n" * 3000,
}


def tensor(name, **fields):
    request = PredictRequest()
    request.model_spec.name = name
    proto = request.inputs["text"]
    proto.dtype = 7
    proto.tensor_shape.dim.add(size=1)
    for field, values in fields.items():
        getattr(proto, field).extend(values)
    return request.SerializeToString()


def entry(inner):
    """An input "text" of a PredictRequest whose TensorProto is `inner`."""
    value = b"\x0a\x04text\x12" + varint(len(inner)) + inner
    return b"\x0a\x0e\x0a\x0ctext_encoder\x12" + varint(len(value)) + value


def varint(number):
    return bytes([number & 0x7F | 0x80]) + varint(number >> 7) if number > 0x7F else bytes([number])


PREDICT = "/tensorflow.serving.PredictionService/Predict"
METADATA = "/tensorflow.serving.PredictionService/GetModelMetadata"
GRPC = {
    "empty strings": lambda: (PREDICT, entry(b"\x42\x00" * (15 * MB))),
    "packed integers": lambda: (PREDICT, entry(b"\x3a" + varint(30 * MB) + b"\x01" * (30 * MB))),
    "packed floats": lambda: (PREDICT, entry(b"\x2a" + varint(30 * MB) + struct.pack("<f", 1.0) * (30 * MB // 4))),
    "dimensions": lambda: (PREDICT, entry(b"\x12" + varint(30 * MB) + b"\x12\x00" * (15 * MB))),
    "one string": lambda: (PREDICT, tensor("text_encoder", string_val=[b"a" * (30 * MB)])),
    "inputs": lambda: (PREDICT, b"\x0a\x0e\x0a\x0ctext_encoder" + b"\x12\x00" * (15 * MB)),
    "metadata fields": lambda: (METADATA, b"\x0a\x0e\x0a\x0ctext_encoder" + b"\x12\x00" * (15 * MB)),
}


def longest_block(serve):
    """Run `serve()` beside a task that wakes up every millisecond; returns the longest time that it has overslept.

    Of that, only the CPU time of this process counts: while another process has the core, nothing is blocked.
    """

    async def run():
        longest = 0.0

        async def beat():
            nonlocal longest
            while True:
                clock, cpu = time.perf_counter(), time.process_time()
                await asyncio.sleep(0.001)
                longest = max(longest, min(time.perf_counter() - clock, time.process_time() - cpu))

        heart = asyncio.create_task(beat())
        try:
            await serve()
        finally:
            heart.cancel()
        return longest

    return asyncio.run(run())


def assert_short(serve):
    blocks = []
    for _ in range(TRIES):
        blocks.append(longest_block(serve))
        if blocks[-1] < LONGEST:
            return
    raise AssertionError(f"the event loop was blocked for {min(blocks):.3f} s, in {TRIES} tries")


@pytest.mark.parametrize("kind", REST)
def test_rest_requests(kind):
    content = REST[kind]()

    def send(port):
        answer = b""
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            with contextlib.suppress(OSError):  # the server may refuse the request before it is complete
                connection.sendall(content)
                connection.shutdown(socket.SHUT_WR)
            with contextlib.suppress(OSError):
                while part := connection.recv(2**20):
                    answer = answer or part
        assert answer.startswith(b"HTTP/1.1 200 " if kind in VALID else b"HTTP/1.1 4") or not answer, answer[:200]
        assert answer or kind not in VALID

    async def serve():
        server = http_server.HttpServer(rest_api.make_handler(Models(), Limits(), Metrics()), Limits())
        port = await server.start("127.0.0.1", 0)
        await asyncio.to_thread(send, port)
        await server.close(1.0)

    assert_short(serve)


@pytest.mark.parametrize("kind", GRPC)
def test_grpc_requests(kind):
    method, content = GRPC[kind]()

    def send(port):
        with grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.max_send_message_length", -1)]) as channel:
            error = channel.unary_unary(method).future(content, timeout=60).exception()
        assert error.code().name in ("INVALID_ARGUMENT", "RESOURCE_EXHAUSTED")

    async def serve():
        server, _ = grpc_api.make_server(Models(), Limits(), Metrics())
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        await asyncio.to_thread(send, port)
        await server.stop(0)

    assert_short(serve)
