"""Expected errors: one line with a remedy, never a raw message of a library alone; a bug keeps its traceback."""

from __future__ import annotations

import errno
import os
import sqlite3
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from itembed_tf.errors import UserError
from itembed_tf.expected_errors import error_line


def raised(function: Callable[[], object]) -> Exception:
    with pytest.raises(Exception) as caught:
        function()
    return caught.value


def fail(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UserError("say what to do"), "say what to do"),
        (ValueError("our own"), "our own"),
        (zipfile.BadZipFile("a.zip is cut"), "a.zip is cut"),
        (
            OSError(errno.ENOSPC, "No space left on device", "a/b"),
            "[Errno 28] No space left on device: 'a/b'; free some space on that disk, and give the same command again",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "a/b"),
            "[Errno 13] Permission denied: 'a/b'; change its permissions, or name another folder",
        ),
        (
            ModuleNotFoundError("No module named 'pyarrow'", name="pyarrow"),
            "No module named 'pyarrow'; the installation is incomplete; run: pip install 'itembed_tf[demo]'",
        ),
        (
            ImportError("cannot import name 'triu'", name="scipy.linalg"),
            "cannot import name 'triu'; the installation is incomplete; run: pip install 'itembed_tf'",
        ),
        (ZeroDivisionError("a bug"), None),
        (KeyError("a bug"), None),
    ],
)
def test_an_expected_error_is_a_line_with_a_remedy(error: Exception, line: str | None) -> None:
    assert error_line(raised(lambda: fail(error))) == line


def test_errors_of_a_database_have_a_remedy_and_bugs_a_traceback(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "a.sqlite")) as connection:
        connection.execute("PRAGMA max_page_count = 2")
        full = raised(lambda: connection.executescript("CREATE TABLE a (x); CREATE TABLE b (x); CREATE TABLE c (x)"))
        bug = raised(lambda: connection.execute("SELECT y FROM nowhere"))
    assert error_line(full) == (
        "database or disk is full; free some space on that disk, and give the same command again"
    )
    assert error_line(bug) is None
    unopened = raised(lambda: sqlite3.connect(tmp_path / "none" / "a.sqlite"))
    assert error_line(unopened) == (
        "unable to open database file; change the permissions of the folder, or name another one"
    )


def test_an_error_of_a_library_is_named_and_has_a_remedy() -> None:
    line = error_line(raised(lambda: np.load(Path(__file__), allow_pickle=False)))
    assert line is not None
    assert line.startswith("NumPy stopped with: ") and "ITEMBED_TRACEBACK=1" in line and "\n" not in line


def test_too_little_memory() -> None:
    assert "use a smaller batch_size" in str(error_line(MemoryError("Unable to allocate 3 TiB")))


def test_errors_of_tensorflow_are_short_and_name_the_file(tmp_path: Path) -> None:
    import tensorflow as tf

    missing = tf.data.Dataset.from_tensors(str(tmp_path / "gone.jpg")).map(tf.io.read_file)
    line = error_line(raised(lambda: list(missing)))
    assert line == f"the file {tmp_path / 'gone.jpg'} is missing; restore it, and give the same command again"

    @tf.function(input_signature=[tf.TensorSpec((), tf.string)])
    def decode(data: tf.Tensor) -> tf.Tensor:
        return tf.io.decode_png(data)

    line = error_line(raised(lambda: decode(tf.constant("no image"))))
    assert line is not None and line.startswith("TensorFlow stopped with: ") and "ITEMBED_TRACEBACK=1" in line
    assert not any(noise in line for noise in ("{{", "[[", "\n", "Graph execution error"))


def test_an_error_inside_a_traced_function_is_printed_alone() -> None:
    import tensorflow as tf

    from itembed_tf.training.losses import infonce_loss

    @tf.function
    def step(temperature: float) -> tf.Tensor:
        x = tf.ones((2, 3))
        return infonce_loss(x, x, tf.range(2), temperature=temperature)

    @tf.function
    def wrong() -> tf.Tensor:
        return tf.ones((2, 3)) @ tf.ones((2, 3))

    assert error_line(raised(lambda: step(0.0))) == "temperature must be > 0, and is 0.0; 0.05 is a common value"
    line = error_line(raised(wrong))
    assert line is not None and line.startswith("TensorFlow stopped with: ") and "File " not in line


def test_a_read_only_file_system_is_an_error_with_a_remedy() -> None:
    line = error_line(OSError(errno.EROFS, os.strerror(errno.EROFS), "/mnt/run"))
    assert line is not None and line.endswith(
        "'/mnt/run'; the file system is read-only: name a folder that can be written"
    )
