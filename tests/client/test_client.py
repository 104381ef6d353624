"""The client without a server: imports, messages compared with TF Serving's, retries, splitting, arrays."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from itembed_tf.client import AsyncClient, Client, ServingError
from itembed_tf.client import calls as calls_module
from itembed_tf.client import messages as ours
from itembed_tf.client.batches import image_contents, split_into_calls, text_contents, with_item_range
from itembed_tf.client.calls import Call, Prediction, call_with_retries
from itembed_tf.client.grpc_transport import decode_response, encode_request
from itembed_tf.client.tensors import as_array, from_json, from_proto, to_json, to_proto

ROOT = Path(__file__).parents[2]


def test_importing_the_client_imports_nothing_heavy():
    code = """
import sys
from itembed_tf.client import Client, ServingError, Texts
heavy = [m for m in ("tensorflow", "tensorflow_serving", "keras", "scipy", "grpc", "asyncio") if m in sys.modules]
from itembed_tf.client import AsyncClient
for address in ("localhost:1", "http://localhost:1"):
    Client(address)
heavy += [m for m in ("tensorflow", "tensorflow_serving", "keras", "scipy") if m in sys.modules]
print(heavy)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def reference_message(name):
    """The message of TF Serving, of the health check or of TensorFlow."""
    from grpc_health.v1 import health_pb2
    from tensorflow.core.framework import tensor_pb2
    from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, predict_pb2

    for module in (predict_pb2, get_model_metadata_pb2, get_model_status_pb2, health_pb2, tensor_pb2):
        if hasattr(module, name):
            return getattr(module, name)
    raise AssertionError(name)


NAMES = [name for name in vars(ours) if name[0].isupper() and hasattr(getattr(ours, name), "DESCRIPTOR")]


@pytest.mark.parametrize("name", NAMES)
def test_messages_are_those_of_tf_serving(name):
    """Recursively: the same names, numbers, types and packing; enums are int32 here."""
    seen = set()

    def compare(mine, theirs):
        assert mine.full_name == theirs.full_name
        if mine.full_name in seen:
            return
        seen.add(mine.full_name)
        for field in mine.fields:
            other = theirs.fields_by_number[field.number]
            assert field.name == other.name and field.is_packed == other.is_packed
            assert field.is_repeated == other.is_repeated
            enum = other.type == other.TYPE_ENUM and field.type == field.TYPE_INT32
            assert field.type == other.type or enum, f"{mine.full_name}.{field.name}"
            oneofs = [f.containing_oneof.name if f.containing_oneof else "" for f in (field, other)]
            assert oneofs[0] == oneofs[1]
            if field.message_type:
                compare(field.message_type, other.message_type)

    compare(getattr(ours, name).DESCRIPTOR, reference_message(name).DESCRIPTOR)


ARRAYS = {
    "strings": as_array(["a dog", "", b"\xff\x00", "caf\u00e9 \U0001f3c4"]),
    "floats": np.array([[0.5, -1e-30], [np.inf, 3e38]], np.float32),
    "doubles": np.array([1 / 3]),
    "ids": np.arange(6, dtype=np.int32).reshape(2, 3),
    "long": np.array([-(2**62)]),
    "bytes": np.arange(3, dtype=np.uint8),
    "yes and no": np.array([True, False]),
    "none": np.zeros((0, 4), np.float32),
    "one": np.float32(2.5).reshape(()),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_tensorflow_converts_arrays_the_same_way(name):
    import tensorflow as tf
    from tensorflow.core.framework.tensor_pb2 import TensorProto

    array = ARRAYS[name]
    sent = tf.make_ndarray(TensorProto.FromString(to_proto(array).SerializeToString()))
    assert sent.shape == array.shape and sent.tolist() == array.tolist()
    if array.dtype == object:
        array = np.array([v.rstrip(b"\0") for v in array], object)
    for proto in (tf.make_tensor_proto(array), typed_fields(array)):
        back = from_proto(ours.TensorProto.FromString(proto.SerializeToString()))
        assert back.dtype == array.dtype and back.shape == array.shape and back.tolist() == array.tolist()


def typed_fields(array):
    """As a server sends it: values in the field of their type."""
    import tensorflow as tf

    proto = tf.make_tensor_proto(array)
    if proto.tensor_content:
        values = array.ravel().tolist()
        proto.ClearField("tensor_content")
        field = {"f": "float_val", "d": "double_val", "q": "int64_val", "l": "int64_val", "?": "bool_val"}
        getattr(proto, field.get(array.dtype.char, "int_val")).extend(values)
    return proto


def test_the_last_value_fills_the_shape():
    proto = ours.TensorProto(dtype=3, int_val=[5, 7])
    proto.tensor_shape.dim.add(size=4)
    assert from_proto(proto).tolist() == [5, 7, 7, 7]
    proto.int_val.extend([1, 1, 1])
    with pytest.raises(ValueError, match="5 values for the shape"):
        from_proto(proto)


def test_json_of_any_bytes():
    array = as_array(["a dog", b"\xff\x00", "\ud800"])
    assert to_json(array) == ["a dog", {"b64": "/wA="}, {"b64": "7aCA"}]
    assert from_json(to_json(array), "object").tolist() == array.tolist()
    assert from_json([[1, 2]], "float32").dtype == np.float32


@pytest.mark.parametrize("bad", [["a", 1], [["a"], ["b", "c"]], [1j]])
def test_values_that_a_tensor_cannot_hold(bad):
    with pytest.raises(ValueError, match=r"item 1|same length|inhomogeneous|a tensor cannot hold"):
        as_array(bad)


def test_requests_and_responses_are_tf_serving_messages():
    from tensorflow_serving.apis import predict_pb2

    call = Call("predict", "text_encoder", label="stable", inputs={"text": as_array(["a dog"])})
    request = predict_pb2.PredictRequest.FromString(encode_request(call))
    assert (request.model_spec.name, request.model_spec.version_label) == ("text_encoder", "stable")
    assert request.inputs["text"].string_val == [b"a dog"]
    assert (
        predict_pb2.PredictRequest.FromString(encode_request(Call("predict", "m", version=3))).model_spec.version.value
        == 3
    )
    response = ours.PredictResponse()
    response.outputs["embedding"].CopyFrom(to_proto(np.ones((1, 2), np.float32)))
    assert decode_response(call, response).outputs["embedding"].tolist() == [[1, 1]]
    for wrong, message in (
        ({"version": 1, "label": "stable"}, "give at most one"),
        ({"version": "1"}, "version is '1'"),
        ({"label": 1}, "label is 1"),
    ):
        with pytest.raises(ValueError, match=message):
            Call("predict", "m", **wrong)


def parts(sizes, **limits):
    items = as_array([b"x" * size for size in sizes]) if sizes else np.empty(0, object)
    return [(start, len(call.inputs["a"])) for start, call in split_into_calls("m", "a", items)]


def test_long_inputs_are_split_by_items_and_bytes():
    assert parts([1] * 32) == [(0, 32)]
    assert parts([1] * 70) == [(0, 32), (32, 32), (64, 6)]
    assert parts([5_000_000] * 3) == [(0, 1), (1, 1), (2, 1)]
    assert parts([3_000_000] * 3 + [9_000_000, 1]) == [(0, 2), (2, 1), (3, 1), (4, 1)]
    assert parts([]) == [(0, 0)]


def test_an_error_has_the_item_range_of_its_request():
    error = ServingError("INVALID_ARGUMENT", "text[3] is too long")
    (_, first), (start, second) = list(split_into_calls("m", "text", as_array(["a"] * 40)))
    assert with_item_range(error, second, start, 40).details.startswith("in the request of items 32 to 39")
    assert with_item_range(error, first, 0, 32) is error


def failing(*errors):
    """An attempt that raises these errors in turn, then succeeds."""
    left = list(errors)

    def attempt(seconds):
        assert seconds > 0
        if left:
            raise left.pop(0)
        return "response"

    return attempt


BUSY, UNAVAILABLE = ServingError("RESOURCE_EXHAUSTED", "full"), ServingError("UNAVAILABLE", "unreachable")


class Clock:
    """A clock in place of the module `time`: it advances only by sleeping."""

    def __init__(self):
        self.now, self.delays = 0.0, []

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds
        self.delays.append(seconds)


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(calls_module, "time", clock)
    return clock


def test_unavailable_and_busy_servers_are_retried(clock):
    assert call_with_retries(failing(UNAVAILABLE, BUSY, UNAVAILABLE), timeout=30, retries=3) == "response"
    for delay, maximum in zip(clock.delays, (0.05, 0.1, 0.2), strict=True):
        assert maximum / 2 <= delay <= maximum


@pytest.mark.parametrize(
    "error",
    [
        ServingError("INVALID_ARGUMENT", "bad"),
        ServingError("NOT_FOUND", "no model"),
        ServingError("RESOURCE_EXHAUSTED", "Received message larger than max (5 vs. 4)"),
    ],
)
def test_other_errors_are_not_retried(error):
    with pytest.raises(ServingError) as caught:
        call_with_retries(failing(error), timeout=30, retries=5)
    assert caught.value is error and error.code in str(error)


def test_retries_and_timeout_are_limits(clock):
    with pytest.raises(ServingError, match="unreachable"):
        call_with_retries(failing(UNAVAILABLE, UNAVAILABLE, UNAVAILABLE), timeout=30, retries=2)
    assert len(clock.delays) == 2
    clock.now = 0.0
    with pytest.raises(ServingError, match="unreachable"):
        call_with_retries(failing(*[UNAVAILABLE] * 1000), timeout=10, retries=1000)
    assert 8 <= clock.now <= 10


@pytest.mark.parametrize("scheme", ["", "http://"])
def test_no_server_at_the_address(scheme):
    with Client(f"{scheme}127.0.0.1:1", timeout=2, retries=1) as client, pytest.raises(ServingError) as caught:
        client.status("text_encoder")
    assert caught.value.code == "UNAVAILABLE"


class ScriptedHandler(BaseHTTPRequestHandler):
    """Sends the responses in `responses` in turn; None leaves the request without a response."""

    protocol_version = "HTTP/1.1"
    responses: list[tuple[int, bytes] | None]
    finished: threading.Event

    def do_GET(self):
        response = self.responses.pop(0)
        if response is None:
            self.finished.wait(60)
            return
        status, body = response
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def scripted_server():
    ScriptedHandler.finished = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), ScriptedHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    ScriptedHandler.finished.set()
    server.shutdown()
    server.server_close()


def test_rest_retries_503_and_429(scripted_server):
    status = b'{"model_version_status": [{"version": "3", "state": "AVAILABLE"}]}'
    ScriptedHandler.responses = [(503, b'{"error": "full"}'), (429, b"busy"), (200, status)]
    with Client(scripted_server) as client:
        assert client.status("text_encoder") == {3: "AVAILABLE"}


@pytest.mark.parametrize(
    ("response", "timeout", "code", "message"),
    [
        ((200, b"<html>"), 30, "INTERNAL", "not JSON"),
        ((404, b'{"error": "no such model"}'), 30, "NOT_FOUND", "no such model"),
        (None, 0.3, "DEADLINE_EXCEEDED", "within 0.3 s"),
    ],
)
def test_rest_errors(scripted_server, response, timeout, code, message):
    ScriptedHandler.responses = [response]
    with Client(scripted_server, timeout=timeout) as client, pytest.raises(ServingError, match=message) as caught:
        client.status("text_encoder")
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("method", "items", "message"),
    [
        ("embed_texts", "a dog", "must be a list"),
        ("embed_texts", bytearray(b"a dog"), "must be a list"),
        ("embed_texts", {"a dog"}, "another iterable with an order"),
        ("embed_texts", ["a dog", 3], r"texts\[1\] is int"),
        ("embed_images", b"GIF89a", "must be a list"),
        ("embed_images", [np.zeros((2, 2, 3))], r"images\[0\] is ndarray"),
        ("embed_ids", [[1.5, 2.0]], "whole numbers"),
        ("embed_ids", [1, 2], r"the shape \[2\]"),
        ("embed_ids", [[2**31]], "int32 holds"),
        ("embed_ids", [[True]], "whole numbers"),
    ],
)
def test_input_that_cannot_be_sent(method, items, message):
    with Client("127.0.0.1:1") as client, pytest.raises(ValueError, match=message):
        getattr(client, method)(items)


def test_any_ordered_iterable_and_any_bytes_are_sent(tmp_path):
    (tmp_path / "a.gif").write_bytes(b"GIF89a")
    images = (tmp_path / "a.gif", str(tmp_path / "a.gif"), bytearray(b"GIF89a"), memoryview(b"GIF89a"))
    assert image_contents(image for image in images).tolist() == [b"GIF89a"] * 4
    assert text_contents(text for text in ("a", b"b", bytearray(b"c"))).tolist() == [b"a", b"b", b"c"]


class Versions:
    """A transport to a server whose version 1 is replaced by version 2 after `calls` predict calls."""

    def __init__(self, calls, keeps_old=False):
        self.calls, self.keeps_old, self.asked = calls, keeps_old, []

    def send(self, call, timeout):
        newest = 1 if self.calls > 0 else 2
        if call.kind == "version":
            return newest
        self.calls -= 1
        number = call.version or newest
        self.asked.append(number)
        if number < newest and not self.keeps_old:
            raise ServingError("NOT_FOUND", f"Servable not found for request: Specific(text_encoder, {number})")
        count = len(call.inputs["text"])
        outputs = {"embedding": np.full((count, 2), number), "known_words": np.ones(count, int)}
        return Prediction(outputs, number, f"contract {number}")

    def close(self):
        pass


@pytest.mark.parametrize("keeps_old", [True, False])
def test_all_items_of_one_call_are_embedded_by_one_version(keeps_old):
    client = Client("127.0.0.1:1")
    client._transport = Versions(3, keeps_old)
    texts = client.embed_texts(["a dog"] * 200)
    version = 1 if keeps_old else 2
    assert set(texts.embedding.ravel().tolist()) == {version} and len(texts.embedding) == 200
    assert (texts.version, texts.contract) == (version, f"contract {version}")
    assert client._transport.asked == ([1] * 7 if keeps_old else [1] * 4 + [2] * 7)


def test_all_items_of_one_asynchronous_call_are_embedded_by_one_version():
    class AsyncVersions(Versions):
        async def send(self, call, timeout):
            await asyncio.sleep(0.001)
            return super().send(call, timeout)

        async def close(self):
            pass

    async def ask():
        async with AsyncClient("127.0.0.1:1") as client:
            client._transport = AsyncVersions(3)
            return await client.embed_texts(["a dog"] * 200)

    texts = asyncio.run(ask())
    assert set(texts.embedding.ravel().tolist()) == {2} and (texts.version, len(texts.embedding)) == (2, 200)


def test_address_without_a_host():
    with pytest.raises(ValueError, match="http://host:port"):
        Client("http://")
