"""`itembed search`: output and errors of the command, on an index with given vectors."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from itembed_tf import cli
from itembed_tf.retrieval.bands import LOWEST, Band
from itembed_tf.retrieval.calibration import Calibration, calibration_bytes
from itembed_tf.retrieval.hubness import Bank
from tests.support.small_index import CONTRACT, new_item, write_index

ITEMS = [
    new_item("dog.jpg", [1, 0], date="2020-05-01T12:00:00", captions=("a black <dog>",), fields={"stars": 3}),
    new_item("snow.jpg", [1, 1], date="2022-05-01T00:00:00", captions=("snow",)),
    new_item("bad\x1b[31m\nname.jpg", [0, 1]),
    new_item("copy.jpg", [1, 1], content=new_item("snow.jpg", [1, 1]).content),
]


@pytest.fixture(autouse=True)
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_index(tmp_path / "photos.index", ITEMS, dimensions=2)


def search(*words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    try:
        code = cli.main(["search", "photos.index", *words])
    except SystemExit as stop:
        code = int(stop.code or 0)
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_a_table_of_scores_origins_dates_ids_and_paths(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = search("--like", "1", capsys=capsys)
    assert code == 0
    rows = [re.split(r"  +", line) for line in out.splitlines()]
    assert rows[0] == ["score", "found by", "date", "id", "path"], "no column for bands, as there are none"
    assert rows[1] == ["0.707", "vector", "2022-05-01", "2", "/photos/snow.jpg", "(2 copies)"]
    assert out.splitlines()[2].endswith("/photos/bad\ufffd[31m\ufffdname.jpg"), "a terminal obeys no file name"
    assert err == ""


def test_the_next_command_runs(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, err = search("dog", "--by", "text", "--limit", "1", "--where", "stars = 3", capsys=capsys)
    assert out.splitlines()[1].split()[-1] == "/photos/dog.jpg"
    more = "search photos.index dog --where 'stars = 3' --by text --limit 1 --offset 1"
    assert f"hits 1 to 1; more: {more}" in err.replace(err.partition("more: ")[2].partition("search")[0], "")
    assert "search photos.index --like 1" in err


def test_bands_are_shown_with_what_was_measured(capsys: pytest.CaptureFixture[str]) -> None:
    bank = Bank(np.eye(2, dtype=np.float16), np.arange(2, dtype=np.int32))
    bands = (Band("strong", 0.6, 80, 100), Band("weak", LOWEST, 3, 100))
    calibration = Calibration(CONTRACT, bank, bank, corrections={}, bands={"image_to_image": bands})
    with closing(sqlite3.connect("photos.index/index.sqlite")) as connection, connection:
        connection.execute("UPDATE encoders SET calibration = ?", (calibration_bytes(calibration),))
    _, out, err = search("--like", "1", capsys=capsys)
    assert [line.split()[1] for line in out.splitlines()] == ["band", "strong", "weak"]
    assert err == "strong: 8 of 10 were right on dev; weak: 3 of 100 were right on dev\n"


def test_json_holds_what_the_table_holds_and_all_fields(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = search("dog", "--by", "text", "--json", capsys=capsys)
    answer = json.loads(out)
    assert code == 0 and err == ""
    assert answer["matching"] == 4 and answer["generation"] == 1 and answer["unknown_words"] == []
    (hit,) = answer["hits"]
    assert (hit["id"], hit["path"], hit["score"], hit["found_by"]) == (1, "/photos/dog.jpg", None, ["caption", "name"])
    assert hit["captions"] == ["a black <dog>"] and hit["fields"] == {"stars": 3} and hit["copies"] == 1


def test_the_page_is_one_file_that_shows_names_as_they_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code, _, err = search("<dog>", "--by", "text", "--open", capsys=capsys)
    (page,) = tmp_path.glob("*.html")
    assert code == 0 and opened == [page.as_uri()] and f"page: {page}" in err
    text = page.read_text(encoding="utf-8")
    assert "a black &lt;dog&gt;" in text and "<dog>" not in text
    assert "data:image/jpeg;base64," in text and not re.search(r'(src|href)="https?:', text) and "<script" not in text


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["dog", "--like", "1"], 2, "give one of TEXT, --image and --like"),
        (["--image", "none.jpg"], 1, "--image: no file at none.jpg"),
        (["--like", "9"], 1, "the index has no item 9"),
        (["--where", "yeer = 3"], 1, "did you mean 'year'?"),
        (["--limit", "0"], 2, "limit is 0; it must be 1 to 1,000"),
        (["--minus", "dog"], 2, "minus is subtracted from"),
        (["dog", "--by", "name"], 2, "vector"),
        (["--like", "1", "--engine", "magic"], 2, "engine 'magic'"),
    ],
)
def test_wrong_arguments_are_one_line(
    words: Sequence[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found, out, err = search(*words, capsys=capsys)
    assert (found, out) == (code, "") and err.startswith("error: ") and err.count("\n") == 1 and message in err


def test_a_folder_without_an_index_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "photos.index" / "index.sqlite").unlink()
    code, _, err = search("dog", capsys=capsys)
    assert code == 1 and "photos.index is not an index" in err


def test_nothing_found_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert search("zebra", "--by", "text", capsys=capsys)[:2] == (0, "nothing was found\n")
    assert search("--where", "year > 2100", capsys=capsys)[:2] == (0, "no item matches the filter\n")
