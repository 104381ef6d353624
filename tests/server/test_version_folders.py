"""Folders of versions: which are found, and what must not be opened."""

from __future__ import annotations

import os

import pytest

from itembed_tf.server import version_folders
from itembed_tf.server.version_folders import find_versions, writable_by_others


def add(exports, name="text_encoder", number="1", content=b"graph"):
    folder = exports / name / number
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(content)
    return folder


def test_leading_zeros_are_allowed_and_other_names_are_not_versions(tmp_path):
    for number in ("0012", "3", "03", "new", "1.5", ".4", "9" * 30):
        add(tmp_path, number=number)
    (tmp_path / "text_encoder" / "7").mkdir()  # without a graph
    found = find_versions(tmp_path)["text_encoder"]
    assert {number: folder.path.name for number, folder in found.items()} == {12: "0012", 3: "3"}


def test_a_link_to_nothing_does_not_disturb(tmp_path):
    folder = add(tmp_path)
    os.symlink(tmp_path / "missing", folder / "stray")
    os.symlink(tmp_path / "missing", tmp_path / "stray")
    add(tmp_path, "image_encoder")
    found = find_versions(tmp_path)
    assert sorted(found) == ["image_encoder", "text_encoder"]
    assert found["text_encoder"][1].problem == ""


def test_a_file_that_is_not_regular_is_a_problem_of_its_version_only(tmp_path):
    (tmp_path / "text_encoder" / "1").mkdir(parents=True)
    os.mkfifo(tmp_path / "text_encoder" / "1" / "saved_model.pb")
    os.mkfifo(add(tmp_path, number="2") / "variables")
    os.symlink(tmp_path / "text_encoder" / "2" / "variables", add(tmp_path, number="3") / "assets")
    add(tmp_path, number="4")
    problems = {number: folder.problem for number, folder in find_versions(tmp_path)["text_encoder"].items()}
    assert problems == {
        1: "saved_model.pb is not a regular file",
        2: "variables is not a regular file",
        3: "assets is not a regular file",
        4: "",
    }


def test_a_graph_of_many_gigabytes_is_not_read(tmp_path):
    file = add(tmp_path) / "saved_model.pb"
    with file.open("r+b") as content:
        content.truncate(3 * 2**30)  # sparse: it takes no space
    assert "3,221,225,472 bytes; the maximum is 536,870,912" in find_versions(tmp_path)["text_encoder"][1].problem


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_a_folder_that_cannot_be_read_does_not_disturb(tmp_path):
    add(tmp_path)
    (tmp_path / "private").mkdir(mode=0)
    assert list(find_versions(tmp_path)) == ["text_encoder"]


def test_a_folder_that_vanishes_while_it_is_read(tmp_path, monkeypatch):
    folder = add(tmp_path)
    add(tmp_path, number="2")
    found = version_folders.Path.rglob

    def vanishing(path, pattern):
        if path == folder:
            raise FileNotFoundError(f"{path} is gone")
        return found(path, pattern)

    monkeypatch.setattr(version_folders.Path, "rglob", vanishing)
    versions = find_versions(tmp_path)["text_encoder"]
    assert "is gone" in versions[1].problem and not versions[2].problem


def test_folders_that_every_user_may_write(tmp_path):
    add(tmp_path)
    tmp_path.chmod(0o755)
    (tmp_path / "text_encoder").chmod(0o775)
    assert writable_by_others(tmp_path) == []
    (tmp_path / "text_encoder").chmod(0o777)
    assert writable_by_others(tmp_path) == [tmp_path / "text_encoder"]
