"""``POST /v1/embeddings``: OpenAI's schema, the numbers of the other API, and its errors."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request

import jsonschema
import numpy as np
import pytest

from itembed_tf.client import Client

# Written after CreateEmbeddingResponse, Embedding and ErrorResponse of OpenAI's published openapi.json (August 2026).
# There "embedding" is a list of numbers; for base64, which the request's schema allows, its clients read a string.
EMBEDDING = {
    "type": "object",
    "required": ["index", "object", "embedding"],
    "properties": {
        "index": {"type": "integer"},
        "object": {"enum": ["embedding"]},
        "embedding": {"type": "array", "items": {"type": "number"}},
    },
}
ANSWER = {
    "type": "object",
    "required": ["object", "model", "data", "usage"],
    "properties": {
        "object": {"enum": ["list"]},
        "model": {"type": "string"},
        "data": {"type": "array", "items": EMBEDDING},
        "usage": {
            "type": "object",
            "required": ["prompt_tokens", "total_tokens"],
            "properties": {"prompt_tokens": {"type": "integer"}, "total_tokens": {"type": "integer"}},
        },
    },
}
TEXT_OR_NULL = {"anyOf": [{"type": "string"}, {"type": "null"}]}
ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["type", "message", "param", "code"],
            "properties": {
                "type": {"type": "string"},
                "message": {"type": "string"},
                "param": TEXT_OR_NULL,
                "code": TEXT_OR_NULL,
            },
        }
    },
}
TEXTS = ["a dog runs", "the man on a red bike", "unknown words"]


@pytest.fixture
def ask(toy_server):
    def send(method="POST", **content):
        body = json.dumps(content).encode() if method == "POST" else None
        request = urllib.request.Request(f"{toy_server.rest}/v1/embeddings", body, method=method)
        try:
            with urllib.request.urlopen(request) as response:
                return response.status, json.load(response), response.headers
        except urllib.error.HTTPError as error:
            return error.code, json.load(error), error.headers

    return send


def test_embeddings_are_those_of_the_other_apis_in_openais_form(ask, toy_server):
    with Client(toy_server.grpc) as client:
        expected = client.embed_texts(TEXTS)
    status, answer, headers = ask(model="text_encoder", input=TEXTS, user="me", dimensions=16)
    assert status == 200
    jsonschema.validate(answer, ANSWER)
    assert [entry["index"] for entry in answer["data"]] == [0, 1, 2] and answer["model"] == "text_encoder"
    numbers = np.float32([entry["embedding"] for entry in answer["data"]])
    assert np.array_equal(numbers, expected.embedding)
    assert [entry["known_words"] for entry in answer["data"]] == expected.known_words.tolist() == [3, 6, 0]
    assert answer["usage"] == {"prompt_tokens": 9, "total_tokens": 9}
    assert headers["itembed-version"] == "1" and headers["itembed-contract"] == expected.contract
    _, encoded, _ = ask(model="text_encoder", input=TEXTS, encoding_format="base64")
    for entry, row in zip(encoded["data"], expected.embedding, strict=True):
        assert np.array_equal(np.frombuffer(base64.b64decode(entry["embedding"]), "<f4"), row)
    _, one, _ = ask(model="text_encoder", input=TEXTS[0])
    assert len(one["data"]) == 1 and np.array_equal(np.float32(one["data"][0]["embedding"]), expected.embedding[0])


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        ({"input": "a"}, 400, "model must be the name"),
        ({"model": "text-embedding-3-small", "input": "a"}, 404, "text-embedding-3-small"),
        ({"model": "image_encoder", "input": "a"}, 400, "encodes no texts; use text_encoder"),
        ({"model": "text_encoder"}, 400, "input must be a string"),
        ({"model": "text_encoder", "input": []}, 400, "empty list"),
        ({"model": "text_encoder", "input": ["a", 5]}, 400, r"input[1] must be a string"),
        ({"model": "text_encoder", "input": [[1, 2]]}, 400, "token ids are not read here"),
        ({"model": "text_encoder", "input": [{"b64": "YQ=="}]}, 400, r"input[0] must be a string"),
        ({"model": "text_encoder", "input": ["a", "b" * 1001]}, 400, "text[1] is a text of 1,001 bytes"),
        ({"model": "text_encoder", "input": "a", "encoding_format": "hex"}, 400, "one of float, base64"),
        ({"model": "text_encoder", "input": "a", "dimensions": 8}, 400, "dimensions can only be 16"),
        ({"model": "text_encoder", "input": "a", "size": 8}, 400, "unknown key 'size'"),
    ],
)
def test_errors_have_openais_form(ask, content, status, message):
    code, answer, _ = ask(**content)
    assert code == status
    jsonschema.validate(answer, ERROR)
    assert message in answer["error"]["message"] and answer["error"]["type"] == "invalid_request_error"
    assert answer["error"]["code"] == ("model_not_found" if status == 404 else None)


def test_a_get_is_refused_and_requests_are_counted(ask, toy_server):
    code, answer, _ = ask("GET")
    assert code == 400 and "use POST" in answer["error"]["message"]
    ask(model="text_encoder", input="a dog")
    with urllib.request.urlopen(f"{toy_server.rest}/monitoring/prometheus/metrics") as response:
        page = response.read().decode()
    assert 'API="embeddings",entrypoint="REST",le="+Inf",model_name="text_encoder"' in page
