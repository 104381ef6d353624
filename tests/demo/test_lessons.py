"""Lessons over HTTP: given one at a time beside searches, refused, undone, and only by the page itself."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from itembed_tf.demo import lesson_process
from itembed_tf.demo.lessons import LessonProcess
from itembed_tf.index import Query, open_searcher
from itembed_tf.teaching import TeachingData
from tests.demo.test_application import error, get, request
from tests.support.search_page import GO_ON, ServedPage, can_learn, served_page, stand_in, write_shapes
from tests.support.small_teaching import packed_encoders, without_recall, write_taught_index
from tests.support.waiting import wait_until

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = write_shapes(tmp_path, 16)
    can_learn(folder)
    return folder


@pytest.fixture
def page(folder: Path) -> Iterator[ServedPage]:
    with pytest.MonkeyPatch.context() as patch:
        stand_in(patch)
        with served_page(folder) as page:
            yield page


def post(page: ServedPage, path: str, values: Any, expected: int = 200, **headers: str) -> Any:
    status, _, body = request(page, path, "POST", body=json.dumps(values), headers={**JSON, **headers})
    assert status == expected, body
    return json.loads(body)


def ended(page: ServedPage, number: int = 1) -> dict[str, Any]:
    """The outcome of a lesson, when it has ended."""
    wait_until(lambda: (get(page, "/api/lessons")["outcome"] or {}).get("number") == number, 10)
    return get(page, "/api/lessons")


def first_key(page: ServedPage, query: str) -> str:
    return get(page, f"/api/search?q={query}&by=vector")["hits"][0]["key"]


def test_a_lesson_is_followed_searched_beside_and_undone(page: ServedPage) -> None:
    key = first_key(page, "red+ring")
    assert get(page, "/api/search?q=wumpel&by=vector")["hits"] == []
    GO_ON.clear()
    begun = post(page, "/api/lessons", {"name": " our  wumpel", "keys": [key, key]})
    assert begun["running"]["name"] == "our  wumpel" and not begun["running"]["undo"] and begun["outcome"] is None
    wait_until(lambda: get(page, "/api/lessons")["running"]["step"] == "learn, and check on dev", 5)
    assert get(page, "/api/search?q=red")["hits"], "searches go on"
    refused = post(page, "/api/lessons", {"name": "second", "keys": [key]}, 409)["error"]
    assert refused.startswith("'our  wumpel' is being learned, since ") and "one lesson at a time" in refused
    GO_ON.set()
    state = ended(page)
    assert state["running"] is None and state["outcome"]["lesson"]["recall_after"] == 19.875
    (lesson,) = state["lessons"]
    assert lesson["images"] == [key] and "vectors" not in lesson
    hit = get(page, "/api/search?q=wumpel&by=vector")["hits"][0]
    assert hit["key"] == key and hit["band"] is None
    post(page, "/api/lessons/undo", {"number": lesson["number"]})
    state = ended(page, 2)
    assert state["outcome"]["undo"] and state["lessons"] == []
    assert get(page, "/api/search?q=wumpel&by=vector")["hits"] == []
    assert "no lesson 1" in post(page, "/api/lessons/undo", {"number": 1}, 404)["error"]


def test_a_refused_lesson_says_why_and_the_next_one_is_possible(page: ServedPage) -> None:
    key = first_key(page, "red")
    post(page, "/api/lessons", {"name": "costly", "keys": [key]})
    state = ended(page)
    assert "was not learned: R@1 on dev" in state["outcome"]["error"] and state["lessons"] == []
    post(page, "/api/lessons", {"name": "zorbal", "keys": [key]})
    assert ended(page, 2)["outcome"]["error"] == ""


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "", "keys": ["0" * 16]}, "name must be a text"),
        ({"name": "x" * 201, "keys": ["0" * 16]}, "name must be a text"),
        ({"name": "x", "keys": []}, "1 to 64 keys"),
        ({"name": "x", "keys": ["../../etc"]}, "1 to 64 keys"),
        ([1], "no JSON object"),
    ],
)
def test_what_is_no_lesson_is_refused(page: ServedPage, values: Any, message: str) -> None:
    assert message in post(page, "/api/lessons", values, 400)["error"]


def test_only_the_page_itself_gives_lessons(page: ServedPage, folder: Path) -> None:
    body = json.dumps({"name": "x", "keys": [first_key(page, "red")]})
    for headers in (
        {**JSON, "Origin": "http://evil.example"},
        {**JSON, "Origin": "null"},
        {**JSON, "Host": "evil.example"},
    ):
        error(page, "/api/lessons", 403, "POST", body=body, headers=headers)
    form = {"Content-Type": "text/plain"}  # which a form of another site may send without asking
    assert "Content-Type" in error(page, "/api/lessons", 400, "POST", body=body, headers=form)
    with served_page(folder, may_teach=False) as open_to_others:
        assert "machine of the server alone" in get(open_to_others, "/api/lessons")["cannot"]
        for path in ("/api/lessons", "/api/lessons/undo"):
            assert "machine of the server alone" in error(open_to_others, path, 400, "POST", body=body, headers=JSON)


def test_an_index_without_data_of_lessons_says_what_to_run(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        stand_in(patch)
        with served_page(write_shapes(tmp_path, 8)) as page:
            line = get(page, "/api/lessons")["cannot"]
            assert "shapes.index has no data to learn names with" in line and "index RUN --out" in line
            assert post(page, "/api/lessons", {"name": "x", "keys": [first_key(page, "red")]}, 400)["error"] == line


@pytest.mark.slow
def test_the_process_learns_names_that_look_like_options_and_says_what_is_wrong(
    teaching: TeachingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data, steps = without_recall(teaching), list[str]()
    index = write_taught_index(tmp_path / "i", data, packed_encoders(data))
    answer = LessonProcess().run({"index": str(index), "name": "--undo zorbal", "items": [3]}, steps.append)
    assert answer["lesson"]["words"] == ["undo", "zorbal"] and steps == ["load TensorFlow", "learn, and check on dev"]
    with closing(open_searcher(index)) as searcher:
        assert searcher.search(Query("undo zorbal", where="kind = 'image'", by="vector")).hits[0].item.id == 3
    monkeypatch.setattr(lesson_process.os, "nice", lambda _: None)  # in this process, the second time
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps({"index": str(index), "name": "x", "items": [99]})))
    assert lesson_process.main() == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer == {"error": "the index has no item 99; `itembed search INDEX TEXT` shows the ids of its hits"}
