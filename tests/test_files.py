"""Files: whole or absent, also on a full disk; folders that cannot be used are refused with what to do."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from itembed_tf.errors import UsageError, UserError
from itembed_tf.files import (
    PARTIAL,
    cache_folder,
    check_output,
    check_temporary_folder,
    folder_atomically,
    partial_name,
    replacing,
    write_atomically,
)


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


def test_libraries_are_imported_without_a_home_folder() -> None:
    """gensim's import fails without a home folder, and Keras writes into a folder "~" of the working directory."""
    code = (
        "import os, pwd\n"
        "os.environ.pop('HOME', None)\n"
        "def unknown(uid): raise KeyError(uid)\n"
        "pwd.getpwuid = unknown\n"
        "import itembed_tf.text.word_vectors\n"
        "print(os.path.expanduser('~'))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "/\n"), done.stderr


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("runs/lr=[1e-3]", "the character [, a wildcard"),
        ("runs/all*", "the character *"),
        ("what?/run", "the character ?"),
        ("runs\\mine", "the character \\"),
        ("runs/two\nlines", r"the character '\n'"),
        ("runs/\udcff", "the character '\\udcff'"),
        ("s3://bucket/run", "is an address (s3:/)"),
        ("runs/" + "ä" * 128, "is too long: a name may have 255 bytes"),
        ("/".join(["a" * 200] * 20), "the whole path 3840"),
    ],
)
def test_an_output_path_that_would_fail_later_is_refused(path: str, reason: str) -> None:
    with pytest.raises(UsageError) as refused:
        check_output(path)
    assert reason in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize("path", ["runs/lr=1e-3", "/a b/ü/run ", "~run", "a" * 255, "runs/{x}'\"$&;#%"])
def test_other_output_paths_are_allowed(path: str) -> None:
    assert check_output(path) == Path(path)


def test_a_path_with_a_wildcard_is_refused_with_a_name_that_works() -> None:
    with pytest.raises(UsageError, match=r"for example 'runs/lr=1e-3'"):
        check_output("runs/lr=[1e-3]")


def test_a_folder_of_temporary_files_with_a_wildcard_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/scratch/job[7]")
    with pytest.raises(UserError, match=r"'/scratch/job\[7\]', has the character \[.* TMPDIR"):
        check_temporary_folder()


def test_a_file_is_replaced_when_it_is_complete(tmp_path: Path) -> None:
    file = write_atomically(tmp_path / "new" / "a.txt", "ä")
    assert file.read_bytes() == "ä".encode()
    with pytest.raises(KeyboardInterrupt), replacing(file) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert file.read_text(encoding="utf-8") == "ä" and list(file.parent.iterdir()) == [file]


def test_a_full_disk_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(OSError) as full, replacing(tmp_path / "latest.npz"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # as write() raises it
    assert full.value.errno == errno.ENOSPC and full.value.filename == str(tmp_path / "latest.npz")
    with pytest.raises(OSError, match=r"final.weights.h5: Can't write data"), replacing(tmp_path / "final.weights.h5"):
        raise OSError("Can't write data")  # as h5py raises it


def test_names_of_unfinished_files_are_unique_hidden_and_keep_their_ending() -> None:
    one, other = (partial_name(Path("weights") / "final.weights.h5") for _ in range(2))
    assert one != other and one.parent == Path("weights")
    assert one.name.startswith(PARTIAL) and one.name.endswith(".weights.h5")
    assert len(partial_name(Path("ä" * 127)).name.encode()) <= 255


def test_a_folder_that_appears_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError, match="exists already"), folder_atomically(tmp_path / "1") as folder:
        (folder / "a").touch()
        (tmp_path / "1").mkdir()
    assert [path.name for path in tmp_path.iterdir()] == ["1"]
