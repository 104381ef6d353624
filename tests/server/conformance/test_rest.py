"""TF Serving's REST API, in all formats of its documentation."""

from __future__ import annotations

import base64
import http.client
import json
import socket
from urllib.parse import urlsplit

import numpy as np
import pytest

TEXT = "/v1/models/text_encoder"
IMAGE = "/v1/models/image_encoder"
TEXTS = ["a dog runs", "the man on a red bike", ""]


@pytest.fixture(scope="module")
def call(target):
    """Send requests on one connection: method, path, content (bytes or JSON value) -> status, parsed response."""
    connection = http.client.HTTPConnection(urlsplit(target.rest).netloc, timeout=60)

    def ask(method, path, content=None, headers=None):
        body = content if isinstance(content, bytes) or content is None else json.dumps(content).encode()
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        received = response.read()
        assert response.getheader("Content-Type", "").startswith("application/json"), received[:200]
        return response.status, json.loads(received)

    yield ask
    connection.close()


def content_of(answer):
    status, content = answer
    assert status == 200, content
    return content


def b64(data: bytes) -> dict:
    return {"b64": base64.b64encode(data).decode()}


def newest(call) -> int:
    versions = content_of(call("GET", TEXT))["model_version_status"]
    return max(int(v["version"]) for v in versions if v["state"] == "AVAILABLE")


def columns(call, path=TEXT, **content):
    return content_of(call("POST", f"{path}:predict", content))["outputs"]


def test_columnar_format_with_a_named_input(call):
    answer = columns(call, inputs={"text": TEXTS})
    assert sorted(answer) == ["embedding", "known_words"]
    assert len(answer["embedding"]) == len(answer["known_words"]) == 3
    np.testing.assert_allclose(np.linalg.norm(answer["embedding"][:2], axis=1), 1, atol=1e-5)
    assert answer["known_words"][2] == 0 and all(isinstance(number, int) for number in answer["known_words"])


def test_all_request_formats_are_equivalent(call):
    answer = columns(call, inputs={"text": TEXTS})
    rows = [{"embedding": e, "known_words": k} for e, k in zip(answer["embedding"], answer["known_words"])]
    same_columns = [
        {"inputs": TEXTS},
        {"signature_name": "serving_default", "inputs": {"text": TEXTS}},
        {"inputs": {"text": [b64(s.encode()) for s in TEXTS]}},
        {"inputs": [b64(s.encode()) for s in TEXTS]},
    ]
    same_rows = [
        {"instances": TEXTS},
        {"instances": [{"text": s} for s in TEXTS]},
        {"instances": [b64(s.encode()) for s in TEXTS]},
        {"instances": [{"text": b64(s.encode())} for s in TEXTS]},
    ]
    for content in same_columns:
        assert_close(columns(call, **content), answer)
    for content in same_rows:
        predictions = content_of(call("POST", f"{TEXT}:predict", content))["predictions"]
        assert len(predictions) == 3
        for prediction, row in zip(predictions, rows):
            assert_close(prediction, row)


def assert_close(actual, expected):
    assert actual.keys() == expected.keys()
    assert actual["known_words"] == expected["known_words"]
    np.testing.assert_allclose(actual["embedding"], expected["embedding"], atol=1e-5)


def test_a_single_output_has_no_name(call, images):
    sent = [b64(data) for data in images]
    by_columns = columns(call, IMAGE, inputs={"image_bytes": sent})
    by_rows = content_of(call("POST", f"{IMAGE}:predict", {"instances": [{"image_bytes": data} for data in sent]}))
    assert isinstance(by_columns, list) and len(by_columns) == len(images)
    np.testing.assert_allclose(by_rows["predictions"], by_columns, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(by_columns, axis=1), 1, atol=1e-5)


def test_numbers_in_row_and_columnar_format(call):
    signatures = content_of(call("GET", f"{TEXT}/metadata"))["metadata"]["signature_def"]["signature_def"]
    length = int(signatures["ids"]["inputs"]["ids"]["tensor_shape"]["dim"][1]["size"])
    ids = [[1] * length, [1] + [0] * (length - 1)]
    answer = columns(call, signature_name="ids", inputs=ids)
    assert answer["known_words"] == [length, 1]
    rows = content_of(
        call("POST", f"{TEXT}:predict", {"signature_name": "ids", "instances": [{"ids": row} for row in ids]})
    )
    assert_close(rows["predictions"][0], {name: values[0] for name, values in answer.items()})
    plain = content_of(call("POST", f"{TEXT}:predict", {"signature_name": "ids", "instances": ids}))
    assert_close(plain["predictions"][1], {name: values[1] for name, values in answer.items()})


def test_version_and_label_in_the_path(target, call):
    latest, number = columns(call, inputs=TEXTS), newest(call)
    assert_close(columns(call, f"{TEXT}/versions/{number}", inputs=TEXTS), latest)
    status, answer = call("POST", f"{TEXT}/labels/stable:predict", {"inputs": TEXTS})
    if status == 400:
        target.lacks("the label stable")
    assert status == 200 and sorted(answer["outputs"]) == ["embedding", "known_words"]
    assert content_of(call("GET", f"{TEXT}/labels/stable/metadata"))["model_spec"]["name"] == "text_encoder"


def test_grpc_and_rest_agree(target, call, images):
    from itembed_tf.client import Client

    with Client(target.grpc) as client:
        texts, embedding = client.embed_texts(TEXTS), client.embed_images(images)
    assert_close(columns(call, inputs=TEXTS), {"embedding": texts.embedding, "known_words": texts.known_words.tolist()})
    sent = {"image_bytes": [b64(data) for data in images]}
    np.testing.assert_allclose(columns(call, IMAGE, inputs=sent), embedding, atol=1e-5)


ERRORS = {
    "an unknown model": ("POST", "/v1/models/half:predict", {"inputs": ["a"]}, 404),
    "an unknown version": ("POST", f"{TEXT}/versions/987654321:predict", {"inputs": ["a"]}, 404),
    "an unknown label": ("POST", f"{TEXT}/labels/no-such-label:predict", {"inputs": ["a"]}, 400),
    "a version that is no number": ("POST", f"{TEXT}/versions/one:predict", {"inputs": ["a"]}, 400),
    "an unknown signature": ("POST", f"{TEXT}:predict", {"signature_name": "nothing", "inputs": ["a"]}, 400),
    "a signature that is no string": ("POST", f"{TEXT}:predict", {"signature_name": 3, "inputs": ["a"]}, 400),
    "no body": ("POST", f"{TEXT}:predict", b"", 400),
    "no JSON": ("POST", f"{TEXT}:predict", b"{", 400),
    "no UTF-8": ("POST", f"{TEXT}:predict", b'{"inputs": ["\xff"], ', 400),
    "no object": ("POST", f"{TEXT}:predict", ["a"], 400),
    "neither form": ("POST", f"{TEXT}:predict", {"input": ["a"]}, 400),
    "both forms": ("POST", f"{TEXT}:predict", {"inputs": ["a"], "instances": ["a"]}, 400),
    "rows that are no list": ("POST", f"{TEXT}:predict", {"instances": "a"}, 400),
    "no rows": ("POST", f"{TEXT}:predict", {"instances": []}, 400),
    "rows of both kinds": ("POST", f"{TEXT}:predict", {"instances": [{"text": "a"}, "a"]}, 400),
    "rows of the other kind": ("POST", f"{TEXT}:predict", {"instances": ["a", {"text": "a"}]}, 400),
    "a row of another name": ("POST", f"{TEXT}:predict", {"instances": [{"words": "a"}]}, 400),
    "a row of a name too many": ("POST", f"{TEXT}:predict", {"instances": [{"text": "a", "more": "a"}]}, 400),
    "a column of another name": ("POST", f"{TEXT}:predict", {"inputs": {"words": ["a"]}}, 400),
    "an empty column": ("POST", f"{TEXT}:predict", {"inputs": {"text": []}}, 400),
    "a scalar": ("POST", f"{TEXT}:predict", {"inputs": {"text": "a"}}, 400),
    "numbers for strings": ("POST", f"{TEXT}:predict", {"inputs": [1]}, 400),
    "null": ("POST", f"{TEXT}:predict", {"inputs": [None]}, 400),
    "lists of uneven lengths": ("POST", f"{TEXT}:predict", {"signature_name": "ids", "inputs": [[1, 2], [1]]}, 400),
    "a list at the wrong level": ("POST", f"{TEXT}:predict", {"inputs": ["a", ["a"]]}, 400),
    "fractions for whole numbers": ("POST", f"{TEXT}:predict", {"signature_name": "ids", "inputs": [[1.5]]}, 400),
    "strings for numbers": ("POST", f"{TEXT}:predict", {"signature_name": "ids", "inputs": [["a"]]}, 400),
    "numbers out of range": ("POST", f"{TEXT}:predict", {"signature_name": "ids", "inputs": [[2**40]]}, 400),
    "no base64": ("POST", f"{IMAGE}:predict", {"inputs": [{"b64": "!"}]}, 400),
    "not an image": ("POST", f"{IMAGE}:predict", {"inputs": ["not an image"]}, 400),
    "GET of a call": ("GET", f"{TEXT}:predict", None, 400),
    "POST of a status": ("POST", TEXT, {"inputs": ["a"]}, 400),
    "an unknown call": ("POST", f"{TEXT}:guess", {"inputs": ["a"]}, 400),
    "status of an unknown model": ("GET", "/v1/models/half", None, 404),
    "status of an unknown version": ("GET", f"{TEXT}/versions/987654321", None, 404),
    "metadata of an unknown model": ("GET", "/v1/models/half/metadata", None, 404),
    "status of no model": ("GET", "/v1/models", None, 400),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors(call, case):
    method, path, content, expected = ERRORS[case]
    status, answer = call(method, path, content)
    assert status == expected, answer
    assert list(answer) == ["error"] and answer["error"]


def test_an_error_has_the_index_of_the_invalid_row(call):
    status, answer = call("POST", f"{TEXT}:predict", {"instances": ["a", "dog", 3]})
    assert status == 400 and "2" in answer["error"]


def test_metadata(call):
    answer = content_of(call("GET", f"{TEXT}/metadata"))
    assert answer["model_spec"]["name"] == "text_encoder" and answer["model_spec"]["version"] == str(newest(call))
    text = answer["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert text["method_name"] == "tensorflow/serving/predict"
    assert text["inputs"]["text"]["dtype"] == "DT_STRING"
    assert text["inputs"]["text"]["tensor_shape"]["dim"][0]["size"] == "-1"
    assert text["outputs"]["embedding"]["dtype"] == "DT_FLOAT"
    same = content_of(call("GET", f"{TEXT}/versions/{newest(call)}/metadata"))
    assert same["metadata"] == answer["metadata"]


def test_status(call):
    number = newest(call)
    for path in (TEXT, f"{TEXT}/versions/{number}"):
        versions = content_of(call("GET", path))["model_version_status"]
        one = next(version for version in versions if version["version"] == str(number))
        assert one == {
            "version": str(number),
            "state": "AVAILABLE",
            "status": {"error_code": "OK", "error_message": ""},
        }


def test_prometheus_page(target, call):
    columns(call, inputs=["a dog"])
    connection = http.client.HTTPConnection(urlsplit(target.rest).netloc, timeout=60)
    connection.request("GET", "/monitoring/prometheus/metrics")
    response = connection.getresponse()
    page = response.read().decode()
    if response.status != 200:
        target.lacks("--monitoring_config_file")
    assert 'model_name="text_encoder"' in page
    for name in ("request_count", "request_latency_bucket", "request_latency_sum", "runtime_latency_count"):
        assert f"\n:tensorflow:serving:{name}{{" in page, name


def test_chunked_body(target):
    body = json.dumps({"inputs": ["a dog"]}).encode()
    connection = http.client.HTTPConnection(urlsplit(target.rest).netloc, timeout=60)
    connection.request(
        "POST", f"{TEXT}:predict", iter([body[:5], body[5:]]), {"Transfer-Encoding": "chunked"}, encode_chunked=True
    )
    response = connection.getresponse()
    assert response.status == 200 and "outputs" in json.loads(response.read())
    connection.close()


def test_expect_100_continue(target):
    """curl sends it with bodies above a megabyte."""
    url, body = urlsplit(target.rest), json.dumps({"inputs": ["a dog"]}).encode()
    head = f"POST {TEXT}:predict HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Length: {len(body)}\r\n"
    head += "Expect: 100-continue\r\n\r\n"
    with socket.create_connection((url.hostname, url.port), timeout=30) as raw:
        raw.sendall(head.encode())
        assert raw.recv(4096).startswith(b"HTTP/1.1 100")
        raw.sendall(body)
        assert raw.recv(4096).startswith(b"HTTP/1.1 200")
