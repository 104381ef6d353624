"""KServe's Open Inference Protocol: its schemas, the numbers of the other API, and its errors."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request

import jsonschema
import numpy as np
import pytest

from benchmarks.served import sample_image
from itembed_tf.client import Client

# Written after open_inference_rest.yaml of kserve/open-inference-protocol (version 2.0).
SIZES = (8, 16, 32, 64)
DATATYPES = ["BOOL", "FP16", "FP32", "FP64", "BYTES", *(f"{kind}{size}" for kind in ("INT", "UINT") for size in SIZES)]
TENSOR = {
    "type": "object",
    "required": ["name", "datatype", "shape"],
    "properties": {
        "name": {"type": "string"},
        "datatype": {"enum": DATATYPES},
        "shape": {"type": "array", "items": {"type": "integer"}},
    },
}
SERVER = {
    "type": "object",
    "required": ["name", "version", "extensions"],
    "properties": {
        "name": {"type": "string"},
        "version": {"type": "string"},
        "extensions": {"type": "array", "items": {"type": "string"}},
    },
}
MODEL = {
    "type": "object",
    "required": ["name", "platform"],
    "properties": {
        "name": {"type": "string"},
        "versions": {"type": "array", "items": {"type": "string"}},
        "platform": {"type": "string"},
        "inputs": {"type": "array", "items": TENSOR},
        "outputs": {"type": "array", "items": TENSOR},
    },
}
DATA = {"type": "array", "items": {"anyOf": [{"type": kind} for kind in ("number", "string", "boolean")]}}
ANSWER = {
    "type": "object",
    "required": ["model_name", "outputs"],
    "properties": {
        "model_name": {"type": "string"},
        "model_version": {"type": "string"},
        "id": {"type": "string"},
        "outputs": {
            "type": "array",
            "items": {
                "allOf": [
                    TENSOR,
                    {"required": ["data"], "properties": {"data": DATA, "parameters": {"type": "object"}}},
                ]
            },
        },
    },
}
ERROR = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
TEXTS = ["a dog runs", "the man on a red bike"]
TEXT, IMAGE = "/v2/models/text_encoder", "/v2/models/image_encoder"


@pytest.fixture
def call(toy_server):
    def send(path, content=None):
        body = None if content is None else json.dumps(content).encode()
        try:
            with urllib.request.urlopen(urllib.request.Request(toy_server.rest + path, body)) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    return send


def tensor(values, name="text", datatype="BYTES", **more):
    return {"name": name, "shape": list(np.shape(values)), "datatype": datatype, "data": values, **more}


def arrays(answer):
    jsonschema.validate(answer, ANSWER)
    return {t["name"]: np.array(t["data"]).reshape(t["shape"]) for t in answer["outputs"]}


def test_health_and_metadata(call):
    assert call("/v2/health/live") == (200, {"live": True})
    assert call("/v2/health/ready") == (200, {"ready": True})
    assert call(f"{TEXT}/ready") == call(f"{TEXT}/versions/1/ready") == (200, {"name": "text_encoder", "ready": True})
    for path in ("/v2", "/v2/"):
        jsonschema.validate(call(path)[1], SERVER)
    status, text = call(TEXT)
    jsonschema.validate(text, MODEL)
    assert status == 200 and text["versions"] == ["1"] and text["platform"] == "litert_tflite"
    assert text["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": [-1]}]
    assert {"name": "known_words", "datatype": "INT32", "shape": [-1]} in text["outputs"]
    _, image = call(f"{IMAGE}/versions/1")
    jsonschema.validate(image, MODEL)
    assert image["platform"] == "tensorflow_savedmodel"
    assert image["outputs"] == [{"name": "embedding", "datatype": "FP32", "shape": [-1, 16]}]


def test_inference_gives_the_numbers_of_the_other_api(call, toy_server):
    images = [sample_image(0), sample_image(1, "PNG")]
    with Client(toy_server.grpc) as client:
        texts, expected = client.embed_texts(TEXTS), client.embed_images(images)
        by_ids = client.embed_ids([[1, 2, 3, 0, 0, 0]])
    status, answer = call(f"{TEXT}/infer", {"id": "42", "inputs": [tensor(TEXTS)]})
    assert status == 200 and (answer["id"], answer["model_name"], answer["model_version"]) == (
        "42",
        "text_encoder",
        "1",
    )
    assert np.array_equal(np.float32(arrays(answer)["embedding"]), texts.embedding)
    assert arrays(answer)["known_words"].tolist() == [3, 6]
    _, answer = call(f"{TEXT}/versions/1/infer", {"inputs": [tensor(TEXTS)], "outputs": [{"name": "known_words"}]})
    assert list(arrays(answer)) == ["known_words"] and "id" not in answer
    rows = [[1, 2, 3, 0, 0, 0]]
    for data in (rows, rows[0]):  # nested, and flat in row-major order
        sent = {"name": "ids", "shape": [1, 6], "datatype": "INT32", "data": data}
        _, answer = call(f"{TEXT}/infer", {"inputs": [sent]})
        assert np.array_equal(np.float32(arrays(answer)["embedding"]), by_ids.embedding)
    encoded = [base64.b64encode(image).decode() for image in images]
    sent = tensor(encoded, "image_bytes", parameters={"content_type": "base64"})
    _, answer = call(f"{IMAGE}/infer", {"inputs": [sent]})
    np.testing.assert_allclose(arrays(answer)["embedding"], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("path", "content", "status", "message"),
    [
        ("/v2/nothing", None, 404, "not found"),
        ("/v2/models/other", None, 404, "Servable not found"),
        (f"{TEXT}/versions/7/ready", None, 404, "Servable not found"),
        (f"{TEXT}/versions/new", None, 404, "no version 'new'"),
        (f"{TEXT}/explain", {}, 400, "Malformed request"),
        ("/v2/models/other/infer", {"inputs": [tensor(TEXTS)]}, 404, "Servable not found"),
        (f"{TEXT}/infer", {}, 400, "inputs must be a list"),
        (f"{TEXT}/infer", {"inputs": [tensor(TEXTS), tensor(TEXTS)]}, 400, "inputs[1].name must be"),
        (f"{TEXT}/infer", {"inputs": [tensor(TEXTS, "words")]}, 400, "text_encoder takes ids or text"),
        (f"{TEXT}/infer", {"inputs": [tensor(TEXTS, datatype="FP32")]}, 400, "BYTES is expected"),
        (f"{TEXT}/infer", {"inputs": [tensor(TEXTS) | {"shape": [3]}]}, 400, "2 values in data for the shape [3]"),
        (f"{TEXT}/infer", {"inputs": [tensor(TEXTS) | {"shape": [1, 2]}]}, 400, "the signature expects [any]"),
        (f"{TEXT}/infer", {"inputs": [tensor(["a", 5])]}, 400, "text[1]"),
        (f"{TEXT}/infer", {"inputs": [tensor(TEXTS)], "outputs": [{"name": "x"}]}, 400, "no output 'x'"),
        (f"{TEXT}/infer", {"id": 5, "inputs": [tensor(TEXTS)]}, 400, "id must be a string"),
        (f"{IMAGE}/infer", {"inputs": [tensor(["<html>"], "image_bytes")]}, 400, "image_bytes[0] is an HTML page"),
    ],
)
def test_errors_have_the_form_of_the_protocol(call, path, content, status, message):
    code, answer = call(path, content)
    jsonschema.validate(answer, ERROR)
    assert (code, message in answer["error"]) == (status, True), answer
