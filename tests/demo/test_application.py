"""The page's server over HTTP: what it answers, what it refuses, and with which headers."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from itembed_tf.demo.query_images import QueryImages
from itembed_tf.index.database import writing
from itembed_tf.index.items import delete_items
from tests.support.search_page import MAX_BODY, ServedPage, draw, served_page, stand_in, write_shapes


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shapes(tmp_path_factory.mktemp("page"), 48)


@pytest.fixture(scope="module")
def page(folder: Path) -> Iterator[ServedPage]:
    with pytest.MonkeyPatch.context() as patch:
        stand_in(patch)
        with served_page(folder, folder) as page:
            yield page


def request(page: ServedPage, path: str, method: str = "GET", **options: Any) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(urlsplit(page.url).netloc, timeout=20)
    connection.request(method, path, **options)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, {name.lower(): value for name, value in response.getheaders()}, body


def get(page: ServedPage, path: str) -> Any:
    status, _, body = request(page, path)
    assert status == 200, body
    return json.loads(body)


def error(page: ServedPage, path: str, expected: int, method: str = "GET", **options: Any) -> str:
    status, _, body = request(page, path, method, **options)
    assert status == expected, body
    return json.loads(body)["error"]


def test_a_search_has_what_the_command_has_and_the_key_of_each_item(page: ServedPage) -> None:
    answer = get(page, "/api/search?index=0&q=a+red+ring+wumpel&limit=3&by=vector")
    assert [hit["captions"] for hit in answer["hits"]] == [["a red ring"]] * 3
    assert answer["unknown_words"] == ["a", "wumpel"] and answer["more"] and answer["matching"] == 48
    hit = answer["hits"][0]
    assert hit["score"] > 0.95 and hit["found_by"] == ["vector"] and len(hit["key"]) == 16


def test_an_index_that_is_changed_by_another_process_is_searched_as_it_is_now(tmp_path: Path) -> None:
    folder = write_shapes(tmp_path, 8)
    with pytest.MonkeyPatch.context() as patch:
        stand_in(patch)
        with served_page(folder) as page:
            first = get(page, "/api/search?q=red+circle")["hits"][0]
            with writing(folder) as connection:
                delete_items(connection, [first["id"]])
            assert first["id"] not in [hit["id"] for hit in get(page, "/api/search?q=red+circle")["hits"]]
            assert "may have been removed" in error(page, f"/api/item/{first['key']}", 404)


def test_filters_and_their_errors(page: ServedPage, folder: Path) -> None:
    blue = quote(str(folder.parent / "images" / "blue"))
    answer = get(page, f"/api/search?q=ring&folder={blue}&year=2021&where=corners%3D0")
    assert answer["matching"] == len({hit["id"] for hit in answer["hits"]}) > 0
    assert {hit["date"][:4] for hit in answer["hits"]} == {"2021"}
    assert "did you mean 'corners'" in error(page, "/api/search?where=corner%3D4", 400)
    facets = get(page, "/api/facets")
    assert [count for _, count in facets["folders"]] == [12] * 4 and facets["kinds"] == [["image", 48]]


def test_thumbnails_are_kept_by_the_browser_and_named_by_content(page: ServedPage) -> None:
    key = get(page, "/api/search?q=red")["hits"][0]["key"]
    status, headers, body = request(page, f"/api/thumbnail/{key}?index=0")
    assert status == 200 and body.startswith(b"\x89PNG") and headers["content-type"] == "image/png"
    assert "immutable" in headers["cache-control"] and headers["etag"] == f'"{key}"'
    status, headers, body = request(page, f"/api/thumbnail/{key}", headers={"If-None-Match": f'"{key}"'})
    assert (status, body) == (304, b"")


def test_an_original_is_sent_only_if_it_is_what_was_indexed(tmp_path: Path) -> None:
    folder = write_shapes(tmp_path, 8)
    with pytest.MonkeyPatch.context() as patch:
        stand_in(patch)
        with served_page(folder) as page:
            hits = get(page, "/api/search?q=red")["hits"]
            file = Path(hits[0]["path"])
            assert request(page, f"/api/image/{hits[0]['key']}")[2] == file.read_bytes()
            file.write_bytes(b"a secret that took the place of the image")
            assert "has changed since it was indexed" in error(page, f"/api/image/{hits[0]['key']}", 404)
            file.unlink()
            assert "cannot be read" in error(page, f"/api/image/{hits[0]['key']}", 404)


@pytest.mark.parametrize(
    "path",
    [
        "/static/../__main__.py",
        "/static/..%2f__main__.py",
        "/static/%2e%2e/__main__.py",
        "/api/image/../../etc/passwd",
        "/api/image/..%2f..%2fetc%2fpasswd",
        "/api/thumbnail/0000000000000000",
        "/api/image/0000000000000000",
        "/etc/passwd",
        "//etc/passwd",
        "/api/search?index=7",
        "/static/nothing.js",
    ],
)
def test_nothing_but_the_page_and_items_of_the_index_is_sent(page: ServedPage, path: str) -> None:
    assert error(page, path, 404)


def test_every_answer_forbids_scripts_and_requests_of_other_origins(page: ServedPage) -> None:
    for path in ("/", "/static/main.js", "/api/indexes", "/api/search?q=red", "/nothing"):
        _, headers, _ = request(page, path)
        assert headers["content-security-policy"].startswith("default-src 'self'; ")
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in headers


def test_a_foreign_host_or_site_gets_nothing(page: ServedPage) -> None:
    assert "Host header" in error(page, "/", 403, headers={"Host": "evil.example"})
    evil = {"Origin": "http://evil.example"}
    assert "other web sites" in error(page, "/api/query-image", 403, "POST", body=b"x", headers=evil)


def test_an_image_to_search_by_is_kept_under_its_key(page: ServedPage) -> None:
    image = draw("blue", "square", (64, 64), 7)
    status, _, body = request(page, "/api/query-image", "POST", body=image)
    key = json.loads(body)["key"]
    assert status == 200 and request(page, f"/api/query-image/{key}")[2] == image
    hits = get(page, f"/api/search?image={key}&limit=12")["hits"]
    assert all("blue" in hit["captions"][0] for hit in hits)
    assert "give it again" in error(page, "/api/search?image=0000000000000000", 404)


def test_what_is_no_image_or_too_large_is_refused(page: ServedPage) -> None:
    assert "an HTML page" in error(page, "/api/query-image", 400, "POST", body=b"<!doctype html><p>x")
    assert "larger than the maximum" in error(page, "/api/query-image", 413, "POST", body=b"x" * (MAX_BODY + 1))
    assert "DELETE is not allowed" in error(page, "/api/search", 405, "DELETE")


def test_an_item_has_its_places_and_similar_items(page: ServedPage) -> None:
    hit = get(page, "/api/search?q=green+bar&by=vector")["hits"][0]
    item = get(page, f"/api/item/{hit['key']}?index=1")
    assert item["paths"] == [hit["path"]] and item["fields"] == {"corners": 4}
    assert item["similar"][0]["captions"] == ["a green bar"] and hit["id"] not in [s["id"] for s in item["similar"]]


def test_words_are_weighed_for_an_item(page: ServedPage) -> None:
    hit = get(page, "/api/search?q=green+bar&by=vector")["hits"][0]
    (text,) = get(page, f"/api/weights/{hit['key']}?text=green+bar+red")
    changes = {word["text"]: word["change"] for word in text["words"]}
    assert changes["green"] < -0.1 and changes["bar"] < -0.1 and changes["red"] > 0.1
    assert "at most 6" in error(page, f"/api/weights/{hit['key']}?" + "&".join(["text=red"] * 7), 400)


def test_the_oldest_query_images_go_first() -> None:
    images = QueryImages(max_bytes=25)
    first, second = images.add(b"1" * 10), images.add(b"2" * 10)
    assert images.get(first) == b"1" * 10  # asked for, so it is kept longer than the second
    images.add(b"3" * 10)
    assert images.get(second) is None and images.get(first) == b"1" * 10
