"""The command `itembed index`, with real encoders of a tiny model: from a folder to a search, and its messages."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import itembed_tf
from itembed_tf.cli import main
from itembed_tf.index import Query, open_searcher
from itembed_tf.index.database import reading
from itembed_tf.index.items import read_vectors
from tests.support.images import image_bytes


@pytest.fixture(scope="module")
def built(small_export: Path, small_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of the images of the small dataset, built from its captions.csv, beside a copy of them."""
    folder = tmp_path_factory.mktemp("built")
    shutil.copytree(small_dataset, folder / "photos")
    assert main(["index", str(small_export), str(folder / "photos/captions.csv"), "--out", str(folder / "i")]) == 0
    return folder / "i"


@pytest.fixture
def index(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "photos.index"))


def test_vectors_are_those_of_the_export_and_a_search_finds_by_them(built: Path, small_export: Path) -> None:
    model = itembed_tf.load(small_export)
    searcher = open_searcher(built)
    [text] = model.embed_texts(["a red bike"])
    answer = searcher.search(Query("a red bike", by="vector", corrected=False, limit=16))
    hits = {hit.item.id: hit for hit in answer.hits}
    assert len(hits) == 16
    vectors = model.embed_images([hit.item.place for hit in hits.values()])
    np.testing.assert_allclose([hit.score for hit in hits.values()], vectors @ text, atol=2e-3)
    connection = reading(built)
    np.testing.assert_allclose(read_vectors(connection, list(hits), 1), vectors, atol=1e-3)
    connection.close()
    searcher.close()


def test_a_build_ends_with_the_next_command(
    index: Path, small_export: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["index", str(index)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"{index}: 16 items; 16 unchanged\nengine: exact, below 200,000 items every item is ")
    assert f"search {index}" in printed
    assert main(["index", str(small_export), "--out", str(index), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["unchanged"] == 16


def test_unreadable_images_are_listed_by_reason(
    index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more/page.jpg").write_bytes(b"<html>not found")
    cut = image_bytes(3)
    (tmp_path / "more/cut.png").write_bytes(cut[: len(cut) // 2])
    assert main(["index", str(index), str(tmp_path / "more")]) == 0
    printed = capsys.readouterr()
    assert "2 files cannot be read, and are left out:" in printed.err
    assert "an HTML page, not an image" in printed.err and "a truncated PNG image" in printed.err
    assert f"{index}: 16 items" in printed.out


def test_gone_files_end_with_an_error_and_the_command_that_removes_them(
    index: Path, built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos"
    shutil.copytree(built.parent / "photos", photos)
    (photos / "captions.csv").unlink()
    assert main(["index", str(index), str(photos)]) == 0
    shutil.rmtree(photos)
    assert main(["index", str(index)]) == 1
    error = capsys.readouterr().err
    assert f"error: {photos}: 16 of 16 items are gone, and were kept" in error and f"{index} --prune" in error
    assert main(["index", str(index), "--prune"]) == 0
    assert f"{index}: 16 items" in capsys.readouterr().out


def test_verify_compact_delete_and_export(index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["index", str(index), "--verify"]) == 0
    assert "16 items, 16 vectors, contract " in capsys.readouterr().out
    assert main(["index", str(index), "--delete", "*/1*.png", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"deleted": 7}
    assert main(["index", str(index), "--compact"]) == 0
    assert main(["index", str(index), "--verify", "--json"]) == 0
    assert main(["index", str(index), "--export", str(tmp_path / "x.npz")]) == 0
    assert "9 items with their vectors" in capsys.readouterr().out
    shutil.rmtree(index / "image_encoder")
    assert main(["index", str(index), "--verify"]) == 1
    assert "has no image encoder of the contract" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["nowhere", "x"], 1, "nowhere is not an index; name the one to make or to add to with --out INDEX"),
        (["nowhere", "--out", "new"], 1, "new does not exist, and there is nothing to add to it; give a folder of"),
        (["nowhere", "--verify"], 1, "nowhere is not an index"),
        (["nowhere", "--verify", "--compact"], 2, "give one of --delete, --verify, --compact, --export"),
        (["nowhere", "x", "--verify"], 2, "--verify takes an index alone: itembed index INDEX --verify"),
        (["nowhere", "nosuch", "--out", "new"], 2, "nosuch does not exist; give a folder, a glob pattern"),
        (["nowhere", ".", "--out", "a*b"], 2, "has the character *"),
    ],
)
def test_wrong_commands_say_what_is_wrong(
    words: list[str],
    code: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        assert main(["index", *words]) == code
    except SystemExit as stopped:
        assert stopped.code == code
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir()), "nothing was written"


def test_ctrl_c_says_how_to_continue(
    built: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("itembed_tf.index.build.build_index", stop)
    assert main(["index", str(built), "--retry"]) == 130
    assert re.search(rf"interrupted; continue with: .*itembed.* index {built} --retry", capsys.readouterr().err)
