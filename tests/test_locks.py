"""Locks: a second process is refused or waits, and a killed process leaves neither a lock nor half-written files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from itembed_tf.errors import UsageError
from itembed_tf.files import partial_name
from itembed_tf.locks import LOCK_FILE, Locked, locked_file, locked_folder, remove_left_lock
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[1]
HOLD = """
import sys, time
from itembed_tf.locks import locked_folder
with locked_folder(sys.argv[1], "give another folder"):
    print("held", flush=True)
    time.sleep(60)
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    """Another process that holds the lock of a folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_refused_with_the_first_one_named_until_it_is_killed(tmp_path: Path) -> None:
    process = holder(tmp_path / "run")
    try:
        with pytest.raises(Locked) as refused, locked_folder(tmp_path / "run", "give another run directory"):
            pass
        message = str(refused.value)
        assert f"process {process.pid} on this machine" in message and str(tmp_path / "run") in message
        assert message.endswith("wait until it ends, stop it, or give another run directory")
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert (tmp_path / "run" / LOCK_FILE).exists(), "a killed process cannot remove its lock file"
    with locked_folder(tmp_path / "run", ""):
        assert (tmp_path / "run" / LOCK_FILE).read_text().startswith(f"{os.getpid()}\n")
    assert list((tmp_path / "run").iterdir()) == []


def test_a_new_folder_in_which_nothing_was_written_is_removed(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked_folder(tmp_path / "new", ""):
        _ = 1 / 0
    assert not (tmp_path / "new").exists()
    with locked_folder(tmp_path / "new", ""):
        (tmp_path / "new" / "file").touch()
    assert (tmp_path / "new" / "file").exists()


def test_the_lock_of_another_user_that_was_left_behind_can_be_taken(tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).write_text("1\nanother-host\n")
    with locked_folder(tmp_path, ""):
        pass
    (tmp_path / LOCK_FILE).write_text("")
    with locked_folder(tmp_path, ""):
        assert os.stat(tmp_path / LOCK_FILE).st_size


def test_what_killed_processes_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    kept = tmp_path / "encoders" / "1" / "saved_model.pb"
    left = [partial_name(tmp_path / "metrics.json"), partial_name(kept)]
    for file in (kept, *left):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    folder = partial_name(tmp_path / "encoders" / "2")
    (folder / "variables").mkdir(parents=True)
    with locked_folder(tmp_path, ""):
        assert kept.exists() and not folder.exists() and not any(file.exists() for file in left)


def test_a_folder_that_cannot_be_an_output_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is too long"), locked_folder(tmp_path / ("a" * 300), ""):
        pass


def test_a_cached_file_is_waited_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, order, begun = tmp_path / "features.npy", [], threading.Event()

    def first() -> None:
        with locked_file(path):
            begun.set()
            wait_until(lambda: "waiting for process" in capsys.readouterr().err or order)
            time.sleep(0.05)
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    begun.wait(10)
    with locked_file(path):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]
    assert list(tmp_path.iterdir()) == []


def test_the_lock_file_that_a_killed_process_left_beside_a_cached_file_is_removed_unless_it_is_held(
    tmp_path: Path,
) -> None:
    path = tmp_path / "features.npy"
    lock = tmp_path / f".features.npy{LOCK_FILE}"
    lock.write_text("1\nanother-host\n")
    remove_left_lock(path)
    assert not lock.exists()
    with locked_file(path):
        remove_left_lock(path)
        assert lock.exists()
