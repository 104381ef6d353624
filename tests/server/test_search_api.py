"""``/v1/search`` of the local server: the library's answers, limits, and refusal of an index of other encoders."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import itembed_tf
from benchmarks.served import Served, local_server, sample_image
from itembed_tf.errors import UserError
from itembed_tf.index import Query, open_searcher, writing
from itembed_tf.index.answers import answer_json
from itembed_tf.index.encoders import pack_encoders
from itembed_tf.index.generations import start_generation
from itembed_tf.index.items import add_source, delete_items, put_items
from itembed_tf.server.http_messages import HttpRequest
from itembed_tf.server.http_server import Handler
from itembed_tf.server.limits import Limits
from itembed_tf.server.metrics import Metrics
from itembed_tf.server.rest_api import make_handler
from itembed_tf.server.search_api import SearchApi
from tests.support.small_index import CONTRACT, new_item, write_index
from tests.support.toy_exports import ToyExports

NAMES = ("red.jpg", "bike.jpg", "dog.jpg")


@pytest.fixture(scope="module")
def exports(toy_exports: ToyExports) -> Path:
    return toy_exports.folder()


@pytest.fixture(scope="module")
def images() -> list[bytes]:
    return [sample_image(seed) for seed in range(len(NAMES))]


@pytest.fixture(scope="module")
def index(exports: Path, images: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("search") / "photos.index"
    vectors = itembed_tf.load(exports).embed_images(images)
    with writing(folder, create=True) as connection:
        generation = start_generation(connection, pack_encoders(exports))
        source = add_source(connection, "folder", "/photos")
        items = [new_item(name, vector, captions=("ein Größe",)) for name, vector in zip(NAMES, vectors)]
        put_items(connection, items, source=source, generation=generation.number, dimensions=vectors.shape[1])
    return folder


@pytest.fixture(scope="module")
def server(exports: Path, index: Path) -> Iterator[Served]:
    with local_server(exports, "--index", str(index), "--max-text", "1000", "--max-pixels", "10000") as served:
        yield served


def ask(server: Served, body: Any, *, raw: bytes | None = None, **headers: str) -> tuple[int, dict[str, Any], Any]:
    data = json.dumps(body).encode() if raw is None else raw
    request = urllib.request.Request(f"{server.rest}/v1/search", data=data, headers=headers)
    try:
        with urllib.request.urlopen(request) as response:
            return response.status, json.load(response), response.headers
    except urllib.error.HTTPError as error:
        return error.code, json.load(error), error.headers


def test_answers_are_those_of_the_library(server: Served, index: Path) -> None:
    with closing(open_searcher(index)) as searcher:
        filtered = {"text": "dog", "minus": "bike", "where": "name like '%.jpg'", "corrected": False}
        plain = ({}, {"text": "a red dog"}, {"like": 2, "limit": 1}, {"text": "zzqx", "by": "text"})
        for options in (filtered, *plain):
            status, answer, headers = ask(server, options)
            assert status == 200 and answer == answer_json(searcher.search(Query(**options)))
            assert headers["itembed-contract"] == searcher.generation.contract


def test_an_image_is_encoded_by_the_served_encoder(server: Served, images: list[bytes]) -> None:
    status, answer, _ = ask(server, {"image": {"b64": base64.b64encode(images[2]).decode()}})
    assert status == 200
    assert answer["hits"][0]["name"] == "dog.jpg" and answer["hits"][0]["score"] == pytest.approx(1, abs=1e-3)
    body = gzip.compress(json.dumps({"image": {"b64": base64.b64encode(images[2]).decode()}}).encode())
    assert ask(server, None, raw=body, **{"Content-Encoding": "gzip"})[1] == answer


def test_what_is_deleted_by_another_process_is_gone(server: Served, index: Path) -> None:
    with writing(index) as connection:
        vector = np.eye(16)[0]
        write = {"source": 1, "generation": 1, "dimensions": 16}
        (id,) = put_items(connection, [new_item("new.jpg", vector)], **write)
        assert [hit["name"] for hit in ask(server, {"text": "new", "by": "text"})[1]["hits"]] == ["new.jpg"]
        delete_items(connection, [id])
    assert ask(server, {"text": "new", "by": "text"})[1]["hits"] == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"txt": "dog"}, "unknown key 'txt' (did you mean 'text'?); the keys are text, minus, where"),
        ({"text": 3}, "text must be a string"),
        ({"text": {"b64": "ZG9n"}}, "text must be a string"),
        ({"text": "x" * 1001}, "text has 1,001 bytes; the maximum is 1,000"),
        ({"text": "dog", "limit": "3"}, "limit must be an integer"),
        ({"text": "dog", "limit": True}, "limit must be an integer"),
        ({"text": "dog", "limit": 1001}, "limit is 1001; it must be 1 to 1,000"),
        ({"text": "dog", "offset": 2**40}, "too large"),
        ({"text": "dog", "corrected": 1}, "corrected must be true or false"),
        ({"text": "dog", "where": "yeer = 3"}, "did you mean 'year'?"),
        ({"text": "dog", "like": 1}, "only one of them"),
        ({"like": 99}, "the index has no item 99"),
        ({"image": "abc"}, 'image must be {"b64": "..."}'),
        ({"image": {"b64": "?"}}, "image must be"),
        ({"image": {"b64": base64.b64encode(b"<html>").decode()}}, "image_bytes[0] is "),
        ({"image": {"b64": base64.b64encode(sample_image(size=(200, 200))).decode()}}, "40,000 pixels"),
        ([1], "Is not object"),
    ],
)
def test_wrong_requests_are_told_what_is_wrong(server: Served, body: Any, message: str) -> None:
    status, answer, _ = ask(server, body)
    assert status == 400 and message in answer["error"]


def test_get_describes_what_is_searched(server: Served, index: Path) -> None:
    with urllib.request.urlopen(f"{server.rest}/v1/search") as response:
        content = json.load(response)
    assert content["items"] == 3 and content["generation"] == 1 and "year" in content["fields"]
    with urllib.request.urlopen(f"{server.rest}/monitoring/prometheus/metrics") as response:
        assert 'model_name="search",status="OK"' in response.read().decode()


def test_an_index_of_other_encoders_is_refused(tmp_path: Path) -> None:
    write_index(tmp_path / "other.index", [new_item("a.jpg", [1, 0, 0, 0])])
    versions = {1: SimpleNamespace(contract="e7" * 32)}
    models: Any = SimpleNamespace(models={"image_encoder": SimpleNamespace(versions=versions)})
    with pytest.raises(UserError, match=r"contract c0c0.* and the served encoders have e7e7\w+; serve"):
        SearchApi(tmp_path / "other.index", models, Limits())
    versions[2] = SimpleNamespace(contract=CONTRACT)
    api = SearchApi(tmp_path / "other.index", models, Limits())
    del versions[2]  # a new version of the models
    response = asyncio.run(_handler(api)(HttpRequest("POST", "/v1/search", b'{"like": 1}')))
    assert response.status == 400 and "`itembed index --upgrade`" in json.loads(response.body)["error"]
    api.close()


def test_without_an_index_the_path_says_so() -> None:
    response = asyncio.run(_handler(None)(HttpRequest("POST", "/v1/search", b"{}")))
    assert response.status == 404
    assert json.loads(response.body)["error"] == "no index is served; start the server with --index INDEX"


def _handler(api: SearchApi | None) -> Handler:
    models: Any = SimpleNamespace(models={})
    return make_handler(models, Limits(), Metrics(), api)
