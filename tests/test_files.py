"""The cache folder and the folder of temporary files: where there is none, the error names the setting."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from itembed_tf.errors import UserError
from itembed_tf.files import cache_folder, check_temporary_folder


def test_a_cache_that_cannot_be_created_names_its_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ITEMBED_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"cache folder cannot be created: .*file.*ITEMBED_CACHE"):
        cache_folder("features")
    monkeypatch.delenv("ITEMBED_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    with pytest.raises(UserError, match="ITEMBED_CACHE"):
        cache_folder("features")


def test_a_user_without_a_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ITEMBED_CACHE")
    monkeypatch.setattr(
        Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("Could not determine home directory."))
    )
    with pytest.raises(UserError, match=r"Could not determine home directory.*ITEMBED_CACHE"):
        cache_folder("features")


def test_a_read_only_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ITEMBED_CACHE", str(tmp_path))
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    with pytest.raises(UserError, match=r"features cannot be written; .*ITEMBED_CACHE"):
        cache_folder("features")


def test_without_a_folder_for_temporary_files(monkeypatch: pytest.MonkeyPatch) -> None:
    check_temporary_folder()
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/nowhere"])
    with pytest.raises(UserError, match="TMPDIR"):
        check_temporary_folder()


def test_word_vectors_are_imported_without_a_home_folder() -> None:
    """smart_open, which gensim imports, asks for the home folder; without HOME and with an unknown user it has none."""
    code = (
        "import os, pwd\n"
        "os.environ.pop('HOME', None)\n"
        "def unknown(uid): raise KeyError(uid)\n"
        "pwd.getpwuid = unknown\n"
        "import itembed_tf.text.word_vectors\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
