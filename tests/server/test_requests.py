"""Validation of requests before the model runs: image headers, tensors and JSON."""

from __future__ import annotations

import json
import struct
import time
import zlib

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow.core.protobuf.meta_graph_pb2 import TensorInfo

from benchmarks.served import sample_image
from itembed_tf.server.engines import short_message
from itembed_tf.server.errors import RequestError
from itembed_tf.server.json_outputs import write_json_outputs
from itembed_tf.server.limits import Limits
from itembed_tf.server.request_validation import check_items, prepare_images
from itembed_tf.server.rest_json import parse_request, read_json_inputs
from itembed_tf.server.tensors import read_inputs, write_output


def bomb_png(side):
    """A complete, small PNG of side x side pixels."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    row = zlib.compress(b"\0" * 1000)
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", row) + chunk(b"IEND", b"")


def test_decompression_bombs_and_other_files_are_rejected_by_index():
    good = sample_image()
    values = np.array([good, bomb_png(60_000), b"<html>", b"II*\0"], object)
    with pytest.raises(RequestError) as caught:
        check_items({"image_bytes": values}, Limits())
    message = str(caught.value)
    assert "image_bytes[0]" not in message
    assert "image_bytes[1] is a PNG image of 60,000 x 60,000 = 3,600,000,000 pixels" in message
    assert "image_bytes[2] is an HTML page" in message and "image_bytes[3] is a TIFF image" in message
    assert check_items({"image_bytes": values[:1]}, Limits()) == [48 * 40]


def test_images_that_only_pillow_decodes_are_decoded_before_the_batch():
    bitmap, broken = sample_image(0, "AVIF"), sample_image(0, "AVIF")[:-80]
    values = np.array([bitmap, sample_image(0, "PNG")], object)
    first, second = prepare_images({"image_bytes": values})["image_bytes"]
    assert first[:2] == b"BM" and second is values[1] and values[0] is bitmap
    with pytest.raises(RequestError, match=r"^is a damaged AVIF image$"):
        prepare_images({"image_bytes": np.array([broken], object)})
    text = {"text": np.array([b"a"], object)}
    assert prepare_images(text) == text


def test_images_whose_headers_take_long_are_refused_together():
    image = b"\xff\xd8\xff\xe1\x00\x02" + b"\xff\xe1\x00\x02" * 9000 + b"\xff\xd9"
    values = np.array([image] * 1000, object)
    started = time.thread_time()
    with pytest.raises(RequestError, match=r"of 1000 images took 0\.5 s") as caught:
        check_items({"image_bytes": values}, Limits())
    assert caught.value.code.name == "RESOURCE_EXHAUSTED" and time.thread_time() - started < 2


def test_limits_of_texts_and_requests():
    texts = np.array([b"a", b"b" * 100, b"c"], object)
    with pytest.raises(RequestError, match=r"^text\[1\] is a text of 100 bytes; the maximum is 99$"):
        check_items({"text": texts}, Limits(max_text=99))
    with pytest.raises(RequestError, match="3 items; the maximum is 2"):
        check_items({"text": texts}, Limits(max_queue=2))
    with pytest.raises(RequestError, match="different numbers of items"):
        check_items({"a": texts, "b": texts[:1]}, Limits())


def info(dtype, *shape):
    tensor_info = TensorInfo(dtype=dtype.as_datatype_enum)
    for size in shape:
        tensor_info.tensor_shape.dim.add(size=size)
    return tensor_info


def tensor(dtype, shape, **values):
    proto = TensorProto(dtype=dtype.as_datatype_enum, **values)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


@pytest.mark.parametrize(
    ("proto", "message"),
    [
        (tensor(tf.int32, [2**40, 3], int_val=[1]), "1099511627776 items; the maximum is 1024"),
        (tensor(tf.int32, [-1, 3], int_val=[1]), "signature expects"),
        (tensor(tf.int32, [2, 3], tensor_content=b"123"), "do not fill the shape"),
        (tensor(tf.int32, [1, 3], int_val=[1] * 7), "do not fill the shape"),
        (tensor(tf.float32, [1, 3], float_val=[1]), "dtype float32; the signature expects int32"),
        (TensorProto(dtype=99), "number 99"),
        (tensor(tf.int32, [0, 3]), "empty batch"),
    ],
)
def test_tensors_that_do_not_match_the_signature_or_their_shape(proto, message):
    with pytest.raises(RequestError, match=message):
        read_inputs({"ids": proto}, {"ids": info(tf.int32, -1, 3)}, Limits())


def test_strings_are_not_repeated_to_fill_a_shape():
    with pytest.raises(RequestError, match="1 strings for the shape"):
        read_inputs({"x": tensor(tf.string, [9], string_val=[b"a"])}, {"x": info(tf.string, -1)}, Limits())


OUTPUTS = [np.arange(6, dtype=np.float32).reshape(2, 3), np.ones(2), np.array([b"a", b"\xff"], object)]
OUTPUTS += [np.arange(3, dtype=name) for name in ("int32", "int64", "uint8", "uint64", "float16")]
OUTPUTS += [np.array([[True], [False]]), np.zeros((0, 2), np.float32)]


@pytest.mark.parametrize("array", OUTPUTS, ids=lambda array: f"{array.dtype}{array.shape}")
def test_tensorflow_reads_the_outputs(array):
    proto = TensorProto()
    write_output(proto, array)
    parsed = tf.make_ndarray(TensorProto.FromString(proto.SerializeToString()))
    assert parsed.dtype == array.dtype and parsed.tolist() == array.tolist()


def test_json_numbers_parse_to_the_same_float32():
    random = np.random.default_rng(0)
    array = random.normal(0, 1, (50, 4)).astype(np.float32) * 10.0 ** random.integers(-30, 30, (50, 1))
    array = array.astype(np.float32)
    for rows, key in ((True, "predictions"), (False, "outputs")):
        text = write_json_outputs({"embedding": array}, rows)
        assert np.array_equal(np.float32(json.loads(text)[key]), array)
        assert len(text) < 16 * array.size
    not_finite = np.array([[np.nan, np.inf]], np.float32)
    assert write_json_outputs({"e": not_finite, "n_bytes": np.array([b"a"], object)}, False) == (
        b'{"outputs": {"e": [[NaN, Infinity]], "n_bytes": [{"b64": "YQ=="}]}}'
    )


def read_json(body, infos, **limits):
    limits = Limits(**limits)
    return read_json_inputs(parse_request(body, limits), infos, limits)


@pytest.mark.parametrize("depth", [100, 100_000])
def test_deeply_nested_json_is_rejected(depth):
    body = b'{"inputs": ' + b"[" * depth + b"]" * depth + b"}"
    with pytest.raises(RequestError, match=r"JSON Parse error|shape|level"):
        read_json(body, {"text": info(tf.string, -1)})


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        (tf.int32, [-(2**31), 2**31 - 1]),
        (tf.int64, [-(2**63), 2**63 - 1]),
        (tf.uint64, [0, 2**64 - 1]),
        (tf.uint8, [0, 255]),
        (tf.float32, [1, -0.5, 3e38]),
        (tf.bool, [True, False]),
    ],
)
def test_numbers_of_every_type(dtype, values):
    array = read_json(json.dumps({"inputs": values}).encode(), {"x": info(dtype, -1)})["x"]
    assert array.dtype == dtype.as_numpy_dtype and array.tolist() == np.array(values, dtype.as_numpy_dtype).tolist()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"inputs": [[1, 2], [3, 2**31]]}, r"x\[1\]\[1\]: JSON Value: 2147483648 Type: Number is not of expected type"),
        ({"inputs": [[1, 2], [3, True]]}, r"x\[1\]\[1\]: JSON Value: true Type: True"),
        ({"instances": [[1, 2], [3, 0.5]]}, "Failed to process element: 1 of 'instances' list: JSON Value: 0.5"),
        ({"instances": [[1, 2], [3]]}, "element: 1 of 'instances' list: Encountered list at unexpected size: 1"),
        ({"inputs": [[1, 2], 3]}, r"x\[1\]: JSON Value: 3 found at incorrect level: 1"),
        ({"inputs": [[1, 2], [3, [4]]]}, r"x\[1\]\[1\]: Encountered list of 1 where a value of type int32"),
        ({"inputs": [[1, 2, 3]]}, r"x has the shape \[1, 3\]; the signature expects \[any, 2\]"),
        ({"inputs": [[1, 2]] * 1025}, "the request has 1025 items; the maximum is 1024"),
    ],
)
def test_errors_name_the_place_of_a_value(body, message):
    with pytest.raises(RequestError, match=message):
        read_json(json.dumps(body).encode(), {"x": info(tf.int32, -1, 2)})


def test_errors_show_only_the_start_of_a_value():
    body = json.dumps({"inputs": [{"x": "y" * 100_000}]}).encode()
    with pytest.raises(RequestError) as caught:
        read_json(body, {"text": info(tf.string, -1)})
    assert len(str(caught.value)) < 500
    with pytest.raises(RequestError, match="digits"):
        read_json(b'{"inputs": [' + b"9" * 300 + b"]}", {"ids": info(tf.int32, -1)})


def test_tensorflow_errors_without_graph_locations():
    message = "Graph execution error:\n\nDetected at node Assert defined at (most recent call last):\n<stack traces>\n"
    message += "assertion failed: [text is an empty batch] [0]\n\t [[{{node Assert}}]] [Op:__inference_signature_7]"
    assert short_message(message) == "[text is an empty batch] [0]"
    assert short_message("Trying to access resource.\nDid you load?") == "Trying to access resource. Did you load?"
    assert short_message("\n[[{{node a}}]]") == "the model failed on this batch"
